"""From the columns of a table to input codes, fitted on the training samples and kept with a run.

It is kept as JSON, not as a pickle, which would be code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.host.data.encoding import Scaling
from mgd.host.data.numbers import is_text, refuse_missing, to_numbers, to_texts
from mgd.host.data.table import Options, Table, shown
from mgd.host.data.targets import TargetScaling
from mgd.host.task.errors import near

CATEGORIES_MAX = 64
"""A text column of more different cells is no list of categories."""


@dataclass(frozen=True)
class Column:
    """A column of the file and the inputs that it becomes."""

    name: str
    categories: tuple[str, ...] | None = None
    """Of a text column: an input for each, or one input for the second of two.  None: a number."""
    fill: float | str | None = None
    """What stands for a missing cell; None: such a sample is refused, or was left out."""

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs, in order."""
        if self.categories is None:
            return [self.name]
        kept = self.categories[1:] if len(self.categories) == 2 else self.categories
        return [f"{self.name} = {category}" for category in kept]

    def features(self, cells: np.ndarray) -> np.ndarray:
        """(samples, inputs) float64.  cells: (samples,), numbers or text."""
        if self.categories is None:
            return cells.astype(np.float64)[:, None]
        from sklearn.preprocessing import OneHotEncoder

        known = np.array(self.categories, dtype=object)
        encoder = OneHotEncoder(
            categories=[known], drop="if_binary", handle_unknown="ignore", sparse_output=False
        ).fit(known[:, None])
        found = np.isin(cells, known)
        # "if_binary" would make the first of two names of a name that is unknown.
        made = encoder.transform(np.where(found, cells, known[0])[:, None])
        made[~found] = 0.5 if len(known) == 2 else 0.0
        return made


@dataclass(frozen=True)
class Encoded:
    """Samples of a table as codes."""

    codes: np.ndarray
    """(samples, inputs) int64."""
    features: np.ndarray
    """The same in the units of the file."""
    kept: np.ndarray
    """(samples,) their numbers in the table."""
    outside: int
    """Values that lie outside the codes' range and were limited to it."""
    notes: list[str]


@dataclass(frozen=True)
class Preparation:
    """What turns the samples of a table into codes, and outputs into answers."""

    columns: tuple[Column, ...]
    file_columns: tuple[str, ...]
    """All columns of the training file in order, with labels and ignored ones."""
    labels: tuple[str, ...]
    """Names of the columns with the label or the targets."""
    options: Options
    scaling: Scaling
    class_names: tuple[str, ...] = ()
    targets: TargetScaling | None = None
    """Of regression."""

    @property
    def inputs(self) -> list[str]:
        """A name for each input."""
        return [name for column in self.columns for name in column.inputs]

    def encode(self, table: Table, network: Network) -> Encoded:
        """Another table with these columns.  Raises UserError where a column is missing or a cell
        cannot be used; samples with missing cells are left out where missing = "drop"."""
        inputs, notes = self._matched(table)
        whole = replace(table, inputs=inputs)
        cells, missing = [], []
        for column in self.columns:
            text = column.categories is not None
            values, absent = raw_cells(whole, column.name, text, self.options)
            if absent.any() and column.fill is None and self.options.missing != "drop":
                refuse_missing(whole, column.name, absent)
            cells.append(values if column.fill is None else np.where(absent, column.fill, values))
            missing.append(absent if column.fill is None else np.zeros_like(absent))
        kept, note = complete(table, np.stack(missing, axis=1))
        notes += [note] if note else []
        features = []
        for column, values in zip(self.columns, cells, strict=True):
            if column.categories is not None:
                unknown = sorted({str(cell) for cell in values[kept]} - set(column.categories))
                if unknown:
                    notes.append(
                        f"{shown(column.name)}: {unknown[0]!r} did not occur in training, so it "
                        "counts as none of the known names"
                    )
            features.append(column.features(values[kept]))
        x = np.concatenate(features, axis=1)
        codes, outside = self.scaling.encode(x, network)
        return Encoded(codes, x, kept, outside, notes)

    def _matched(self, table: Table):
        """The columns that are inputs, in order, by their names or, without any, their places."""
        inputs, needed = table.inputs, [column.name for column in self.columns]
        if not table.named:
            inputs = inputs.copy()
            without = [name for name in self.file_columns if name not in self.labels]
            for names in (self.file_columns, without, needed):
                if len(inputs.columns) == len(names):
                    inputs.columns = list(names)
                    break
            else:
                raise UserError(
                    f"{table.name}: has {len(inputs.columns)} columns and no names, training had "
                    f"{len(needed)} ({', '.join(needed)[:100]}); give the same columns"
                )
        absent = [name for name in needed if name not in inputs.columns]
        if absent:
            there = [str(name) for name in inputs.columns]
            raise UserError(
                f"{table.name}: has no {shown(absent[0])}{near(absent[0], there)}, which the "
                f"network was trained on; there are {', '.join(there)[:120]}"
            )
        extra = [str(n) for n in inputs.columns if n not in self.file_columns]
        notes = []
        if extra:
            notes.append(
                f"columns that training did not have are left out: {', '.join(extra[:5])}"
                + (", …" if len(extra) > 5 else "")
            )
        return inputs[needed], notes

    # -- in a file --------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; of() is the inverse."""
        return {
            "columns": [asdict(column) for column in self.columns],
            "file_columns": list(self.file_columns),
            "labels": list(self.labels),
            "options": asdict(self.options),
            "low": [float(v) for v in self.scaling.low],
            "high": [float(v) for v in self.scaling.high],
            "class_names": list(self.class_names),
            "targets": None if self.targets is None else self.targets.to_json(),
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> Preparation:
        """From to_json()."""
        columns = [
            Column(
                c["name"], None if c["categories"] is None else tuple(c["categories"]), c["fill"]
            )
            for c in values["columns"]
        ]
        known = {field.name for field in fields(Options)}
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in values["options"].items()
            if key in known
        }
        targets = values["targets"]
        return cls(
            tuple(columns),
            tuple(values["file_columns"]),
            tuple(values["labels"]),
            Options(**options),
            Scaling(np.array(values["low"]), np.array(values["high"])),
            tuple(values["class_names"]),
            None if targets is None else TargetScaling.of(targets),
        )


def raw_cells(
    table: Table, column: str, text: bool, options: Options
) -> tuple[np.ndarray, np.ndarray]:
    """(cells, which are missing) of a column: float64 numbers, or text."""
    if text:
        cells = to_texts(table.inputs[column])
        return cells, cells == ""
    numbers = to_numbers(table, column, options)
    return numbers, np.isnan(numbers)


def complete(table: Table, missing: np.ndarray) -> tuple[np.ndarray, str | None]:
    """(numbers of the samples without a missing cell, a note of how many were left out).

    missing: (samples, columns).  Raises UserError where none is left.
    """
    whole = np.asarray(~missing.any(axis=1))
    if not whole.any():
        raise UserError(
            f"{table.name}: every sample has a missing cell; set missing = 'mean', or ignore the "
            "columns that are mostly empty"
        )
    if whole.all():
        return np.arange(len(whole)), None
    worst = int(missing.sum(axis=0).argmax())
    return np.flatnonzero(whole), (
        f"{int((~whole).sum())} of {len(whole)} samples have missing cells and were left out "
        f"(missing = 'drop'), most of them in {shown(table.inputs.columns[worst])}"
    )


@dataclass(frozen=True)
class Cells:
    """The input columns of a table, before anything is fitted."""

    columns: tuple[Column, ...]
    """Without their `fill`."""
    cells: tuple[np.ndarray, ...]
    """(samples,) each: numbers, or text."""
    missing: np.ndarray
    """(samples, columns) booleans."""

    @classmethod
    def of(cls, table: Table, options: Options) -> Cells:
        """Raises UserError for cells that are neither numbers nor names."""
        from mgd.host.data.csv_file import column_named

        names = [str(name) for name in table.inputs.columns]
        named = {column_named(table.name, names, k, "categorical") for k in options.categorical}
        columns, cells, missing = [], [], []
        for name in names:
            text = name in named or is_text(table, name, options)
            values, absent = raw_cells(table, name, text, options)
            if absent.any() and options.missing is None:
                refuse_missing(table, name, absent)
            if absent.all():
                raise UserError(
                    f"{table.name}: {shown(name)} has no filled cell; ignore = [{name!r}] in [data]"
                )
            columns.append(Column(name, _categories(table, name, values) if text else None))
            cells.append(values)
            missing.append(absent)
        return cls(tuple(columns), tuple(cells), np.stack(missing, axis=1))

    def rows(self, numbers: np.ndarray) -> Cells:
        """The same of some samples."""
        return Cells(self.columns, tuple(c[numbers] for c in self.cells), self.missing[numbers])

    def filled(self, train: np.ndarray) -> Cells:
        """Without missing cells: the mean, or the most frequent name, of the training samples."""
        if not self.missing.any():
            return self
        from sklearn.impute import SimpleImputer

        columns, cells = [], []
        for column, values, missing in zip(self.columns, self.cells, self.missing.T, strict=True):
            number = column.categories is None
            known = values[train][~missing[train]]
            if not len(known):
                known = values[~missing]
            imputer = SimpleImputer(strategy="mean" if number else "most_frequent")
            fill = imputer.fit(known[:, None]).statistics_[0]
            fill = float(fill) if number else str(fill)
            columns.append(Column(column.name, column.categories, fill))
            cells.append(np.where(missing, fill, values) if missing.any() else values)
        return Cells(tuple(columns), tuple(cells), np.zeros_like(self.missing))

    def features(self) -> np.ndarray:
        """(samples, inputs) float64."""
        return np.concatenate(
            [column.features(c) for column, c in zip(self.columns, self.cells, strict=True)],
            axis=1,
        )


def scaling_of(columns: Sequence[Column], x: np.ndarray, how: str | None) -> Scaling:
    """Scaling of the training features x; an input of a category is 0 where it is not the one."""
    scaling = Scaling.fit(x, how)
    low, high = scaling.low.copy(), scaling.high.copy()
    first = 0
    for column in columns:
        end = first + len(column.inputs)
        if column.categories is not None:
            # As the values of any column, between −1 and 1: two of them, or 0 and 1.
            both = len(column.categories) == 2
            low[first:end], high[first:end] = (-0.5, 1.5) if both else (-2.0, 2.0)
        first = end
    return Scaling(low, high)


def _categories(table: Table, name: str, cells: np.ndarray) -> tuple[str, ...]:
    found = sorted({str(cell) for cell in cells} - {""})
    if len(found) > CATEGORIES_MAX or (len(found) > 20 and len(found) > len(cells) / 2):
        raise UserError(
            f"{table.name}: {shown(name)} holds {len(found)} different texts such as "
            f"{found[0][:30]!r}, at most {CATEGORIES_MAX} can become inputs; ignore = [{name!r}] "
            "in [data]"
        )
    return tuple(found)
