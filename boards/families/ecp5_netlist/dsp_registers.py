"""Registers around an ECP5's multipliers, moved into them.

Yosys leaves a product's registers in the fabric, so that one clock contains the routes to and from
the multiplier as well as the multiplication.  Each MULT18X18D has registers for its operands and
for its product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mgd.boards.families.ecp5_netlist.plain_registers import PlainRegisters

MULTIPLIER = "MULT18X18D"
OPERANDS = {name: [f"{name}{k}" for k in range(18)] for name in "AB"}
PRODUCT = [f"P{k}" for k in range(36)]
NEVER = "0"


@dataclass
class Packed:
    """Multipliers that absorbed registers of their operands and products; cells that this saved."""

    operands: int = 0
    products: int = 0
    registers: int = 0


def pack(module: dict[str, Any]) -> Packed:
    """Move registers into multipliers, in a module of a JSON netlist of Yosys.

    Only registers without enable and reset that start at 0, as the multiplier's own do, are moved:
    a product's if nothing else reads the product, and operands' if both have some, because nextpnr
    knows no delays for one of them alone.  An operand's register with other readers also stays in
    the fabric.  The module's values in every clock do not change.
    """
    return _Packing(module).run()


class _Packing:
    def __init__(self, module: dict[str, Any]) -> None:
        self.registers = PlainRegisters(module)
        self.cells = self.registers.cells

    def run(self) -> Packed:
        packed, before = Packed(), len(self.cells)
        multipliers = [cell for cell in self.cells.values() if cell["type"] == MULTIPLIER]
        # Products first: a register between two multipliers belongs to the first one's product.
        for cell in multipliers:
            registers = self._product(cell)
            if self._same_clock(cell, registers):
                packed.products += 1
                cell["parameters"] |= _stage("OUTPUT")
                self.registers.absorb_behind(cell, PRODUCT)
        for cell in multipliers:
            registers = self._operands(cell)
            if self._same_clock(cell, registers):
                packed.operands += 1
                self._take_operands(cell)
        packed.registers = before - len(self.cells)
        return packed

    def _same_clock(self, cell: dict[str, Any], registers: list[str]) -> bool:
        """Whether there are registers, with one clock, which becomes the multiplier's."""
        clocks = self.registers.clocks(registers) | set(cell["connections"].get("CLK0", ()))
        if not registers or len(clocks) != 1:
            return False
        cell["connections"] |= {"CLK0": [*clocks], "CE0": ["1"], "RST0": ["0"]}
        cell["port_directions"] |= dict.fromkeys(("CLK0", "CE0", "RST0"), "input")
        cell["parameters"] |= {"CLK0_DIV": "ENABLED", "RESETMODE": "SYNC", "GSR": "DISABLED"}
        return True

    def _operands(self, cell: dict[str, Any]) -> list[str]:
        """The registers of both operands; none where a bit of one of them has no register."""
        found: list[str] = []
        for ports in OPERANDS.values():
            bits = [cell["connections"][port][0] for port in ports]
            if any(bit != NEVER and bit not in self.registers.by_output for bit in bits):
                return []
            mine = [self.registers.by_output[bit] for bit in bits if bit != NEVER]
            if not mine:
                return []
            found += mine
        return found

    def _product(self, cell: dict[str, Any]) -> list[str]:
        return self.registers.behind(
            [bit for port in PRODUCT for bit in cell["connections"].get(port, ())]
        )

    def _take_operands(self, cell: dict[str, Any]) -> None:
        users = self.registers.users
        for operand, ports in OPERANDS.items():
            cell["parameters"] |= _stage(f"INPUT{operand}")
            for port in ports:
                (bit,) = cell["connections"][port]
                if bit == NEVER:
                    continue
                register = self.registers.by_output[bit]
                (before,) = self.cells[register]["connections"]["DI"]
                cell["connections"][port] = [before]
                users[bit] -= 1
                users[before] += isinstance(before, int)
                if not users[bit]:
                    self.registers.remove(register)


def _stage(name: str) -> dict[str, str]:
    return {f"REG_{name}_CLK": "CLK0", f"REG_{name}_CE": "CE0", f"REG_{name}_RST": "RST0"}
