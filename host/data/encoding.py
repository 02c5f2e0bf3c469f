"""From features, which are real numbers, to input codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network

SCALINGS = ("standardize", "minmax", "robust")
STANDARD_DEVIATIONS = 2.5
"""From the middle to either end of the codes."""
NORMAL_QUARTILES = 1.349
"""Distance of the quartiles of a normal distribution, in standard deviations."""
FAR = 4.0
"""A standard deviation this many times as large as the quartiles say comes from a few values."""


@dataclass(frozen=True)
class Scaling:
    """An affine map per input column, taken from the training samples only."""

    low: np.ndarray
    """(inputs,): becomes the lowest code."""
    high: np.ndarray
    """(inputs,): becomes the highest code.  Equal to low in a constant column."""

    @classmethod
    def of(cls, x: np.ndarray) -> Scaling:
        """The range of each column of x, (samples, inputs): "minmax"."""
        return cls(x.min(axis=0), x.max(axis=0))

    @classmethod
    def fit(cls, x: np.ndarray, how: str | None) -> Scaling:
        """From each column of x, (samples, inputs), by scikit-learn's scalers.

        how: "minmax": from the smallest to the largest value.  "standardize": 2.5 standard
        deviations around the mean.  "robust": as wide around the median, by the quartiles.
        None: "standardize", but "robust" for a column whose few far values would spread the others
        over a small part of the codes.  A column of two values takes half of the codes between
        them, one whose quartiles are equal takes "minmax" instead of "robust".
        """
        from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

        ranges = MinMaxScaler().fit(x)
        low, high = ranges.data_min_.copy(), ranges.data_max_.copy()
        if how == "minmax":
            return cls(low, high)
        several = np.array([len(np.unique(column)) > 2 for column in x.T], dtype=bool)
        half = np.where(several, 0.0, high / 2 - low / 2)
        low, high = low - half, high + half
        if not several.any():
            return cls(low, high)
        with np.errstate(over="ignore", invalid="ignore"):
            usual, steady = StandardScaler().fit(x), RobustScaler().fit(x)
            quartiles = np.subtract(*np.percentile(x, [75, 25], axis=0)) / NORMAL_QUARTILES
            by_quartiles = several & (quartiles > 0)
            if how is None:
                by_quartiles &= ~(usual.scale_ < FAR * quartiles)
            elif how == "standardize":
                by_quartiles &= False
            middle = np.where(by_quartiles, steady.center_, usual.mean_)
            width = STANDARD_DEVIATIONS * np.where(by_quartiles, quartiles, usual.scale_)
            by_deviation = several & ~by_quartiles & (how != "robust")
            chosen = (by_quartiles | by_deviation) & np.isfinite(middle) & np.isfinite(width)
            return cls(
                np.where(chosen, middle - width, low), np.where(chosen, middle + width, high)
            )

    @property
    def constant(self) -> np.ndarray:
        """(inputs,) booleans: columns that never change and so say nothing."""
        return self.low == self.high

    def check(self, name: str, columns: list[str]) -> None:
        """Raise UserError where a column is too wide for doubles."""
        wide = self.high / 2 - self.low / 2 > np.finfo(np.float64).max / 2
        if wide.any():
            column = int(np.argmax(wide))
            raise UserError(
                f"{name}: {columns[column]} spans {self.low[column]:g} to "
                f"{self.high[column]:g}, too wide for a double; scale the column"
            )

    def encode(self, x: np.ndarray, network: Network) -> tuple[np.ndarray, int]:
        """(codes, values that lie outside low to high, which take the nearest code).

        code = floor((x − low)/(high − low)·(code_max − code_min) + ½) + code_min; 0, or the
        code nearest to it, in constant columns.  x: (samples, inputs); codes likewise, int64.
        """
        span = np.where(self.constant, 1.0, self.high - self.low)
        steps = (x - self.low) / span * (network.code_max - network.code_min)
        # Clipping first keeps far values inside int64.
        limited = np.clip(steps, 0.0, network.code_max - network.code_min)
        codes = np.floor(limited + 0.5).astype(np.int64) + network.code_min
        codes[:, self.constant] = max(network.code_min, 0)
        varying = ~self.constant
        outside = (x < self.low) | (x > self.high)
        return codes, int(outside[:, varying].sum())
