"""Text tables: pandas reads them; separator, header and encoding are found from the first lines.

pandas fills short lines and renames columns of the same name; both are refused here, because a
file with either trains on something else than its owner sees.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.host.data.content import read_content
from mgd.host.data.table import Options, Table, shown
from mgd.host.task.errors import near

SEPARATORS = ",;\t|"
SNIFFED = 50
"""Lines from which it is decided whether the first one is a header."""
NO_LABEL = ("", "nan")
"""Cells, in lower case, that are no label."""
_EMPTY_START = re.compile(r"\A(?:[\s,;|\"]*\n)+")
BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True)
class Lines:
    """The text of a table, and how its lines are divided."""

    path: Path
    text: str
    separator: str

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """(number of the line on which it ends, cells) of each line that is not empty."""
        # Quoted cells may hold line ends, so that a line's number is not its row's.
        reader = csv.reader(
            io.StringIO(self.text, newline=""), delimiter=self.separator, skipinitialspace=True
        )
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    if self.separator == " " and not cells[-1]:
                        cells = cells[:-1]
                    yield reader.line_num, cells
        except csv.Error as error:
            raise UserError(
                f"{self.path}: line {reader.line_num}: {error}; correct the line"
            ) from None


def read_csv(path: Path, options: Options) -> Table:
    """The table in a text file.  The first line may be a header.

    Raises UserError for a file that cannot be read, lines of another length, two columns of one
    name, empty labels, and columns in `options` that are not there.
    """
    import pandas as pd

    text = decoded(path, read_content(path), options.encoding)
    lines = _divided(path, text, options.decimal)
    first = list(islice(lines, SNIFFED))
    if not first:
        raise UserError(f"{path}: is empty; it needs a line per sample, inputs and a label")
    line, cells = first[0]
    cells = [cell.strip() for cell in cells]
    if len(cells) < 2 and options.needs_labels:
        raise UserError(
            f"{path}: line {line} has one column; it needs inputs and a label, separated by "
            "commas, semicolons, tabs, bars or spaces"
        )
    header = _is_header([row for _, row in first], options)
    names = _names(path, cells if header else [None] * len(cells))
    labels = label_columns(path, names, options, header)
    _check_width(lines, len(names), line, first[1:])
    try:
        frame = pd.read_csv(
            io.StringIO(_EMPTY_START.sub("", lines.text), newline=""),
            sep=r"\s+" if lines.separator == " " else lines.separator,
            header=0 if header else None,
            names=range(len(names)),
            index_col=False,
            dtype=_types(names, labels, options),
            keep_default_na=False,
            decimal=options.decimal,
            skipinitialspace=True,
            low_memory=False,
        )
    except (ValueError, pd.errors.ParserError) as error:
        _check_width(lines, len(names), line, lines)
        raise UserError(f"{path}: {error}; correct the file".replace("\n", " ")) from None
    frame.columns = names
    frame = frame[~_blank(frame)].reset_index(drop=True)
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].astype(str).str.strip()
    if not len(frame):
        raise UserError(f"{path}: has a header but no samples; add a line per sample")
    if frame.isna().any(axis=None) or (frame == "").any(axis=None):
        _check_width(lines, len(names), line, lines)  # a short line looks like empty cells
    return table_of(str(path), frame, labels, options, _Numbered(lines, header), named=header)


def table_of(
    name: str,
    frame,
    labels: Sequence[str],
    options: Options,
    where,
    notes: tuple[str, ...] = (),
    *,
    named: bool = True,
) -> Table:
    """Inputs and labels of a frame with named columns, without the ignored ones."""
    answers = frame[list(labels)]
    ignored = {column_named(name, frame.columns, key, "ignore") for key in options.ignored}
    inputs = frame[[n for n in frame.columns if n not in {*labels, *ignored}]]
    if not len(inputs.columns):
        raise UserError(f"{name}: no column is left to learn from; ignore fewer")
    if options.needs_labels:
        for column in labels:
            bad = answers[column].astype(str).str.strip().str.lower().isin(NO_LABEL)
            if not bad.any():
                continue
            if options.missing == "drop":
                answers, inputs = answers[~bad], inputs[~bad]
                notes = (*notes, f"{int(bad.sum())} samples without a label were left out")
                continue
            raise UserError(
                f"{name}: {where(int(np.argmax(bad)))}, {shown(column)}: the label is missing; "
                "fill it in, drop the line, or set missing = 'drop' in [data]"
            )
    return Table(name, inputs, answers, where, notes, named, tuple(map(str, frame.columns)))


def column_named(path: Path | str, names: Sequence[str], key: int | str, option: str) -> str:
    """The name of the column that `key` means, a name or a number (-1: the last)."""
    names = list(names)
    if isinstance(key, str):
        if key in names:
            return key
        raise UserError(
            f"{path}: no column is called {key!r}{near(key, names)}; the first line has "
            f"{', '.join(names)[:120]}; correct {option}"
        )
    if not -len(names) <= key < len(names):
        raise UserError(
            f"{path}: {option} = {key}, but the file has columns 0 to {len(names) - 1}; correct "
            f"{option} (-1 is the last)"
        )
    return names[key]


def label_columns(
    path: Path, names: Sequence[str], options: Options, header: bool
) -> tuple[str, ...]:
    """Names of the columns with labels.  Those that a file to predict lacks are left out."""
    keys = options.labels or (-1,)
    if options.needs_labels:
        return tuple(column_named(path, names, key, "label_column") for key in keys)
    return tuple(key for key in keys if isinstance(key, str) and key in names)


def decoded(path: Path, content: bytes, encoding: str | None) -> str:
    """The text.  Without `encoding`: UTF-8, or what a byte order mark or many zero bytes say."""
    marked = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), None)
    if encoding is None and marked is None and len(content) > 3:
        zeros = [content[k:2000:2].count(0) for k in (0, 1)]
        pairs = len(content[:2000]) // 2
        if max(zeros) > 0.4 * pairs:
            marked = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    used = encoding or marked or "utf-8"
    try:
        text = content.decode(used)
    except LookupError:
        raise UserError(
            f"{path}: encoding = {used!r} is unknown; use 'utf-8', 'cp1252', 'utf-16' or another "
            "one that Python knows"
        ) from None
    except UnicodeDecodeError as error:
        wrong = "UTF-8" if used == "utf-8" else used
        raise UserError(
            f"{path}: byte {error.start} is no {wrong}; save the table as UTF-8 text, or set "
            "encoding in [data], such as encoding = 'cp1252' for files of Windows programs"
        ) from None
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise UserError(
            f"{path}: character {text.index(chr(0))} is a zero byte: the file is no text, or its "
            "encoding is another; set encoding in [data], such as encoding = 'utf-16'"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


# -- inside ---------------------------------------------------------------------------------


class _Numbered:
    """Says on which line sample number k of a file stands."""

    def __init__(self, lines: Lines, header: bool) -> None:
        self.lines, self.header = lines, header

    def __call__(self, sample: int) -> str:
        line, _ = next(islice(iter(self.lines), sample + self.header, None))
        return f"line {line}"


def _divided(path: Path, text: str, decimal: str) -> Lines:
    """The lines, cut at the separator that the first one has most of."""
    # Excel writes such a line, and reads it again.
    if match := re.match(r"\s*sep=(.)\s*\n", text):
        return Lines(path, text[match.end() :], match[1])
    first = text.lstrip().split("\n", 1)[0]
    separators = [s for s in SEPARATORS if s != decimal]
    best = max(separators, key=first.count)
    if not first.count(best) and len(first.split()) > 1 and '"' not in first:
        best = " "
    return Lines(path, text, best)


def is_number(cell: str) -> bool:
    """Whether Python reads the cell as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _is_header(rows: list[list[str]], options: Options) -> bool:
    """Whether the first line names the columns."""
    cells, width = rows[0], len(rows[0])
    if any(isinstance(k, str) for k in (*options.labels, *options.ignored, *options.categorical)):
        return True
    numbers = [n for n in options.labels or (-1,) if isinstance(n, int)]
    labels = {n % width for n in numbers} if options.needs_labels else set()
    inputs = [n for n in range(width) if n not in labels]
    if any(_numeric(cells[n], options) for n in inputs):
        return False
    below = [row for row in rows[1:] if len(row) == width]
    if any(_numeric(row[n], options) for row in below for n in inputs) or not below:
        return True
    # Text in every column: the cells of a sample occur again, the names of columns do not.
    return len(set(cells)) == width and not any(
        cells[n] == row[n] for row in below for n in range(width)
    )


def _numeric(cell: str, options: Options) -> bool:
    text = cell.strip()
    if options.thousands:
        text = text.replace(options.thousands, "")
    return is_number(text.replace(options.decimal, ".") if options.decimal != "." else text)


def _names(path: Path, cells: Sequence[str | None]) -> list[str]:
    """A name for each column: the header's, or its number where it has none."""
    given = [cell for cell in cells if cell]
    twice = next((cell for cell in given if given.count(cell) > 1), None)
    if twice is not None:
        places = [str(n) for n, cell in enumerate(cells) if cell == twice]
        raise UserError(
            f"{path}: columns {' and '.join(places)} are both called {twice!r}; rename or remove "
            "one of them, because it is not clear which is meant"
        )
    return [cell or f"column {number}" for number, cell in enumerate(cells)]


def _types(names: list[str], labels: Sequence[str], options: Options):
    """Which columns pandas leaves as text: labels, and all where it would drop signs between
    thousands without a look at their places."""
    if options.thousands:
        return str
    return dict.fromkeys((names.index(name) for name in labels), str)


def _check_width(lines: Lines, width: int, first: int, rows) -> None:
    """Raise UserError for the first of `rows` that has not as many cells as line `first`."""
    for line, cells in rows:
        if len(cells) != width:
            hint = ""
            if len(cells) == width - 1 or len(cells) == width + 1:
                hint = " (a separator inside a cell needs quotes around the cell)"
            raise UserError(
                f"{lines.path}: line {line} has {len(cells)} columns, line {first} has {width}; "
                f"give every line the same number{hint}"
            )


def _blank(frame):
    """Samples of which no cell is filled, as spreadsheets leave them behind the last one."""
    from pandas.api.types import is_numeric_dtype

    blank = np.ones(len(frame), dtype=bool)
    for name in frame.columns:
        cells = frame[name]
        empty = cells.isna() if is_numeric_dtype(cells) else cells.astype(str).str.strip() == ""
        blank &= empty.to_numpy()
        if not blank.any():
            break
    return blank
