"""Registers behind an ECP5's block RAMs, moved into them.

Yosys leaves them in the fabric, so that one clock contains the block's slow access and the route to
the register.  Each port of a DP16KD has a register of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mgd.boards.families.ecp5_netlist.plain_registers import PlainRegisters

MEMORY = "DP16KD"
OUTPUTS = {side: [f"DO{side}{k}" for k in range(18)] for side in "AB"}
WIDE = 36
"""Width, in bits, of a word that uses both ports' outputs: neither port has its own register."""


@dataclass
class Packed:
    """Ports that absorbed registers, and cells that this saved."""

    ports: int = 0
    registers: int = 0


def pack(module: dict[str, Any]) -> Packed:
    """Move registers into block RAMs, in a module of a JSON netlist of Yosys.

    A port's registers are moved if each of its outputs that is read at all has one register as its
    only reader, without enable and reset and with the port's clock.  The module's values in every
    clock do not change.
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
                registers.absorb_behind(cell, ports)
                cell["parameters"][f"REGMODE_{side}"] = "OUTREG"
                cell["connections"][f"OCE{side}"] = ["1"]
                cell["port_directions"][f"OCE{side}"] = "input"
                packed.ports += 1
    packed.registers = before - len(registers.cells)
    return packed


def _takes(cell: dict[str, Any], side: str) -> bool:
    """Whether a port has an unused register that behaves like one in the fabric."""
    of = cell["parameters"]
    return (
        of.get(f"REGMODE_{side}", "NOREG") == "NOREG"
        and of.get(f"CLK{side}MUX", f"CLK{side}").strip() == f"CLK{side}"
        and all(int(of.get(f"DATA_WIDTH_{port}", "0"), 2) != WIDE for port in OUTPUTS)
        # The port has one reset for both its word and its register.
        and cell["connections"].get(f"RST{side}", ["0"]) == ["0"]
    )
