"""Logic cells that nextpnr will make of an iCE40 netlist, without running it.

A logic cell holds a LUT, a flip-flop behind it and a carry that shares two of its inputs.  The
rules below are those of nextpnr's packer, except for cells that it adds as tie-offs and where a
carry chain meets registers of other clock enables: within 1 % for a whole core.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

CONSTANTS = ("0", "1", "x", "z")


class _User(NamedTuple):
    cell: str
    """Empty for a port of the module."""
    kind: str
    port: str


def logic_cells(module: dict[str, Any]) -> int:
    """module: one flat module of Yosys's JSON netlist after synth_ice40."""
    cells: dict[str, Any] = module["cells"]
    users: dict[Any, list[_User]] = defaultdict(list)
    carry_of: dict[Any, str] = {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            for bit in bits:
                if cell["port_directions"][port] == "input":
                    users[bit].append(_User(name, cell["type"], port))
                elif cell["type"] == "SB_CARRY":
                    carry_of[bit] = name
    for port in module["ports"].values():
        for bit in port["bits"]:
            if port["direction"] != "input":
                users[bit].append(_User("", "", ""))

    # Flip-flops: with the LUT that feeds nothing else, else in a separate cell.
    count = 0
    with_flip_flop = set()
    for name, cell in cells.items():
        if cell["type"] == "SB_LUT4":
            fed = users[cell["connections"]["O"][0]]
            if len(fed) == 1 and fed[0].kind.startswith("SB_DFF") and fed[0].port == "D":
                with_flip_flop.add(name)
            else:
                count += 1
        elif cell["type"].startswith("SB_DFF"):
            count += 1

    # Carries: with the LUT that has the same inputs, else in a separate cell.
    home: dict[str, str] = {}
    for name, cell in cells.items():
        if cell["type"] != "SB_CARRY":
            continue
        i0, i1, carry_in = (cell["connections"][port][0] for port in ("I0", "I1", "CI"))
        shared = {
            user.cell
            for user in ([] if carry_in in CONSTANTS else users[carry_in])
            if user.kind == "SB_LUT4" and user.port == "I3"
        }
        for bit, port in ((i0, "I1"), (i1, "I2")):
            shared &= {user.cell for user in users[bit] if user.port == port}
        shared -= set(home.values())
        home[name] = min(shared, default=name)
        count += home[name] == name

    # A carry in a separate cell absorbs a LUT of two inputs that feeds it.
    small = {
        cell["connections"]["O"][0]: name
        for name, cell in cells.items()
        if cell["type"] == "SB_LUT4"
        and all(cell["connections"][port][0] in ("0", "x") for port in ("I0", "I1"))
        and name not in with_flip_flop
    }
    used = set(home.values())
    for name, cell in cells.items():
        if home.get(name) == name:
            for port in ("I0", "I1"):
                lut = small.get(cell["connections"][port][0])
                if lut is not None and lut not in used:
                    used.add(lut)
                    count -= 1
                    break

    # Ends of a chain: a carry enters from a LUT or a register, or leaves to more than its sum.
    for cell in cells.values():
        if cell["type"] != "SB_CARRY":
            continue
        carry_in, carry_out = cell["connections"]["CI"][0], cell["connections"]["CO"][0]
        if carry_in not in CONSTANTS and carry_in not in carry_of:
            count += 1
        sums = [u.cell for u in users[carry_out] if u.kind == "SB_LUT4" and u.port == "I3"]
        following = [home[u.cell] for u in users[carry_out] if u.kind == "SB_CARRY"]
        known = len(sums) + len(following)
        inside = following[:1] == sums[:1] if following and sums else bool(following or sums)
        if users[carry_out] and not (known == len(users[carry_out]) <= 2 and inside):
            count += 1
    return count
