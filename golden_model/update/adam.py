"""Adam (Kingma and Ba 2015) in integers: averages by shifts, quotient and root by tables."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.formats import saturate
from mgd.golden_model.network import ROUND_BITS, Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.tables import EXP2, LOG2, TABLE_FRAC

MEAN_FRAC = 8
"""Fraction bits of both averages."""
GRADIENT_MAX = (1 << 27) - 1
"""Limit of |G|, that the average of its square fits 62 bits."""


def averaging_exp(change: int, exp: int) -> int:
    """The shift of an average at change number n = 1, 2, …: min(exp, ⌊log2 n⌋).

    The first values count in full, so no correction of a start at 0 is needed.
    """
    return min(exp, change.bit_length() - 1)


def log2_of(values: np.ndarray) -> np.ndarray:
    """log2 of integers >= 1 below 2^62, with TABLE_FRAC fraction bits."""
    exponent = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1
    # A float's rounding may carry into the next power of two.
    exponent -= (values >> exponent) == 0
    mantissa = np.where(
        exponent <= 30,
        values << np.maximum(30 - exponent, 0),
        values >> np.maximum(exponent - 30, 0),
    )
    return LOG2(mantissa & ((1 << 30) - 1), 30) + (exponent << TABLE_FRAC)


class Adam:
    """m ← m + (g − m)·2^-i, v ← v + (g² − v)·2^-j; W loses 2^-eta_exp·m/√v.

    The step is a whole number of weight units, rounded by the step's random byte.
    """

    def __init__(self, network: Network, settings: Settings, weights: list[np.ndarray]) -> None:
        self._settings = settings
        self._unit = network.weight_frac + ROUND_BITS
        self.means = [np.zeros(w.shape, dtype=np.int64) for w in weights]
        self.squares = [np.zeros(w.shape, dtype=np.int64) for w in weights]
        self._changes = [0] * len(weights)

    def change(
        self, layer: int, G: np.ndarray, weights: np.ndarray, eta_exp: int, random: np.ndarray
    ) -> np.ndarray:
        """The decrease of the weights, float64 integers of their shape; G (int64) is set to 0.

        eta_exp: the step is about 2^-eta_exp.  random: bytes (seeds,).
        """
        self._changes[layer] += 1
        number, s = self._changes[layer], self._settings
        g = saturate(G, -GRADIENT_MAX, GRADIENT_MAX)
        G[:] = 0
        m, v = self.means[layer], self.squares[layer]
        m += ((g << MEAN_FRAC) - m) >> averaging_exp(number, s.adam_mean_exp)
        v += ((g * g << MEAN_FRAC) - v) >> averaging_exp(number, s.adam_square_exp)
        size = np.maximum(np.abs(m), 1)
        exponent = (
            (log2_of(size) - (MEAN_FRAC << TABLE_FRAC))
            - ((log2_of(np.maximum(v, 1)) - (MEAN_FRAC << TABLE_FRAC)) >> 1)
            + ((self._unit - eta_exp) << TABLE_FRAC)
        )
        fraction = EXP2(-exponent & ((1 << TABLE_FRAC) - 1), TABLE_FRAC)
        down = TABLE_FRAC + (-exponent >> TABLE_FRAC)
        steps = np.where(
            down >= 0, fraction >> np.clip(down, 0, 62), fraction << np.clip(-down, 0, 40)
        )
        steps = (steps + random[:, None, None]) >> ROUND_BITS
        return np.where(m == 0, 0, np.sign(m) * steps).astype(np.float64)
