"""Rounding, exhaustively at small widths, against fractions.Fraction."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from mgd.golden_model.formats import floor_shift, rescale, round_half_up, saturate, stochastic_round
from mgd.golden_model.network import ROUND_BITS

VALUES = range(-300, 301)
HALF = Fraction(1, 2)


@pytest.mark.parametrize("shift", range(-4, 9))
def test_floor_shift(shift):
    for value in VALUES:
        assert floor_shift(value, shift) == math.floor(Fraction(value) / Fraction(2) ** shift)


@pytest.mark.parametrize("shift", range(9))
def test_round_half_up(shift):
    for value in VALUES:
        assert round_half_up(value, shift) == math.floor(Fraction(value, 1 << shift) + HALF)


@pytest.mark.parametrize(("from_frac", "to_frac"), [(0, 0), (3, 3), (2, 7), (7, 2), (6, 5)])
def test_rescale(from_frac, to_frac):
    for value in VALUES:
        exact = Fraction(value, 1 << from_frac) * (1 << to_frac)
        assert rescale(value, from_frac, to_frac) == math.floor(exact + HALF)


@pytest.mark.parametrize("shift", range(-4, 15))
def test_stochastic_round(shift):
    """Exact for every value and random byte; the mean over all bytes is within 2^-8."""
    random = np.arange(1 << ROUND_BITS)
    for value in range(-270, 271):
        exact = Fraction(value) / Fraction(2) ** shift
        rounded = stochastic_round(np.full(256, value), shift, random, ROUND_BITS)
        over, under = exact.numerator * 256, exact.denominator * 256
        assert rounded.tolist() == [(over + r * exact.denominator) // under for r in range(256)]
        bias = exact - Fraction(int(rounded.sum()), 256)
        assert 0 <= bias < Fraction(1, 256), (value, bias)


def test_stochastic_round_is_exact_where_no_bits_are_lost():
    random = np.arange(256)
    assert (stochastic_round(np.full(256, -3), -2, random, ROUND_BITS) == -12).all()
    assert (stochastic_round(np.full(256, -3 << 5), 5, random, ROUND_BITS) == -3).all()


@pytest.mark.parametrize("shift", [0, 1, 5])
def test_arrays_and_python_integers_agree(shift):
    values = np.array(VALUES)
    assert round_half_up(values, shift).tolist() == [round_half_up(v, shift) for v in VALUES]
    assert floor_shift(values, shift).tolist() == [floor_shift(v, shift) for v in VALUES]
    random = (values * 7) % 256
    assert stochastic_round(values, shift, random, 8).tolist() == [
        stochastic_round(v, shift, (v * 7) % 256, 8) for v in VALUES
    ]


def test_saturate():
    values = np.arange(-300, 300)
    assert saturate(values, -128, 127).tolist() == [min(max(v, -128), 127) for v in values]
