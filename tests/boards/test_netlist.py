"""The netlist that synthesis makes of a board trains as the golden model does, and a netlist with
a fault does not.

One program holds the netlist and ten faults, of which an argument chooses one: compiling it takes
much longer than running it.
"""

from __future__ import annotations

import json
import random
import re

import pytest
from click.testing import CliRunner

from mgd.boards.families.registry import netlist_cells
from mgd.boards.netlist import board as netlist
from mgd.boards.netlist import text as netlist_text
from mgd.golden_model.errors import UserError
from mgd.rtl.lockstep import MismatchError
from mgd.scripts.cli import main
from mgd.scripts.commands import verify as verify_module
from mgd.scripts.commands import verify_netlist
from tests.support.simulation import XOR

pytestmark = pytest.mark.xdist_group("netlist")

FAULTS = 30
CAUGHT = 24
"""The others invert bits that XOR never reaches, such as the top of a sum."""
STEPS = 80
"""A carry out of the lowest bits of a sum may take some dozens of steps to come."""
SEED = 4
FAULTY_LUT = """
module LUT4_WITH_FAULT(output O, input I0, I1, I2, I3);
  parameter [15:0] LUT_INIT = 0;
  parameter NUMBER = 0;
  integer chosen = 0;
  initial if (!$value$plusargs("fault=%d", chosen)) chosen = 0;
  assign O = LUT_INIT[{I3, I2, I1, I0}] ^ (chosen == NUMBER);
endmodule
"""


def with_faults(verilog: str) -> str:
    """FAULTS of the core's LUTs can be inverted, by +fault=1 and so on.

    Those of the link are left out: many work only when a frame is damaged.
    """
    lut = r"^  SB_LUT4 #\(\n.*\n  \) \\top\.core\."
    places = [found.start() for found in re.finditer(lut, verilog, re.M)]
    chosen = sorted(random.Random(SEED).sample(places, FAULTS))
    for number, place in reversed(list(enumerate(chosen, 1))):
        rest = verilog[place:].replace("SB_LUT4 #(", f"LUT4_WITH_FAULT #(.NUMBER({number}),", 1)
        verilog = verilog[:place] + rest
    return verilog


@pytest.fixture(scope="module")
def program():
    """The smallest board, iCE40, with faults to choose from."""
    comparison = verify_netlist.Comparison()
    compiled = netlist.compiled
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            netlist, "compiled", lambda made, say: compiled(made, say, with_faults, FAULTY_LUT)
        )
        return verify_netlist.prepared(XOR, "ice40", comparison, print)


def test_the_netlist_trains_as_the_golden_model(program):
    comparison = verify_netlist.Comparison()
    verify_netlist.compare(XOR, program, 24, comparison)
    # Five chunks and two runs, each: steps, three counters, link errors, nine parameters; and
    # three evaluations.
    assert comparison.values_compared == (5 + 2) * (1 + 3 + 1 + 9) + 3 * 2
    assert comparison.steps == 24


def test_faults_in_the_netlist_are_found(program):
    found = {}
    for number in range(1, FAULTS + 1):
        comparison = verify_netlist.Comparison()
        try:
            verify_netlist.compare(XOR, program, STEPS, comparison, f"+fault={number}")
        except MismatchError as mismatch:
            found[number] = str(mismatch)
    print(f"seed {SEED}:", *found.items(), sep="\n")
    assert len(found) >= CAUGHT


def test_the_command_says_what_it_compared(program, monkeypatch, tmp_path):
    monkeypatch.setattr(verify_module, "prepared", lambda *_: program)
    monkeypatch.chdir(tmp_path)
    arguments = ["verify", "xor", "--netlist", "ice40", "--steps", "6", "--json", "v.json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "xor (2-2-1), 2 lanes, method np, seed 1, ice40 netlist: 6 steps, 62 values compared, "
        "0 mismatches\n"
    )
    values = json.loads((tmp_path / "v.json").read_text())
    assert (values["backend"], values["steps"], values["mismatches"]) == ("netlist-ice40", 6, 0)


def test_the_command_says_where_a_netlist_differs(program, monkeypatch):
    monkeypatch.setattr(verify_module, "prepared", lambda *_: program)
    trainer = verify_netlist.Trainer.train

    def wrong(self, until):
        trainer(self, until)
        self.weights[1][0, 0, 2] += 1

    monkeypatch.setattr(verify_netlist.Trainer, "train", wrong)
    result = CliRunner().invoke(main, ["verify", "xor", "--netlist", "ice40", "--steps", "6"])
    assert result.exit_code == 1
    assert "ice40 netlist: DIFFERENT after 11 equal values" in result.stderr
    assert "step 4, layer 2, node 0, input 2: weight: expected" in result.stderr


def test_another_family_is_refused():
    result = CliRunner().invoke(main, ["verify", "xor", "--netlist", "gowin"])
    assert result.exit_code == 2
    assert "'gowin'" in result.stderr
    assert "ice40" in result.stderr
    with pytest.raises(UserError, match="netlist 'gowin' is unknown"):
        netlist.design_for("gowin", XOR.core_layout(), 16)


MODELS = netlist_cells("ice40").models
MEMORY = """
  SB_RAM40_4K #(
    .INIT_0(256'h{first}),
    .INIT_1(256'hxxxx)
  ) _1_ (
    .WDATA(16'hxxxx),
    .WE({write})
  );
"""


@pytest.mark.parametrize(
    ("first", "write", "kept"),
    [("00x0", "_7_", False), ("00x0", "1'h0", True), ("0040", "_7_", True)],
)
def test_written_memories_that_start_as_zero_start_with_noise(first, write, kept):
    text = netlist_text.powered_up(MEMORY.format(first=first, write=write), MODELS, 1)
    found = re.search(r"INIT_0\(256'h([0-9a-f]+)\)", text)
    assert found
    assert "x" not in text.replace("256", "")
    assert (int(found[1], 16) & 0xFF0F == int(first.replace("x", "0"), 16) & 0xFF0F) == kept
    assert text == netlist_text.powered_up(MEMORY.format(first=first, write=write), MODELS, 1)
    assert text != netlist_text.powered_up(MEMORY.format(first=first, write=write), MODELS, 2)
    assert f".WE({write})" in text


def test_open_bits_fit_their_width():
    drawn = {
        netlist_text.powered_up("f(1'hx, 3'b1x0, 16'h1xx2, 1'h1)", MODELS, n) for n in range(40)
    }
    ones = {text[2:6] for text in drawn}
    assert ones == {"1'h0", "1'h1"}
    assert {text.split(", ")[1] for text in drawn} == {"3'h4", "3'h6"}
    assert all(text.split(", ")[2][:5] == "16'h1" and "2, 1'h1)" in text for text in drawn)
