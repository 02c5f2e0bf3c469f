"""From cells to numbers: what is a number, what only looks like one, what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.host.data.labels import canonical
from mgd.host.data.table import Options, Table, shown

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("", "nan", "na", "n/a", "#n/a", "null", "none", "<na>", "?")
"""Cells, in lower case, that say that a number is missing."""
MISSING_TEXT = ("", "nan", "<na>", "?")
"""The same of a text column: there 'NA' and 'None' may be names."""
NUMBERS_FROM = 0.5
"""A column is one of numbers where this part of its filled cells are."""

_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,.' \u00a0\u202f])\d{3}(\1\d{3})*([.,]\d+)?")
_UNIT = re.compile(r"[$€£¥]?\s*[+-]?\d+([.,]\d+)*\s*([%‰€$£¥°µ]?[A-Za-z/²³^°]{0,6})")
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( .*)?"
    r"|\d{1,2}:\d{2}(:\d{2})?( ?[AaPp][Mm])?"
)


def is_text(table: Table, column: str, options: Options) -> bool:
    """Whether a column holds names rather than numbers; raises UserError for dates, and for
    numbers with units or of another country's habit."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    cells = table.inputs[column]
    if is_bool_dtype(cells):
        return True
    if is_numeric_dtype(cells):
        return False
    filled = cells[~cells.str.lower().isin(MISSING)]
    if not len(filled):
        return False
    unique = filled.unique()[:1000]
    import pandas as pd

    unique = pd.Series(unique)
    if _numbers(unique, options).notna().mean() >= NUMBERS_FROM:
        return False
    for pattern, needed in (
        (_DATE, _date), (_COMMA, _comma), (_THOUSANDS, _thousands), (_UNIT, _unit),
    ):  # fmt: skip
        hits = unique.str.fullmatch(pattern)
        if hits.mean() > 0.8:
            example = unique[hits].iloc[0]
            at = table.where(int(cells.index[np.argmax(cells == example)]))
            raise UserError(
                f"{table.name}: {at}, {shown(column)}: {example!r} {needed(column, example)}"
            )
    return True


def to_numbers(table: Table, column: str, options: Options) -> np.ndarray:
    """(samples,) float64 of a column of numbers, NaN where one is missing.

    Raises UserError for a cell that is neither, and for infinite numbers.
    """
    from pandas.api.types import is_numeric_dtype

    cells = table.inputs[column]
    if is_numeric_dtype(cells):
        values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = np.isinf(values)
    else:
        missing = cells.str.lower().isin(MISSING).to_numpy()
        values = _numbers(cells, options).to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = ~np.isfinite(values) & ~missing
        values = np.where(missing, np.nan, values)
    if wrong.any():
        row = int(np.argmax(wrong))
        cell = str(cells.iloc[row])
        raise UserError(
            f"{table.name}: {table.where(int(cells.index[row]))}, {shown(column)}: {cell[:40]} is "
            f"no finite number; {_hint(cell, column, options)}"
        )
    return values


def to_texts(cells: pd.Series) -> np.ndarray:
    """(samples,) text of a text column, '' where it is missing."""
    from pandas.api.types import is_numeric_dtype

    text = cells.astype(str).str.strip()
    if is_numeric_dtype(cells):
        text = text.map(canonical)  # an empty cell makes 1.0 of every 1 in the column
    return np.where(text.str.lower().isin(MISSING_TEXT), "", text).astype(object)


def refuse_missing(table: Table, column: str, is_missing: np.ndarray) -> None:
    """Raise UserError for the first missing cell of a column."""
    row = int(np.argmax(is_missing))
    cell = str(table.inputs[column].iloc[row]).strip() or "an empty cell"
    raise UserError(
        f"{table.name}: {table.where(int(table.inputs.index[row]))}, {shown(column)}: {cell[:40]} "
        f"is no finite number ({int(is_missing.sum())} of {len(is_missing)} cells are missing); "
        "fill it in or drop the line, or set missing = 'drop' or missing = 'mean' in [data]"
    )


def _numbers(cells: pd.Series, options: Options) -> pd.Series:
    import pandas as pd

    text = cells.str.strip()
    if options.thousands:
        # 1,5 is not 15: the sign stands between groups of three digits only.
        sign, point = re.escape(options.thousands), re.escape(options.decimal)
        grouped = rf"[+-]?(\d{{1,3}}({sign}\d{{3}})+|\d*)({point}\d*)?([eE][+-]?\d+)?"
        text = text.where(text.str.fullmatch(grouped), "no number")
        text = text.str.replace(options.thousands, "", regex=False)
    if options.decimal != ".":
        # Where the comma is decimal, a point is not: 1.234 would be a thousand times too small.
        text = text.where(~text.str.contains(".", regex=False), "no number")
        text = text.str.replace(options.decimal, ".", regex=False)
    text = text.where(~text.str.contains("_", regex=False), "no number")
    return pd.to_numeric(text, errors="coerce")


def _hint(cell: str, column: str, options: Options) -> str:
    for pattern, needed in ((_COMMA, _comma), (_THOUSANDS, _thousands)):
        match = pattern.fullmatch(cell)
        if match and not (needed is _comma and options.decimal == ","):
            return needed(column, cell).partition("; ")[2]
    return "fill it in or drop the line"


Cure = Callable[[str, str], str]


def _date(column: str, _example: str) -> str:
    return (
        f"is a date or a time, which is no input as it is; ignore = [{column!r}] in [data], or "
        "write numbers such as days or hours"
    )


def _comma(_column: str, example: str) -> str:
    if _THOUSANDS.fullmatch(example):
        return (
            "has a comma; set decimal = ',' in [data] where it is a decimal comma, or "
            "thousands = ',' where it stands between thousands"
        )
    return "has a decimal comma; set decimal = ',' in [data]"


def _thousands(_column: str, example: str) -> str:
    match = _THOUSANDS.fullmatch(example)
    sign = match[1] if match else ","
    more = " and decimal = ','" if sign == "." else ""
    return f"has signs between thousands; set thousands = {sign!r}{more} in [data]"


def _unit(column: str, _example: str) -> str:
    return (
        f"is a number with a unit; write plain numbers, or ignore = [{column!r}], or "
        f"categorical = [{column!r}] in [data] where each is a name"
    )
