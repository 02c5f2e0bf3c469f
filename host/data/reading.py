"""The tables that a task file's [data] names, read once."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from mgd.golden_model.errors import UserError
from mgd.host.data.array_file import read_npz, read_parquet
from mgd.host.data.content import CSV, NPZ, format_of, unreadable
from mgd.host.data.csv_file import read_csv
from mgd.host.data.labels import canonical
from mgd.host.data.table import Options, Table, shown
from mgd.host.data.targets import number_of
from mgd.host.task.errors import near
from mgd.host.task.file import DataSection


def options_of(data: DataSection) -> Options:
    """What [data] says of reading."""
    label = data.label_column
    labels = () if label is None else tuple(label) if isinstance(label, list) else (label,)
    return Options(
        labels,
        tuple(data.ignore or ()),
        tuple(data.categorical or ()),
        data.missing,
        data.decimal or ".",
        data.thousands,
        data.encoding,
    )


def read_tables(data: DataSection, folder: Path) -> tuple[Table, Table | None]:
    """(the table, the test samples where they are given apart).  Raises UserError."""
    table, test = read_table(folder / data.source, options_of(data))
    if data.test_source is None:
        return table, test
    if test is not None:
        raise UserError(
            f"{table.name}: has a test set of its own, so test_source = {data.test_source!r} has "
            "no meaning; remove it"
        )
    test, _ = read_table(folder / data.test_source, options_of(data))
    return table, _same_columns(table, test)


def read_table(path: Path, options: Options) -> tuple[Table, Table | None]:
    """(the table in a file, the test samples that an NPZ file may have)."""
    try:
        about = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    return _read(path, about.st_mtime_ns, about.st_size, options)


@lru_cache(maxsize=4)
def _read(path: Path, _time: int, _size: int, options: Options) -> tuple[Table, Table | None]:
    kind = format_of(path.name)
    if kind == NPZ:
        return read_npz(path, options)
    return (read_csv if kind == CSV else read_parquet)(path, options), None


def is_regression(data: DataSection, folder: Path, cost: str, outputs: int) -> bool:
    """Whether the targets are numbers to approach and not names of classes.

    So says [data] task.  Without it they are where there are several label columns, or where an
    error cost meets more different numbers than the network has classes.  False also for a file
    that cannot be read: the reason is told where the samples are prepared.
    """
    if data.task is not None or cost not in ("mse", "l1"):
        return data.task == "regression"
    if isinstance(data.label_column, list) and len(data.label_column) > 1:
        return True
    if format_of(data.source) is None:
        return False
    try:
        labels = read_table(folder / data.source, options_of(data))[0].labels
    except UserError:
        return False
    if len(labels.columns) != outputs:
        return False
    if outputs > 1:
        return True
    options = options_of(data)
    found = {str(cell) for cell in labels.iloc[:, 0]}
    if any(number_of(cell, options) is None for cell in found):
        return False
    return len({canonical(cell) for cell in found}) > max(2, outputs)


def _same_columns(table: Table, test: Table) -> Table:
    """`test` with its input columns in the order of `table`'s."""
    names = list(table.inputs.columns)
    there = list(test.inputs.columns)
    if not table.named or not test.named:
        if len(there) != len(names):
            raise UserError(
                f"{test.name}: has {len(there)} input columns, {table.name} has {len(names)}; "
                "they must be equal"
            )
        inputs = test.inputs.copy()
        inputs.columns = names
    else:
        absent = [name for name in names if name not in there]
        if absent:
            raise UserError(
                f"{test.name}: has no {shown(absent[0])}{near(absent[0], there)}, which "
                f"{table.name} has; give both files the same columns"
            )
        inputs = test.inputs[names]
    return replace(test, inputs=inputs)
