"""A table as it was read: input columns as they stand in the file, and the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Options:
    """How a file is to be read, as [data] of a task file says."""

    labels: tuple[int | str, ...] = ()
    """Columns with the label or the targets; none: the last column."""
    ignored: tuple[int | str, ...] = ()
    categorical: tuple[int | str, ...] = ()
    """Columns that are names of classes even where they look like numbers."""
    missing: str | None = None
    """"drop": leave out samples with an empty cell; "mean": the mean of the column; None: refuse
    them."""
    decimal: str = "."
    thousands: str | None = None
    encoding: str | None = None
    needs_labels: bool = True
    """Whether a file without the label column is refused; a file to predict may have none."""


@dataclass(frozen=True)
class Table:
    """The samples of a file; messages name rows and columns as the file counts them."""

    name: str
    """Of the file, for messages."""
    inputs: pd.DataFrame
    """(samples, columns), a name for each column: numbers, or text where the file has other
    cells.  Its index numbers the file's samples from 0."""
    labels: pd.DataFrame
    """(samples, 1) of text for classes, any number of columns; none where the file has no
    labels."""
    where: Callable[[int], str]
    """Where sample number k of the file stands: 'line 7' or 'row 6'."""
    notes: tuple[str, ...] = ()
    named: bool = True
    """Whether the file names its columns."""
    columns: tuple[str, ...] = ()
    """All columns of the file in order, with labels and ignored ones."""


def shown(column: object) -> str:
    """A column in a message: column 'a', or column 3 where the file has no names."""
    text = str(column)
    return text if text.startswith("column ") else f"column {text!r}"
