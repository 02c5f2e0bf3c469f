"""The tables of docs/protocol.md, made from the declarations in this package."""

from __future__ import annotations

from collections.abc import Sequence

from mgd.golden_model.rules import as_toml
from mgd.protocol.build_options import FIELDS, Mask
from mgd.protocol.fixed_settings import FIXABLE, NAMED
from mgd.protocol.identity import RECORD
from mgd.protocol.registers import EVERY_CORE, Command, Register


def register_table() -> str:
    """Every register: address, access, width, setting and meaning."""
    rows = []
    for r in Register:
        settings = ", ".join(r.settings)
        if r.cores != EVERY_CORE:
            settings += f" ({', '.join(r.cores)} core only)"
        rows.append((r.name, int(r), r.access.value, _width(r), settings, r.meaning))
    return _table(("register", "address", "access", "bits", "setting", "meaning"), rows)


def _width(register: Register) -> str:
    plural = f" in {register.words} words" if register.words > 1 else ""
    return f"{register.bits}{plural}"


def command_table() -> str:
    return _table(("command", "value", "does"), [(c.name, int(c), c.meaning) for c in Command])


def identity_table() -> str:
    """The fields of an identity record, in order."""
    return _table(("field", "words", "holds"), RECORD)


def option_table() -> str:
    """The bits of the two words of build options."""
    rows = [("0", "accumulators: 1 where it has any")]
    for field in sorted(FIELDS, key=lambda f: f.shift):
        low, high = field.shift, field.shift + field.bits - 1
        bits = str(low) if low == high else f"{low} to {high}"
        if isinstance(field, Mask):
            text = "a 1 for each layer of weights that is not trained, the first layer's lowest"
        elif isinstance(field.values, range):
            first, last = field.values[0], field.values[-1]
            text = f"{first} to {last}" + (f", less {first}" if first else "")
        else:
            text = _numbered([as_toml(value).strip("'") for value in field.values])
        if field.beside is not None:
            name, value = field.beside
            text += f" (where {name} is {value})"
        rows.append((bits, f"{field.name}: {text}"))
    return _table(("bits", "option"), rows)


def fixed_table() -> str:
    """The words for fixed settings, in order."""
    rows = [(name, _numbered(NAMED[name]) if name in NAMED else "its value") for name in FIXABLE]
    return _table(("setting", "word"), rows)


TABLES = {
    "registers": register_table,
    "commands": command_table,
    "identity": identity_table,
    "options": option_table,
    "fixed": fixed_table,
}
"""By the name in the two comments around the table in the page."""


def _numbered(values: Sequence[str]) -> str:
    return ", ".join(f"{number} {value}" for number, value in enumerate(values))


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
