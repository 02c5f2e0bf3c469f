"""Running Yosys on a script, for a build, a netlist to simulate, or a count of cells."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from boards.steps import run_tool
from boards.tools import fpga_program
from boards.yosys_checks import check_log

SCRIPT, LOG = "synth.ys", "yosys.log"


def run_yosys(folder: Path, products: Iterable[str]) -> None:
    """Run the script SCRIPT that is in `folder`; its log stays there as LOG.

    products: files that it must leave.  Raises UserError where Yosys is missing, fails, is
    killed, or says what boards.yosys_checks does not let pass.
    """
    # Of the Yosys from PyPI, standard output ends early: it writes the log by itself.
    command = [fpga_program("yosys"), "-l", LOG, SCRIPT]
    run_tool("yosys", command, folder, (*products, LOG), LOG)
    with (folder / LOG).open(encoding="utf-8", errors="replace") as lines:
        check_log(lines)
