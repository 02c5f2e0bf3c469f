"""Running Yosys on a script, for a build, a netlist to simulate, or a count of cells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mgd.boards.flow.steps import run_tool
from mgd.boards.flow.yosys_checks import check_log
from mgd.boards.tools import fpga_program
from mgd.golden_model.errors import UserError

SCRIPT, LOG = "synth.ys", "yosys.log"


_NAMES_COLLIDE = re.compile(
    r"Assert `(count_id\(wire->name\) == 0"
    r"|GetSize\(conn\.first\) == GetSize\(conn\.second\))' failed"
)
_HIDE_NUMBERED = "rename -hide w:*$*\n"


def run_yosys(folder: Path, products: Iterable[str]) -> None:
    """Run the script SCRIPT that is in `folder`; its log stays there as LOG.

    products: files that it must leave.  Raises UserError where Yosys is missing, fails, is
    killed, or logs a line that boards.flow.yosys_checks refuses.

    Where Yosys 0.70 puts nets back by their names behind ABC9, it now and then takes one with a
    number that Amaranth gave it, sum$12, for another.  Then it runs again with those hidden; all
    other names stay, for timing reports.
    """
    # Of the Yosys from PyPI, standard output ends early: it writes the log by itself.
    command = [fpga_program("yosys"), "-l", LOG, SCRIPT]
    try:
        run_tool("yosys", command, folder, (*products, LOG), LOG)
    except UserError:
        script = (folder / SCRIPT).read_text(encoding="utf-8")
        reading, _, rest = script.partition("\n")
        log = folder / LOG
        failed = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        if rest.startswith(_HIDE_NUMBERED) or not _NAMES_COLLIDE.search(failed):
            raise
        (folder / SCRIPT).write_text(f"{reading}\n{_HIDE_NUMBERED}{rest}", encoding="utf-8")
        run_tool("yosys", command, folder, (*products, LOG), LOG)
    with (folder / LOG).open(encoding="utf-8", errors="replace") as lines:
        check_log(lines)
