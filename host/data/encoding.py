"""From float features and raw labels to input codes and class numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.host.data.tables import Table


@dataclass(frozen=True)
class Scaling:
    """Min-max scaling per input column, taken from the training samples only."""

    low: np.ndarray
    """(inputs,): becomes the lowest code."""
    high: np.ndarray
    """(inputs,): becomes the highest code.  Equal to low in a constant column."""

    @classmethod
    def of(cls, x: np.ndarray) -> Scaling:
        """The range of each column of x, (samples, inputs)."""
        return cls(x.min(axis=0), x.max(axis=0))

    @property
    def constant(self) -> np.ndarray:
        """(inputs,) booleans: columns that never change and so say nothing."""
        return self.low == self.high

    def encode(self, x: np.ndarray, network: Network) -> tuple[np.ndarray, int]:
        """(codes, values outside the training range, which take the nearest code).

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


def class_order(labels: list[str]) -> list[str]:
    """The distinct labels in ascending order: as numbers where all are numbers, else as text.

    '1' and '1.0' are one class then, named '1'.
    """
    return sorted({_canonical(label) for label in labels}, key=_sort_key(labels))


def class_numbers(table: Table, names: list[str], network: Network) -> np.ndarray:
    """Class number of each sample, (samples,) int64.

    Raises UserError where the labels are more than the network has classes.
    """
    if len(names) > network.classes:
        extra = names[network.classes]
        row = next(
            (
                r
                for r, lab in zip(table.rows, table.labels, strict=True)
                if _canonical(lab) == extra
            ),
            table.rows[0],
        )
        nodes = f"{network.outputs} output node{'s' if network.outputs > 1 else ''}"
        raise UserError(
            f"{table.name}: {row}: label {extra!r} is class {network.classes}, out of range: "
            f"{len(names)} labels, but {nodes} tell {network.classes} classes apart; set the last "
            f"of layers to {len(names)} or mend the labels"
        )
    index = {name: number for number, name in enumerate(names)}
    return np.array([index[_canonical(label)] for label in table.labels], dtype=np.int64)


def _number(label: str) -> float | None:
    try:
        value = float(label)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _canonical(label: str) -> str:
    value = _number(label)
    return str(int(value)) if value is not None and value.is_integer() else label


def _sort_key(labels: list[str]):
    if all(_number(label) is not None for label in labels):
        return lambda name: (float(name), name)
    return lambda name: (0.0, name)
