"""The registers of an ECP5 netlist that a neighbouring block can absorb."""

from __future__ import annotations

from collections import Counter
from typing import Any

REGISTER = "TRELLIS_FF"


class PlainRegisters:
    """In a module of a JSON netlist of Yosys: the registers without enable and reset that start at
    0, as the registers within a block do, and the number of readers of every bit."""

    def __init__(self, module: dict[str, Any]) -> None:
        self.cells: dict[str, Any] = module["cells"]
        self.users: Counter[int] = Counter()
        """Bit: number of pins and ports that read it."""
        self.by_output: dict[int, str] = {}
        """Output bit: its register."""
        self.by_input: dict[int, str] = {}
        """Input bit: its register; one of them where several have the same input."""
        for part in module.get("ports", {}).values():
            self.users.update(_nets(part["bits"]))
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] != "output":
                    self.users.update(_nets(bits))
            if cell["type"] == REGISTER and _plain(cell):
                (data,), (output,) = cell["connections"]["DI"], cell["connections"]["Q"]
                self.by_output[output] = name
                # A constant input appears at the output one clock after the start.
                if isinstance(data, int):
                    self.by_input[data] = name

    def behind(self, bits: list[int]) -> list[str]:
        """The registers that read these output bits; bits without a reader are skipped.  None where
        one of the bits has another reader."""
        used = [bit for bit in bits if self.users[bit]]
        if any(self.users[bit] != 1 or bit not in self.by_input for bit in used):
            return []
        return [self.by_input[bit] for bit in used]

    def clocks(self, names: list[str]) -> set[int]:
        """The clock bits of these registers."""
        return {self.cells[name]["connections"]["CLK"][0] for name in names}

    def absorb_behind(self, cell: dict[str, Any], ports: list[str]) -> None:
        """Give a cell's outputs the output bits of the registers behind them, which are removed."""
        for port in ports:
            for bit in cell["connections"].get(port, ()):
                if self.users[bit]:
                    register = self.by_input[bit]
                    cell["connections"][port] = self.cells[register]["connections"]["Q"]
                    self.remove(register)

    def remove(self, register: str) -> None:
        connections = self.cells.pop(register)["connections"]
        (data,), (output,) = connections["DI"], connections["Q"]
        self.users[data] -= isinstance(data, int)
        self.by_output.pop(output)
        if self.by_input.get(data) == register:
            del self.by_input[data]


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
