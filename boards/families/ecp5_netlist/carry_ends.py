"""The ends of an ECP5's carry chains, as nextpnr expects them."""

from __future__ import annotations

from collections import Counter
from typing import Any

CARRY = "CCU2C"


def leave_open(module: dict[str, Any]) -> int:
    """Disconnect the carry outputs that nothing reads, in a module of a JSON netlist of Yosys;
    returns how many.

    Yosys gives each a net of its own, for which nextpnr would add a pair of LUTs that brings the
    net out of the chain.
    """
    cells = module["cells"].values()
    bits = [part["bits"] for part in module.get("ports", {}).values()]
    bits += [bits for cell in cells for bits in cell["connections"].values()]
    ends = Counter(bit for part in bits for bit in part if isinstance(bit, int))
    opened = 0
    for cell in cells:
        if cell["type"] == CARRY and [ends[bit] for bit in cell["connections"]["COUT"]] == [1]:
            # nextpnr does not expect the port to be missing.
            cell["connections"]["COUT"] = ["x"]
            opened += 1
    return opened
