"""Piecewise linear functions: tanh, 2^-x and log2(1+x), as tables of integers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mgd.golden_model.formats import round_half_up

TABLE_FRAC = 14
"""Fraction bits of every table value: the activation format's."""


@dataclass(frozen=True)
class PiecewiseLinear:
    """2^k equal segments between 2^k + 1 table values.

    In segment i, at position φ in [0, 1): y = b_i + ⌊(b_{i+1} − b_i)·φ + ½⌋, exactly.
    """

    values: tuple[int, ...]

    @property
    def segments(self) -> int:
        return len(self.values) - 1

    @property
    def segment_bits(self) -> int:
        return self.segments.bit_length() - 1

    def __call__(self, position: np.ndarray, bits: int) -> np.ndarray:
        """Evaluate at `position` / 2^bits of the table's whole width, 0 <= position < 2^bits.

        `bits` must be at least segment_bits.
        """
        offset_bits = bits - self.segment_bits
        index = position >> offset_bits
        offset = position & ((1 << offset_bits) - 1)
        return self._base[index] + round_half_up(self._slope[index] * offset, offset_bits)

    @cached_property
    def _base(self) -> np.ndarray:
        return np.array(self.values, dtype=np.int64)

    @cached_property
    def _slope(self) -> np.ndarray:
        return np.diff(self._base)


def _table(function, low: float, high: float, segments: int) -> PiecewiseLinear:
    points = (low + (high - low) * k / segments for k in range(segments + 1))
    return PiecewiseLinear(tuple(math.floor(function(p) * 2**TABLE_FRAC + 0.5) for p in points))


TANH_RANGE_LOG2 = 2
"""The tanh table covers [−4, 4); outside it is constant."""
TANH = _table(math.tanh, -4.0, 4.0, 16)
EXP2 = _table(lambda x: 2.0**-x, 0.0, 1.0, 8)
"""2^-x on [0, 1)."""
LOG2 = _table(lambda x: math.log2(1.0 + x), 0.0, 1.0, 8)
"""log2(1 + x) on [0, 1)."""
