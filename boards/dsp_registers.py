"""Registers around an ECP5's multipliers, moved into them.

Yosys leaves a product's registers in the fabric: the way there and back is then in one clock with
the multiplication.  Each MULT18X18D has registers for its operands and for its product.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

MULTIPLIER, REGISTER = "MULT18X18D", "TRELLIS_FF"
OPERANDS = {name: [f"{name}{k}" for k in range(18)] for name in "AB"}
PRODUCT = [f"P{k}" for k in range(36)]
NEVER = "0"


@dataclass
class Packed:
    """How many multipliers took registers, and how many registers are no cells any more."""

    operands: int = 0
    products: int = 0
    registers: int = 0


def pack(module: dict[str, Any]) -> Packed:
    """Move what can be moved, in a module of a JSON netlist of Yosys.

    Taken are registers without enable and reset that start at 0, as those in a multiplier do: a
    product's if nothing else reads the product, and operands' if both have some, since nextpnr
    knows no times for one of them alone.  An operand's register that others read too stays as
    well.  What the module computes in any clock is the same as before.
    """
    return _Packing(module).run()


class _Packing:
    def __init__(self, module: dict[str, Any]) -> None:
        self.cells: dict[str, Any] = module["cells"]
        self.users: Counter[int] = Counter()
        self.register_of: dict[int, str] = {}
        """By the bit that it shows."""
        self.register_at: dict[int, str] = {}
        """By the bit that it takes, where only one does."""
        for part in module.get("ports", {}).values():
            self.users.update(_nets(part["bits"]))
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] != "output":
                    self.users.update(_nets(bits))
            if cell["type"] == REGISTER and _plain(cell):
                (taken,), (shown,) = cell["connections"]["DI"], cell["connections"]["Q"]
                self.register_of[shown] = name
                # It may take a constant: that shows a clock after the start.
                if isinstance(taken, int):
                    self.register_at[taken] = name

    def run(self) -> Packed:
        packed, before = Packed(), len(self.cells)
        multipliers = [cell for cell in self.cells.values() if cell["type"] == MULTIPLIER]
        # Products first: what one multiplier gives another has its register behind the first.
        for cell in multipliers:
            registers = self._product(cell)
            if self._same_clock(cell, registers):
                packed.products += 1
                self._take_product(cell)
        for cell in multipliers:
            registers = self._operands(cell)
            if self._same_clock(cell, registers):
                packed.operands += 1
                self._take_operands(cell)
        packed.registers = before - len(self.cells)
        return packed

    def _same_clock(self, cell: dict[str, Any], registers: list[str]) -> bool:
        """Whether there are registers, with one clock, which becomes the multiplier's."""
        clocks = {self.cells[name]["connections"]["CLK"][0] for name in registers}
        clocks |= set(cell["connections"].get("CLK0", ()))
        if not registers or len(clocks) != 1:
            return False
        cell["connections"] |= {"CLK0": [*clocks], "CE0": ["1"], "RST0": ["0"]}
        cell["port_directions"] |= dict.fromkeys(("CLK0", "CE0", "RST0"), "input")
        cell["parameters"] |= {"CLK0_DIV": "ENABLED", "RESETMODE": "SYNC", "GSR": "DISABLED"}
        return True

    def _operands(self, cell: dict[str, Any]) -> list[str]:
        """The registers of both operands; none where one of them has not all it takes."""
        found: list[str] = []
        for ports in OPERANDS.values():
            bits = [cell["connections"][port][0] for port in ports]
            if any(bit != NEVER and bit not in self.register_of for bit in bits):
                return []
            mine = [self.register_of[bit] for bit in bits if bit != NEVER]
            if not mine:
                return []
            found += mine
        return found

    def _product(self, cell: dict[str, Any]) -> list[str]:
        used = [
            bit for port in PRODUCT for bit in cell["connections"].get(port, ()) if self.users[bit]
        ]
        if any(self.users[bit] != 1 or bit not in self.register_at for bit in used):
            return []
        return [self.register_at[bit] for bit in used]

    def _take_operands(self, cell: dict[str, Any]) -> None:
        for operand, ports in OPERANDS.items():
            cell["parameters"] |= _stage(f"INPUT{operand}")
            for port in ports:
                (bit,) = cell["connections"][port]
                if bit == NEVER:
                    continue
                register = self.register_of[bit]
                (before,) = self.cells[register]["connections"]["DI"]
                cell["connections"][port] = [before]
                self.users[bit] -= 1
                self.users[before] += isinstance(before, int)
                if not self.users[bit]:
                    self._remove(register)

    def _take_product(self, cell: dict[str, Any]) -> None:
        cell["parameters"] |= _stage("OUTPUT")
        for port in PRODUCT:
            for bit in cell["connections"].get(port, ()):
                if self.users[bit]:
                    register = self.register_at[bit]
                    cell["connections"][port] = self.cells[register]["connections"]["Q"]
                    self._remove(register)

    def _remove(self, register: str) -> None:
        connections = self.cells.pop(register)["connections"]
        (taken,), (shown,) = connections["DI"], connections["Q"]
        self.users[taken] -= isinstance(taken, int)
        self.register_of.pop(shown)
        if self.register_at.get(taken) == register:
            del self.register_at[taken]


def _nets(bits: list) -> list[int]:
    return [bit for bit in bits if isinstance(bit, int)]


def _plain(cell: dict[str, Any]) -> bool:
    """Whether a register takes its input in every clock, starts at 0 and is never reset."""
    of, at = cell["parameters"], cell["connections"]
    enabled = of.get("CEMUX", "CE").strip() == "1" or at.get("CE", ["1"]) == ["1"]
    straight = of.get("CLKMUX", "CLK").strip() == "CLK"
    starts_low = of.get("REGSET", "RESET").strip() == "RESET"
    free = at.get("LSR", ["0"]) == ["0"] and of.get("LSRMUX", "LSR").strip() in ("LSR", "0")
    return enabled and straight and starts_low and free


def _stage(name: str) -> dict[str, str]:
    return {f"REG_{name}_CLK": "CLK0", f"REG_{name}_CE": "CE0", f"REG_{name}_RST": "RST0"}
