"""The ends of an ECP5's carry chains, as nextpnr is to see them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

CARRY = "CCU2C"


def leave_open(netlist: Path) -> int:
    """Disconnect the carry outputs that nothing reads, in a JSON netlist of Yosys; how many.

    Yosys gives each a net of its own, and nextpnr a pair of LUTs that would bring that net out of
    the chain.  Raises OSError, KeyError or ValueError where that is no such netlist.
    """
    design = json.loads(netlist.read_text(encoding="utf-8"))
    opened = sum(map(_leave_open, design["modules"].values()))
    netlist.write_text(json.dumps(design), encoding="utf-8")
    return opened


def _leave_open(module: dict[str, Any]) -> int:
    cells = module.get("cells", {}).values()
    bits = [part["bits"] for part in module.get("ports", {}).values()]
    bits += [bits for cell in cells for bits in cell["connections"].values()]
    ends = Counter(bit for part in bits for bit in part if isinstance(bit, int))
    opened = 0
    for cell in cells:
        if cell["type"] == CARRY and [ends[bit] for bit in cell["connections"]["COUT"]] == [1]:
            # No bit at all would be no port at all, which nextpnr does not expect.
            cell["connections"]["COUT"] = ["x"]
            opened += 1
    return opened
