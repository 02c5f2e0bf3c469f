"""The registers of an ECP5's netlist that a block beside them may take in."""

from __future__ import annotations

from collections import Counter
from typing import Any

REGISTER = "TRELLIS_FF"


class PlainRegisters:
    """In a module of a JSON netlist of Yosys: the registers without enable and reset that start at
    0, as those in a block do, and who reads what."""

    def __init__(self, module: dict[str, Any]) -> None:
        self.cells: dict[str, Any] = module["cells"]
        self.users: Counter[int] = Counter()
        """How many pins and ports read a bit."""
        self.showing: dict[int, str] = {}
        """Registers by the bit that they show."""
        self.taking: dict[int, str] = {}
        """By the bit that they take, where only one does."""
        for part in module.get("ports", {}).values():
            self.users.update(_nets(part["bits"]))
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] != "output":
                    self.users.update(_nets(bits))
            if cell["type"] == REGISTER and _plain(cell):
                (taken,), (shown,) = cell["connections"]["DI"], cell["connections"]["Q"]
                self.showing[shown] = name
                # It may take a constant: that shows a clock after the start.
                if isinstance(taken, int):
                    self.taking[taken] = name

    def behind(self, bits: list[int]) -> list[str]:
        """The registers of an output's bits, without those that nothing reads; none where one of
        them has other readers."""
        used = [bit for bit in bits if self.users[bit]]
        if any(self.users[bit] != 1 or bit not in self.taking for bit in used):
            return []
        return [self.taking[bit] for bit in used]

    def clocks(self, names: list[str]) -> set[int]:
        """The clocks of these registers."""
        return {self.cells[name]["connections"]["CLK"][0] for name in names}

    def take_behind(self, cell: dict[str, Any], ports: list[str]) -> None:
        """Let a cell's outputs show what the registers behind() them do, which go."""
        for port in ports:
            for bit in cell["connections"].get(port, ()):
                if self.users[bit]:
                    register = self.taking[bit]
                    cell["connections"][port] = self.cells[register]["connections"]["Q"]
                    self.remove(register)

    def remove(self, register: str) -> None:
        connections = self.cells.pop(register)["connections"]
        (taken,), (shown,) = connections["DI"], connections["Q"]
        self.users[taken] -= isinstance(taken, int)
        self.showing.pop(shown)
        if self.taking.get(taken) == register:
            del self.taking[taken]


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
