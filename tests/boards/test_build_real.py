"""One build with the real tools: XOR for the iCEBreaker."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from click.testing import CliRunner

from mgd.api.backends import sample_words
from mgd.boards.estimate.kinds import make_design
from mgd.boards.flow import commands as flow
from mgd.boards.registry import boards, find_board
from mgd.scripts.cli import main
from tests.support import simulation
from tests.support.simulation import XOR

CLOCK_MHZ = 18
"""Far enough below what the core reaches that the first seed closes: one run of nextpnr."""


def test_xor_for_the_icebreaker(tmp_path):
    out = tmp_path / "xor"
    arguments = ["build", "xor", "--board", "icebreaker", "--clock", str(CLOCK_MHZ)]
    done = CliRunner().invoke(main, [*arguments, "--no-measure", "--out", str(out)])
    assert done.exit_code == 0, done.output
    report = json.loads((out / "report.json").read_text())
    assert report["timing_met"]
    assert report["fmax_mhz"] >= report["core_hz"] / 1e6
    assert CLOCK_MHZ - 1 < report["core_hz"] / 1e6 <= CLOCK_MHZ
    used = {kind: count["used"] for kind, count in report["resources"].items()}
    assert used["dsp"] >= 2
    assert used["spram"] >= 2
    assert used["lut"] > 1000
    assert all(count["used"] <= count["available"] for count in report["resources"].values())
    data = (out / "top.bin").read_bytes()
    # The word after which an iCE40 listens.
    assert b"\x7e\xaa\x99\x7e" in data[:4096]
    assert hashlib.sha256(data).hexdigest() == report["bitstream_sha256"]
    assert set(report["tools"]) == {"yosys", "nextpnr-ice40", "icepack"}
    (folder,) = (simulation.CACHE / "builds").glob(report["digest"][:20])
    assert (folder / "top.json").stat().st_size > 100_000


@pytest.mark.parametrize("name", boards())
def test_design_elaborates_to_the_same_text_for_every_board(name):
    board = find_board(name)
    design = make_design(board, XOR.core_layout(), sample_words(XOR))
    clock_plan = board.fpga_family.pll.search(board.clock_hz, 40_000_000)
    one, two = flow.elaborate(design, clock_plan), flow.elaborate(design, clock_plan)
    assert one == two
    texts = dict(one.files)
    assert not re.search(r"\.py\b", texts["top.il"])
    assert CELL[board.fpga_family.name] in texts["top.il"]
    if board.uart is not None:
        constraints = texts[board.fpga_family.constraints_file]
        assert re.search(rf'COMP "uart_0__rx__io" SITE "{board.uart.rx}"', constraints)
        assert re.search(rf'COMP "uart_0__tx__io" SITE "{board.uart.tx}"', constraints)


CELL = {"ice40": "SB_PLL40_PAD", "ecp5": "EHXPLLL", "gowin": "rPLL"}
