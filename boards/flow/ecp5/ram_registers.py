"""Registers behind an ECP5's block RAMs, moved into them.

Yosys leaves them in the fabric: most of a clock goes by until a block's output shows a word, and
the way to the register is in the same clock.  Each port of a DP16KD has a register of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mgd.boards.flow.ecp5.plain_registers import PlainRegisters

MEMORY = "DP16KD"
OUTPUTS = {side: [f"DO{side}{k}" for k in range(18)] for side in "AB"}
WIDE = 36
"""Bits of a word that both ports' outputs show: no port has a register alone then."""


@dataclass
class Packed:
    """How many ports took registers, and how many registers are no cells any more."""

    ports: int = 0
    registers: int = 0


def pack(module: dict[str, Any]) -> Packed:
    """Move what can be moved, in a module of a JSON netlist of Yosys.

    Taken are the registers of a port all of whose outputs, where they are read at all, go to one
    register each and nowhere else, without enable and reset, with the port's clock.  What the
    module computes in any clock is the same as before.
    """
    registers = PlainRegisters(module)
    packed, before = Packed(), len(registers.cells)
    for cell in [cell for cell in registers.cells.values() if cell["type"] == MEMORY]:
        for side, ports in OUTPUTS.items():
            if not _takes(cell, side):
                continue
            bits = [bit for port in ports for bit in cell["connections"].get(port, ())]
            names = registers.behind(bits)
            clock = cell["connections"].get(f"CLK{side}", ())
            if names and registers.clocks(names) == set(clock):
                registers.take_behind(cell, ports)
                cell["parameters"][f"REGMODE_{side}"] = "OUTREG"
                cell["connections"][f"OCE{side}"] = ["1"]
                cell["port_directions"][f"OCE{side}"] = "input"
                packed.ports += 1
    packed.registers = before - len(registers.cells)
    return packed


def _takes(cell: dict[str, Any], side: str) -> bool:
    """Whether a port has a register left that would do what one in the fabric does."""
    of = cell["parameters"]
    return (
        of.get(f"REGMODE_{side}", "NOREG") == "NOREG"
        and of.get(f"CLK{side}MUX", f"CLK{side}").strip() == f"CLK{side}"
        and all(int(of.get(f"DATA_WIDTH_{port}", "0"), 2) != WIDE for port in OUTPUTS)
        # A reset is that of both the word and its register.
        and cell["connections"].get(f"RST{side}", ["0"]) == ["0"]
    )
