"""Samples from a user's file: CSV or NPZ, read strictly, as float features and raw labels."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.host.task.errors import near


@dataclass(frozen=True)
class Table:
    """What a file holds, and where: messages name rows and columns as the file counts them."""

    name: str
    x: np.ndarray
    """(samples, inputs), float64, all finite."""
    labels: list[str]
    rows: list[str]
    """Per sample, 'line 7' or 'row 6'."""
    columns: list[str]
    """Per input, its name."""


def read_csv(path: Path, label_column: int | str) -> Table:
    """Numbers in every column but the label's.  The first line may be a header.

    Separators are commas, semicolons or tabs, whichever the first line has most of.
    Raises UserError for a file that cannot be read, ragged lines, cells that are no finite
    numbers, empty labels and a label column that is not there.
    """
    text = _text(path)
    first = text.lstrip("\n").split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(c.strip() for c in cells)]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}; mend the line") from None
    if not lines:
        raise UserError(f"{path}: is empty; it needs a line per sample, inputs and a label")
    width = len(lines[0][1])
    if width < 2:
        raise UserError(
            f"{path}: line {lines[0][0]} has one column; it needs inputs and a label, separated "
            "by commas, semicolons or tabs"
        )
    header = _header(path, lines[0], label_column)
    label = _label_index(path, label_column, header, width)
    names = header or [f"column {number}" for number in range(width)]
    samples = lines[1:] if header else lines
    if not samples:
        raise UserError(f"{path}: has a header but no samples; add a line per sample")
    x = np.empty((len(samples), width - 1))
    for row, (line, cells) in enumerate(samples):
        if len(cells) != width:
            raise UserError(
                f"{path}: line {line} has {len(cells)} columns, line {lines[0][0]} has {width}; "
                "give every line the same number"
            )
        if cells[label].strip().lower() in ("", "nan"):
            raise UserError(
                f"{path}: line {line}, {_named(names[label])}: the label is missing; fill it in or "
                "drop the line"
            )
        x[row] = [
            _cell(path, line, names[column], cell)
            for column, cell in enumerate(cells)
            if column != label
        ]
    return Table(
        str(path),
        x,
        [cells[label].strip() for _, cells in samples],
        [f"line {line}" for line, _ in samples],
        [_named(name) for column, name in enumerate(names) if column != label],
    )


def read_npz(path: Path) -> tuple[Table, Table | None]:
    """Arrays x (samples, inputs…) and y (samples,), and x_test, y_test where they are there.

    Inputs of more than one dimension are flattened.  Pickled arrays are refused.
    """
    arrays = _arrays(path)
    for name in ("x", "y"):
        if name not in arrays:
            raise UserError(
                f"{path}: has no array {name!r} (it has {', '.join(arrays) or 'none'}); save it "
                "with numpy.savez(path, x=inputs, y=labels)"
            )
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise UserError(f"{path}: x_test and y_test belong together; save both or neither")
    train = _from_arrays(path, arrays, "x", "y")
    if "x_test" not in arrays:
        return train, None
    test = _from_arrays(path, arrays, "x_test", "y_test")
    if test.x.shape[1] != train.x.shape[1]:
        raise UserError(
            f"{path}: x_test has {test.x.shape[1]} inputs per sample, x has {train.x.shape[1]}; "
            "they must be equal"
        )
    return train, test


# -- CSV ------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: byte {error.start} is no UTF-8; save the table as UTF-8 text"
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _header(path: Path, first: tuple[int, list[str]], label: int | str) -> list[str] | None:
    """The names in the first line, or None where it holds a sample."""
    line, cells = first
    width = len(cells)
    if isinstance(label, str):
        return [cell.strip() for cell in cells]
    features = [c for n, c in enumerate(cells) if n != label % width]
    numbers = [_is_number(cell) for cell in features]
    if any(numbers):
        return None
    if not any(cell.strip() for cell in features):
        raise UserError(f"{path}: line {line} has empty cells only; fill or drop the line")
    return [cell.strip() for cell in cells]


def _label_index(path: Path, label: int | str, header: list[str] | None, width: int) -> int:
    if isinstance(label, str):
        names = header or []
        if label not in names:
            raise UserError(
                f"{path}: no column is called {label!r}{near(label, names)}; the first line has "
                f"{', '.join(names)[:120]}; mend label_column"
            )
        return names.index(label)
    if not -width <= label < width:
        raise UserError(
            f"{path}: label_column = {label}, but the file has columns 0 to {width - 1}; mend "
            "label_column (-1 is the last)"
        )
    return label % width


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _cell(path: Path, line: int, column: str, cell: str) -> float:
    value = float(cell) if _is_number(cell) else None
    if value is None or not math.isfinite(value):
        shown = cell.strip() or "an empty cell"
        raise UserError(
            f"{path}: line {line}, {_named(column)}: {shown[:40]} is no finite number; fill it in "
            "or drop the line"
        )
    return value


def _named(column: str) -> str:
    return column if column.startswith("column ") else f"column {column!r}"


# -- NPZ ------------------------------------------------------------------------------------


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise UserError(f"{path}: holds a single array; save it with numpy.savez")
            return {name: archive[name] for name in archive.files}
    except UserError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        if "pickle" in str(error):
            raise UserError(
                f"{path}: holds pickled objects, which could run code when read; save plain "
                "number or string arrays"
            ) from None
        raise UserError(f"{path}: is no NPZ file: {error}".replace("\n", " ")) from None
    except (EOFError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"{path}: is no NPZ file or is cut short ({error}); write it again with numpy.savez"
        ) from None


def _from_arrays(path: Path, arrays: dict[str, Any], x_name: str, y_name: str) -> Table:
    x, y = arrays[x_name], arrays[y_name]
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise UserError(
            f"{path}: {x_name} has shape {x.shape} and type {x.dtype}; it must be numbers of shape "
            "(samples, inputs)"
        )
    if y.ndim != 1 or y.dtype.kind not in "biufU":
        raise UserError(
            f"{path}: {y_name} has shape {y.shape} and type {y.dtype}; it must be class numbers or "
            "names of shape (samples,)"
        )
    if len(x) != len(y):
        raise UserError(f"{path}: {x_name} has {len(x)} samples, {y_name} has {len(y)}; mend one")
    if x.size == 0:
        raise UserError(f"{path}: {x_name} is empty (shape {x.shape}); it needs samples")
    flat = x.reshape(len(x), -1).astype(np.float64)
    bad = np.argwhere(~np.isfinite(flat))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"{path}: {x_name} row {row}, column {column}: {flat[row, column]} is no finite "
            "number; fill it in or drop the row"
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.argmin(np.isfinite(y)))
        raise UserError(f"{path}: {y_name} row {row}: the label is {y[row]}; mend or drop it")
    return Table(
        str(path),
        flat,
        [str(label) for label in y.tolist()],
        [f"{y_name} row {row}" for row in range(len(y))],
        [f"column {column}" for column in range(flat.shape[1])],
    )


def _unreadable(path: Path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(
            f"{path}: no such file; [data] source is looked up beside the task file, mend it"
        )
    return UserError(f"{path}: cannot be read: {error.strerror or error}; check the file")
