"""docs/protocol.md agrees with protocol/, and its example is what the host sends."""

from __future__ import annotations

import re
from enum import IntEnum

import pytest

from mgd.host.link.board_link import Link
from mgd.protocol.build_options import FIELDS, MEASURED, BuildOptions, Mask
from mgd.protocol.framing import (
    ESCAPE,
    ESCAPE_XOR,
    FLAG,
    FRAME_MAX,
    MAX_READ,
    MAX_WRITE,
    Op,
    Space,
    Status,
)
from mgd.protocol.identity import MAGIC, VERSION
from mgd.protocol.registers import FIRST_READABLE, REGISTERS, Access, Command, Register
from mgd.protocol.tables import TABLES
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


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_those_of_the_declarations(name: str):
    (found,) = re.findall(f"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", TEXT, re.DOTALL)
    assert found == TABLES[name](), "write it anew: python -m mgd.scripts.protocol_tables"


def test_registers_do_not_overlap():
    taken = [register + k for register in Register for k in range(register.words)]
    assert len(taken) == len(set(taken))
    assert max(taken) < REGISTERS
    for register in Register:
        assert (register.access is Access.READ) == (register >= FIRST_READABLE), register.name
    assert f"below address {FIRST_READABLE} can only be written" in TEXT


def test_spaces_and_constants():
    assert f"flag `{FLAG:02x}`" in TEXT
    assert f"escape `{ESCAPE:02x}` and the byte with bit {ESCAPE_XOR.bit_length() - 1}" in TEXT
    assert f"(`{ESCAPE ^ ESCAPE_XOR:02x}`, `{FLAG ^ ESCAPE_XOR:02x}`)" in TEXT
    assert f"0x{MAGIC:08X}" in TEXT
    assert f"protocol version {VERSION} " in TEXT
    assert f"count, 1 to {MAX_WRITE} in a WRITE, 1 to {MAX_READ} in a READ" in TEXT
    assert f"longer than {FRAME_MAX} is not answered" in TEXT
    assert f"A reply of {MAX_READ} words has {4 * MAX_READ + 9:,} bytes" in TEXT


@pytest.mark.parametrize("difference", [MEASURED, "highpass"])
def test_build_options_share_no_bit(difference):
    """Those that stand beside one another; the difference alone decides which do."""
    assert {field.beside[0] for field in FIELDS if field.beside} == {"difference"}
    taken = [0]  # accumulators
    for field in FIELDS:
        assert isinstance(field, Mask) or len(field.values) <= 1 << field.bits, field.name
        if field.is_there({"difference": difference}):
            taken += range(field.shift, field.shift + field.bits)
    assert len(taken) == len(set(taken))
    assert max(taken) < 32


@pytest.mark.parametrize(
    "options",
    [
        BuildOptions(accumulate="nodes", trainable=(True, False), sample_order="random"),
        BuildOptions(difference="highpass", highpass_exp=2),
        BuildOptions(difference="highpass", highpass_exp=16, gate_zeros=True),
        BuildOptions(),
    ],
)
def test_a_word_of_build_options_says_which_they_are(options):
    assert BuildOptions.from_word(options.word(), 2) == options


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
