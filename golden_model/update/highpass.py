"""The high-pass filter of continuous MGD, over the sequence of costs.

Algorithm 2 of McCaughan et al. 2023 (APL Machine Learning 1, 026118).
"""

from __future__ import annotations

import numpy as np

from mgd.golden_model.formats import round_half_up

EXTRA_FRAC = 8
"""Fraction bits of the filter's state beyond the cost's."""


class HighPass:
    """H ← a·(H + C − C_before), a = 1 − 2^-exp, for several seeds."""

    def __init__(self, exp: int) -> None:
        self._exp = exp
        self._before: np.ndarray | None = None
        self._state = np.zeros(0, dtype=np.int64)

    def delta(self, cost: np.ndarray) -> np.ndarray:
        """D (seeds,), twice the filter's value in the cost's unit; 0 for the first cost."""
        if self._before is None:
            self._before, self._state = cost, np.zeros_like(cost)
        self._state = self._state + ((cost - self._before) << EXTRA_FRAC)
        self._state = self._state - round_half_up(self._state, self._exp)
        self._before = cost
        return round_half_up(self._state, EXTRA_FRAC - 1)
