"""Bad designs through the real Yosys: each must be refused, by its name; a good one must pass."""

from __future__ import annotations

import io
import subprocess

import pytest

from mgd.boards.design import Design
from mgd.boards.flow import yosys
from mgd.boards.flow.yosys_checks import check_cells, check_log, checked
from mgd.boards.registry import find_board
from mgd.boards.tools import fpga_program
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.rtl.folded.config import CoreConfig

GOOD = """
module top(input clk, input a, input b, output reg q);
  always @(posedge clk) q <= a ^ b;
endmodule
"""

BAD = {
    "latch": (
        "module top(input en, input d, output reg q); always @* if (en) q = d; endmodule",
        r"Latch inferred for signal `\top.\q'",
    ),
    "two registers drive one signal": (
        """module top(input clk, input a, input b, output reg q);
             always @(posedge clk) q <= a;
             always @(posedge clk) q <= b;
           endmodule""",
        r"multiple conflicting drivers for top.\q: port Q[0] of cell",
    ),
    "logic loop": (
        "module top(input a, output q); assign q = ~(q & a); endmodule",
        "found logic loop in module top: cell $not",
    ),
    "no driver": (
        "module top(input a, output q); wire n; assign q = a & n; endmodule",
        r"Wire top.\n is used but has no driver",
    ),
    "syntax error": ("module top(input a, output q; assign q = a; endmodule", "syntax error"),
    "missing module": (
        "module top(input a, output q); absent s(.i(a), .o(q)); endmodule",
        r"ERROR: Module `\absent'",
    ),
    # Two registers after a product: Yosys takes both into the DSP block, whose second one it
    # does not have, ties the result to constants and exits with 0.
    "two registers after a product": (
        """module top(input clk, input signed [15:0] a, b, output reg signed [31:0] q);
             reg signed [31:0] p;
             always @(posedge clk) begin p <= a * b; q <= p; end
           endmodule""",
        "Driver-driver conflict for \\q [0] between cell",
    ),
}


def log_of(source: str, folder, synthesis: str = "synth_ice40 -dsp -top top") -> str:
    (folder / "top.v").write_text(source)
    subprocess.run(
        [fpga_program("yosys"), "-q", "-l", "log", "-p", f"read_verilog top.v; {synthesis}"],
        cwd=folder,
        stderr=subprocess.DEVNULL,
        timeout=300,
    )
    return (folder / "log").read_text()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_design_is_refused_with_the_line_of_the_log(name, tmp_path):
    source, said = BAD[name]
    log = log_of(source, tmp_path)
    with pytest.raises(UserError) as error:
        check_log(log)
    message = str(error.value)
    assert said in message
    assert len(message.splitlines()) == 1
    number = int(message.split("in line ")[1].split()[0])
    assert log.splitlines()[number - 1].strip() in message


@pytest.mark.parametrize("synthesis", ["synth_ice40 -dsp -top top", "synth_ecp5 -top top"])
def test_a_good_design_passes(synthesis, tmp_path):
    log = log_of(GOOD, tmp_path, synthesis)
    # Yosys reads its own latch cells and runs a pass that looks for loops: neither is a fault.
    assert "LATCH" in log
    check_log(log)
    check_log(io.StringIO(log))


def test_distributed_memory_says_no_latch_inferred(tmp_path):
    source = """
    module top(input clk, input [3:0] a, w, input [3:0] d, input we, output [3:0] q);
      reg [3:0] m [0:15];
      always @(posedge clk) if (we) m[w] <= d;
      assign q = m[a];
    endmodule"""
    log = log_of(source, tmp_path, "synth_ecp5 -top top")
    assert "No latch inferred" in log
    check_log(log)


def test_a_latch_that_is_only_a_warning_is_refused(tmp_path):
    log = log_of(BAD["latch"][0], tmp_path, "proc; opt")
    assert "Warning: Latch inferred" in log
    with pytest.raises(UserError, match="latch"):
        check_log(log)


def test_half_a_log_is_refused(tmp_path):
    lines = log_of(GOOD, tmp_path).splitlines()
    (end,) = (number for number, line in enumerate(lines) if line.startswith("End of script"))
    for number in (0, end):
        with pytest.raises(UserError, match="stops before the end"):
            check_log(lines[:number])


def test_a_stream_is_given_on_up_to_the_bad_line_and_its_details():
    lines = ["a\n", "Warning: found logic loop in module top:\n", "    cell $not$1\n", "b\n", "c\n"]
    seen: list[str] = []
    with pytest.raises(UserError, match=r"in line 2 of its log.*cell \$not\$1"):
        seen.extend(checked(lines))
    assert seen == lines[:4]


# -- cells ---------------------------------------------------------------------------------

DIGITS = CoreConfig(Network((64, 32, 10), cost="cross_entropy", sample_bits=5), 8)
"""326 words of 16 bits a lane: 2 blocks of 4 kbit each."""
ICE40 = {"SB_MAC16": 8, "SB_RAM40_4K": 16, "SB_LUT4": 4000, "SB_DFFE": 2000, "SB_CARRY": 900}
ECP5 = {"MULT18X18D": 8, "DP16KD": 8, "LUT4": 4000, "TRELLIS_FF": 2000, "CCU2C": 400}


def check(cells: dict[str, int], config: CoreConfig, words: int = 0) -> None:
    """check_cells() on a board of the FPGA family that has these multipliers."""
    board = find_board("icebreaker" if "SB_LUT4" in cells or "SB_MAC16" in cells else "ulx3s-25f")
    check_cells(cells, Design(board, config, words, board.baud))


@pytest.mark.parametrize("cells", [ICE40, ECP5])
def test_what_a_core_needs_passes(cells):
    check(cells, DIGITS)
    check({**cells, "$scopeinfo": 20}, DIGITS)


@pytest.mark.parametrize(
    ("cells", "change", "said"),
    [
        (ICE40, {"SB_MAC16": 7}, "7 DSP blocks"),
        (ECP5, {"MULT18X18D": 0}, "0 DSP blocks"),
        (ICE40, {"SB_RAM40_4K": 15}, "15 memory blocks"),
        (ECP5, {"DP16KD": 7}, "7 memory blocks"),
        # SPRAM has one port: it may hold samples, no weights.
        (ICE40, {"SB_RAM40_4K": 15, "SB_SPRAM256KA": 4}, "15 memory blocks"),
        (ICE40, {"$_DLATCH_P_": 1}, "latches"),
        (ICE40, {"$mul": 3}, "$mul"),
    ],
)
def test_trimmed_logic_is_refused(cells, change, said):
    with pytest.raises(UserError) as error:
        check({**cells, **change}, DIGITS)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_two_luts_are_no_core():
    with pytest.raises(UserError, match="DSP"):
        check({"SB_LUT4": 2}, DIGITS)


def test_samples_and_accumulators_need_their_blocks():
    words = 59302
    with pytest.raises(UserError, match=r"16 memory blocks.*59,302 words of samples"):
        check(ICE40, DIGITS, words)
    check({**ICE40, "SB_SPRAM256KA": 4}, DIGITS, words)
    check({**ICE40, "SB_RAM40_4K": 16 + 232}, DIGITS, words)
    with pytest.raises(UserError, match="memory blocks"):
        check({**ICE40, "SB_RAM40_4K": 16 + 231}, DIGITS, words)
    accumulating = CoreConfig(Network((64, 32, 10), accumulators=True, tau_theta_max=100), 8)
    with pytest.raises(UserError, match="accumulators"):
        check(ICE40, accumulating)


def test_small_memories_may_be_flip_flops_or_luts():
    xor = CoreConfig(Network((2, 2, 1)), 2)
    check({"SB_MAC16": 2, "SB_DFF": 400}, xor)
    check({"MULT18X18D": 2, "TRELLIS_DPR16X4": 8, "TRELLIS_FF": 100}, xor)
    with pytest.raises(UserError, match="memory blocks"):
        check({"SB_MAC16": 2, "SB_DFF": 100}, xor)


def test_names_that_collide_are_hidden_and_yosys_runs_again(tmp_path, monkeypatch):
    """Yosys' assertion behind ABC9; a failure of any other kind is told as it is."""
    scripts: list[str] = []

    def run_tool(name, command, folder, products, log):
        scripts.append((folder / yosys.SCRIPT).read_text())
        assertion = "ERROR: Assert `count_id(wire->name) == 0' failed in rtlil.cc:2872."
        fails = "hide" not in scripts[-1]
        (folder / log).write_text(assertion if fails and kind == "names" else "End of script.\n")
        if fails:
            raise UserError("yosys failed with exit code 1")

    monkeypatch.setattr(yosys, "run_tool", run_tool)
    for kind in ("names", "other"):
        scripts.clear()
        (tmp_path / yosys.SCRIPT).write_text("read_rtlil top.il\nsynth_ecp5 -top top\n")
        if kind == "names":
            yosys.run_yosys(tmp_path, ())
            assert scripts[1] == "read_rtlil top.il\nrename -hide w:*$*\nsynth_ecp5 -top top\n"
        else:
            with pytest.raises(UserError, match="exit code 1"):
                yosys.run_yosys(tmp_path, ())
            assert len(scripts) == 1
