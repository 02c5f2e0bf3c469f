"""Class labels: their names, their order, their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network


def class_order(labels: Sequence[str]) -> list[str]:
    """The distinct labels in ascending order: as numbers where all are numbers, else as text.

    '1' and '1.0' are one class then, named '1'.
    """
    distinct = set(labels)
    return sorted({canonical(label) for label in distinct}, key=_sort_key(distinct))


def class_numbers(
    labels: Sequence[str],
    names: Sequence[str],
    network: Network,
    name: str,
    where: Callable[[int], str],
) -> np.ndarray:
    """Class number of each sample, (samples,) int64.

    name: of the file; where(k): of sample k in it.  Raises UserError where the labels are more
    than the network has classes.
    """
    if len(names) > network.classes:
        extra = names[network.classes]
        row = next((k for k, label in enumerate(labels) if canonical(label) == extra), 0)
        nodes = f"{network.outputs} output node{'s' if network.outputs > 1 else ''}"
        cure = f"set the last of layers to {len(names)} or correct the labels"
        if all_numbers(names) and len(names) > 10:
            cure += (
                "; to predict the number itself, set task = 'regression' in [data], cost = 'mse' "
                "and end layers with 1"
            )
        raise UserError(
            f"{name}: {where(row)}: label {extra!r} is class {network.classes}, out of range: "
            f"{len(names)} labels, but {nodes} tell {network.classes} classes apart; {cure}"
        )
    index = {name: number for number, name in enumerate(names)}
    return np.array([index[canonical(label)] for label in labels], dtype=np.int64)


def number(label: str) -> float | None:
    """The finite number that a label is, if it is one."""
    try:
        value = float(label)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def canonical(label: str) -> str:
    """The name of the class: '1.0' is '1'."""
    value = number(label)
    return str(int(value)) if value is not None and value.is_integer() else label


def all_numbers(labels: Sequence[str]) -> bool:
    return all(number(label) is not None for label in labels)


def _sort_key(labels):
    if all(number(label) is not None for label in labels):
        return lambda name: (float(name), name)
    return lambda name: (0.0, name)
