"""The targets of a regression: from the file's units to those of the output nodes and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.formats import ACT_MAX, ACT_MIN, ONE
from mgd.host.data.labels import number
from mgd.host.data.table import Options, Table, shown

BOUNDED = {
    "tanh": (-0.9, 0.9),
    "hard_tanh": (-0.9, 0.9),
    "sigmoid": (0.05, 0.95),
    "relu": (0.1, 1.0),
}
"""Outputs for the smallest and the largest training target, by the output's activation, of those
that do not reach every value."""
STANDARD_DEVIATIONS = 2.0
"""From output 0 to output 1 of the other activations, so that 4 of them are in range."""


@dataclass(frozen=True)
class TargetScaling:
    """target = middle + unit·output, for each output node."""

    middle: np.ndarray
    """(outputs,)"""
    unit: np.ndarray
    """(outputs,), positive."""

    @classmethod
    def fit(cls, targets: np.ndarray, output: str) -> TargetScaling:
        """Of training targets (samples, outputs), for an output activation."""
        if output in BOUNDED:
            first, last = BOUNDED[output]
            low, high = targets.min(axis=0), targets.max(axis=0)
            unit = (high - low) / (last - first)
            return cls(low - first * unit, unit)
        return cls(targets.mean(axis=0), STANDARD_DEVIATIONS * targets.std(axis=0))

    def encode(self, targets: np.ndarray) -> tuple[np.ndarray, int]:
        """(output values, limited ones): (samples, outputs) int64 in activation format."""
        exact = np.floor((targets - self.middle) / self.unit * ONE + 0.5)
        limited = np.clip(exact, ACT_MIN, ACT_MAX)
        return limited.astype(np.int64), int((limited != exact).sum())

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Targets of outputs (samples, outputs) in activation format."""
        return self.middle + self.unit * (np.asarray(outputs) / ONE)

    def to_json(self) -> dict[str, Any]:
        return {"middle": list(map(float, self.middle)), "unit": list(map(float, self.unit))}

    @classmethod
    def of(cls, values: dict[str, Any]) -> TargetScaling:
        """From to_json()."""
        return cls(np.array(values["middle"]), np.array(values["unit"]))


@dataclass(frozen=True)
class Fit:
    """How well predictions agree with targets."""

    r2: float
    """1 − squared errors / squared deviations from the mean; of several targets the mean."""
    rmse: tuple[float, ...]
    """Root of the mean squared error of each target, in its units."""

    @classmethod
    def of(cls, predicted: np.ndarray, targets: np.ndarray) -> Fit:
        """predicted, targets: (samples, outputs) in the file's units."""
        squares = ((predicted - targets) ** 2).mean(axis=0)
        spread = targets.var(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = np.where(spread > 0, 1 - squares / spread, 0.0)
        return cls(float(r2.mean()), tuple(float(v) for v in np.sqrt(squares)))


def target_numbers(table: Table, options: Options) -> np.ndarray:
    """(samples, targets) float64.  Raises UserError for a target that is no number."""
    found = np.empty(table.labels.shape)
    for place, name in enumerate(table.labels.columns):
        for row, cell in enumerate(table.labels[name]):
            value = number_of(str(cell), options)
            if value is None:
                raise UserError(
                    f"{table.name}: {table.where(int(table.labels.index[row]))}, {shown(name)}: "
                    f"{str(cell)[:40]!r} is no finite number, which task = 'regression' needs; "
                    "correct it, or set task = 'classification' in [data]"
                )
            found[row, place] = value
    return found


def number_of(cell: str, options: Options) -> float | None:
    """The number in a label's cell, if it is one."""
    text = cell.strip()
    if options.thousands:
        text = text.replace(options.thousands, "")
    if options.decimal != ".":
        text = text.replace(".", "x").replace(options.decimal, ".")
    return None if "_" in text else number(text)
