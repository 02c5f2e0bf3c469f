"""Integer arithmetic with named rounding.  Every rounding of the project is one of these.

Arrays hold integers (int64); a format's fraction bits are known from the context.  Shifts of
negative numbers are arithmetic, that is, they round towards minus infinity.
"""

from __future__ import annotations

import numpy as np

ACT_FRAC = 14
"""Fraction bits of an activation: Q1.14."""
ACT_BITS = 16
"""Width of an activation, sign included."""
ACT_MAX = (1 << (ACT_BITS - 1)) - 1
ACT_MIN = -(1 << (ACT_BITS - 1))
ONE = 1 << ACT_FRAC
"""1.0 as an activation.  A bias is the weight of an input that is always this value."""


def floor_shift(value, shift: int):
    """⌊value · 2^-shift⌋; a negative shift multiplies."""
    return value >> shift if shift >= 0 else value << -shift


def round_half_up(value, shift: int):
    """⌊value · 2^-shift + ½⌋ for shift >= 0."""
    if shift == 0:
        return value
    return (value + (1 << (shift - 1))) >> shift


def rescale(value, from_frac: int, to_frac: int):
    """The same number with `to_frac` fraction bits, rounded half up where bits are lost."""
    if to_frac >= from_frac:
        return value << (to_frac - from_frac)
    return round_half_up(value, from_frac - to_frac)


def stochastic_round(value, shift: int, random, random_bits: int):
    """⌊value · 2^-shift + random / 2^random_bits⌋ for shift + random_bits >= 0.

    With `random` uniform over [0, 2^random_bits) the mean is value · 2^-shift, to within
    2^-random_bits.  The inner floor loses nothing, since `random` is an integer.
    """
    return (floor_shift(value << random_bits, shift) + random) >> random_bits


def saturate(value, low: int, high: int):
    """`value` limited to [low, high]."""
    # np.clip does the same, three times slower on small arrays.
    return np.minimum(np.maximum(value, low), high)
