"""What an ECP5 has that Yosys does not use, put into its netlist before it is placed."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

from mgd.boards.flow.ecp5 import carry_ends, dsp_registers, plain_registers, ram_registers


def finish(netlist: Path, *, simulated: bool = False) -> None:
    """Rewrite a JSON netlist of Yosys.  Raises OSError.

    simulated: for Verilog, where an output that is left open as nextpnr wants it would be tied to
    a constant.
    """
    design = json.loads(netlist.read_text(encoding="utf-8"))
    for module in design["modules"].values():
        # Yosys lists every cell that it knows as a module too.
        if module["cells"]:
            dsp_registers.pack(module)
            ram_registers.pack(module)
            if not simulated:
                carry_ends.leave_open(module)
    netlist.write_text(json.dumps(design), encoding="utf-8")


def sources() -> str:
    """What decides how a netlist is finished: whatever keeps one must look at it."""
    modules = (
        sys.modules[__name__],
        *(carry_ends, dsp_registers, plain_registers, ram_registers),
    )
    return "".join(map(inspect.getsource, modules))
