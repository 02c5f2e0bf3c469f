"""docs/protocol.md says what protocol.link_protocol defines, and its example is what the host
sends."""

from __future__ import annotations

import re
from enum import IntEnum

import pytest

from mgd.host.link.board_link import Link
from mgd.protocol.build_options import FIELDS, Mask, shown
from mgd.protocol.link_protocol import (
    ESCAPE,
    ESCAPE_XOR,
    FIRST_READABLE,
    FLAG,
    FRAME_MAX,
    MAGIC,
    MAX_READ,
    MAX_WRITE,
    VERSION,
    Command,
    Flag,
    Op,
    Register,
    Space,
    Status,
)
from tests.support.fake_board import FakeBoard
from tests.support.paths import ROOT

TEXT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first column is headed `first`."""
    lines = TEXT.splitlines()
    heads = (f"| {first} | value |", f"| {first} | address |")
    start = next(k for k, line in enumerate(lines) if line.startswith(heads))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ("op", Op),
        ("status", Status),
        ("space", Space),
        ("register", Register),
        ("command", Command),
    ],
)
def test_tables_hold_every_value(first: str, kind: type[IntEnum]):
    assert [(row[0], int(row[1])) for row in table(first)] == [(e.name, e.value) for e in kind]


def test_access_and_width_of_registers():
    rows = table("register")
    for row in rows:
        assert row[2] == ("read" if int(row[1]) >= FIRST_READABLE else "write"), row[0]
    assert f"below address {FIRST_READABLE} can only be written" in TEXT
    (mode,) = (row[3] for row in rows if row[0] == "MODE")
    assert mode == ", ".join(f"{flag.name} = {flag.value}" for flag in Flag)
    addresses = [int(row[1]) for row in rows]
    for row, address in zip(rows, addresses, strict=True):
        if "two words" in row[3]:
            assert address + 1 not in addresses, row[0]
        elif row[0] not in ("EVAL_COUNT", "FRAME_ERRORS"):  # behind these is nothing
            assert address + 1 in addresses, row[0]


def test_spaces_and_constants():
    assert f"flag `{FLAG:02x}`" in TEXT
    assert f"escape `{ESCAPE:02x}` and the byte with bit {ESCAPE_XOR.bit_length() - 1}" in TEXT
    assert f"(`{ESCAPE ^ ESCAPE_XOR:02x}`, `{FLAG ^ ESCAPE_XOR:02x}`)" in TEXT
    assert f"0x{MAGIC:08X}" in TEXT
    assert f"protocol version {VERSION} " in TEXT
    assert f"count, 1 to {MAX_WRITE} in a WRITE, 1 to {MAX_READ} in a READ" in TEXT
    assert f"longer than {FRAME_MAX} is not answered" in TEXT
    assert f"A reply of {MAX_READ} words has {4 * MAX_READ + 9:,} bytes" in TEXT


def test_what_a_core_was_built_for():
    rows = re.findall(r"^\| (\d+)(?: to (\d+))? \| (\w+): (.*) \|$", TEXT, re.MULTILINE)
    told = {name: (int(low), int(high or low), text) for low, high, name, text in rows}
    assert told.keys() == {"accumulators", *(field.name for field in FIELDS)}
    for field in FIELDS:
        low, high, text = told[field.name]
        assert (low, high) == (field.shift, field.shift + field.bits - 1), field.name
        assert isinstance(field, Mask) or len(field.values) <= 1 << field.bits
        if isinstance(field.values, range):
            first, last = field.values[0], field.values[-1]
            less = f", less {first}" if first else ""
            assert text == f"{first} to {last}{less}", field.name
        elif not isinstance(field, Mask):
            values = re.findall(r"(\d+) ([\w ]+)", text)
            assert values == [(str(k), shown(v).strip("'")) for k, v in enumerate(field.values)], (
                field.name
            )


def test_the_example_is_what_host_and_board_say():
    example = re.findall(r"^(request|reply)\s+([0-9a-f ]+)$", TEXT, re.MULTILINE)
    said: list[tuple[str, str]] = []

    class Listening(FakeBoard):
        def write(self, data: bytes) -> None:
            said.append(("request", data[1:].hex(" ")))  # without the leading flag
            super().write(data)

        def read(self, timeout_s: float) -> bytes:
            data = super().read(timeout_s)
            said.append(("reply", data.hex(" ")))
            return data

    link = Link(Listening())
    link.write_register(Register.TAU_X, 1000)
    assert link.read_register(Register.STATUS) == 0
    assert said == example
