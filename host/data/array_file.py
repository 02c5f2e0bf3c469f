"""NPZ archives and Parquet files: tables that have types already."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.host.data.content import read_content, unreadable
from mgd.host.data.csv_file import column_named, table_of
from mgd.host.data.table import Options, Table

ALIASES = {
    "x": ("X", "x_train", "X_train", "train_x", "train_images"),
    "y": ("Y", "y_train", "Y_train", "train_y", "train_labels", "labels"),
    "x_test": ("X_test", "test_x", "test_images"),
    "y_test": ("Y_test", "test_y", "test_labels"),
}
"""Names of arrays, and other ones that published files have for them."""


def read_npz(path: Path, options: Options) -> tuple[Table, Table | None]:
    """Arrays x (samples, inputs…) and y (samples,), and x_test, y_test where they are there.

    Inputs of more than one dimension are flattened; y may have a second one for several targets.
    Pickled arrays are refused.
    """
    arrays = _arrays(path)
    names = {name: _present(arrays, name) for name in ALIASES}
    wanted = ("x", "y") if options.needs_labels else ("x",)
    for name in wanted:
        if names[name] is None:
            raise UserError(
                f"{path}: has no array {name!r} (it has {', '.join(arrays) or 'none'}); save it "
                "with numpy.savez(path, x=inputs, y=labels)"
            )
    if (names["x_test"] is None) != (names["y_test"] is None):
        raise UserError(f"{path}: x_test and y_test belong together; save both or neither")
    train = _from_arrays(path, arrays, names["x"], names["y"], options)
    if names["x_test"] is None or not options.needs_labels:
        return train, None
    test = _from_arrays(path, arrays, names["x_test"], names["y_test"], options)
    if len(test.inputs.columns) != len(train.inputs.columns):
        raise UserError(
            f"{path}: {names['x_test']} has {len(test.inputs.columns)} inputs per sample, "
            f"{names['x']} has {len(train.inputs.columns)}; they must be equal"
        )
    return train, test


def read_parquet(path: Path, options: Options) -> Table:
    """The columns of a Parquet file.  Raises UserError where pandas lacks the library for it."""
    import pandas as pd

    content = read_content(path)
    try:
        frame = pd.read_parquet(BytesIO(content))
    except ImportError:
        raise UserError(
            f"{path}: reading Parquet needs pyarrow, which is not installed; "
            "`pip install pyarrow`, or save the table as CSV"
        ) from None
    except Exception as error:  # pyarrow's own kinds
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: is no whole Parquet file ({reason}); bring it back") from None
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}: two columns are called {twice!r}; rename or remove one of them")
    frame = frame.reset_index(drop=True)
    frame.columns = names
    keys = options.labels or (-1,)
    if options.needs_labels:
        labels = tuple(column_named(path, names, key, "label_column") for key in keys)
    else:
        labels = tuple(key for key in keys if key in names)
    for name in names:
        kind = frame[name].dtype
        if pd.api.types.is_datetime64_any_dtype(kind) or pd.api.types.is_timedelta64_dtype(kind):
            frame[name] = frame[name].astype(str)
        elif name in labels or not pd.api.types.is_numeric_dtype(kind):
            frame[name] = frame[name].where(frame[name].notna(), "").astype(str).str.strip()
    if not len(frame):
        raise UserError(f"{path}: has no samples; it needs a row per sample")
    return table_of(str(path), frame, labels, options, lambda sample: f"row {sample}")


# -- inside ---------------------------------------------------------------------------------


def _present(arrays: dict[str, Any], name: str) -> str | None:
    return next((n for n in (name, *ALIASES[name]) if n in arrays), None)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: _array(path, name, archive[name]) for name in archive.files}
    except UserError:
        raise
    except OSError as error:
        if error.errno is None:
            read_content(path)  # says what it is instead
            raise UserError(
                f"{path}: is no NPZ file; write it with numpy.savez, or name a text table .csv"
            ) from None
        raise unreadable(path, error) from None
    except (AttributeError, TypeError):  # a single array is no context manager
        raise UserError(
            f"{path}: holds a single array (.npy), whatever its name says; save inputs and labels "
            "with numpy.savez(path, x=inputs, y=labels)"
        ) from None
    except ValueError as error:
        if "pickle" in str(error) and path.read_bytes()[:1] in (b"P", b"\x93"):
            raise UserError(
                f"{path}: holds pickled objects, which could run code when read; save plain "
                "number or string arrays"
            ) from None
        read_content(path)
        raise UserError(
            f"{path}: is no NPZ file; write it with numpy.savez, or name a text table .csv"
        ) from None
    except (EOFError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"{path}: is no NPZ file or is cut short ({error}); write it again with numpy.savez"
        ) from None


def _array(path: Path, name: str, found: Any) -> np.ndarray:
    if isinstance(found, np.ndarray):
        return found
    raise UserError(
        f"{path}: {name} in it is no NumPy array; it is another kind of ZIP archive, so unpack it "
        "and name the file inside, or write one with numpy.savez"
    )


def _from_arrays(
    path: Path, arrays: dict[str, Any], x_name: str | None, y_name: str | None, options: Options
) -> Table:
    import pandas as pd

    x = arrays[str(x_name)]
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise UserError(
            f"{path}: {x_name} has shape {x.shape} and type {x.dtype}; it must be numbers of shape "
            "(samples, inputs)"
        )
    if x.size == 0:
        raise UserError(f"{path}: {x_name} is empty (shape {x.shape}); it needs samples")
    flat = x.reshape(len(x), -1)
    inputs = pd.DataFrame(flat, columns=[f"column {n}" for n in range(flat.shape[1])])
    y = arrays.get(str(y_name))
    if y is not None:
        _check_labels(path, x, y, str(x_name), str(y_name))
        columns = y.reshape(len(y), -1)
        names = ["y"] if columns.shape[1] == 1 else [f"y {n}" for n in range(columns.shape[1])]
        text = [[str(v) for v in row] for row in columns.tolist()]
        answers = pd.DataFrame(text, columns=names)
    else:
        answers = pd.DataFrame(index=inputs.index)
    ignored = {column_named(path, inputs.columns, key, "ignore") for key in options.ignored}
    inputs = inputs[[name for name in inputs.columns if name not in ignored]]
    return Table(
        str(path),
        inputs,
        answers,
        lambda k: f"row {k}",
        named=False,
        columns=tuple(map(str, inputs.columns)),
    )


def _check_labels(path: Path, x: np.ndarray, y: np.ndarray, x_name: str, y_name: str) -> None:
    if y.ndim not in (1, 2) or y.dtype.kind not in "biufU" or (y.ndim == 2 and not y.shape[1]):
        raise UserError(
            f"{path}: {y_name} has shape {y.shape} and type {y.dtype}; it must be class numbers or "
            "names of shape (samples,)"
        )
    if len(x) != len(y):
        raise UserError(
            f"{path}: {x_name} has {len(x)} samples, {y_name} has {len(y)}; make them equal"
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.argwhere(~np.isfinite(y))[0][0])
        raise UserError(
            f"{path}: {y_name} row {row}: the label is {np.ravel(y[row])[0]}; correct or drop it"
        )
