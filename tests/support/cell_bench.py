"""Many FPGA cells in one compiled module, each driven with random vectors of its own."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mgd.boards.netlist.cell_models import cell_models
from mgd.boards.simulated.verilator import compiled

Values = Mapping[str, int]
"""Port or bus: its value."""


@dataclass
class Cell:
    """An instance under test.

    inputs, outputs: port: width.  A port of `bits` is a bus of ports with numbers behind.
    expected: called with the inputs of every clock, in order; gives the outputs behind the
    rising edge, without those that are not defined.  draw: gives the inputs of a clock.
    """

    kind: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    draw: Callable[[random.Random], dict[str, int]]
    expected: Callable[[Values], dict[str, int]]
    parameters: dict[str, str] = field(default_factory=dict)
    clocks: tuple[str, ...] = ()
    bits: bool = False
    seen: list[tuple[Values, Values]] = field(default_factory=list)
    """Inputs and outputs of every clock, after run()."""


def run(cells: list[Cell], families: Mapping[str, list[str]], clocks: int, seed: int) -> None:
    """Simulate all cells side by side; fills `seen`."""
    lines, places = [], []
    at_in = at_out = 0
    for number, cell in enumerate(cells):
        pins, here = [f".{port}(clk)" for port in cell.clocks], []
        for bus, at, widths in (("i", at_in, cell.inputs), ("o", at_out, cell.outputs)):
            for port, width in widths.items():
                here.append((bus, port, at, width))
                if cell.bits:
                    pins += [
                        f".{port}{k if width > 1 else ''}({bus}[{at + k}])" for k in range(width)
                    ]
                else:
                    pins.append(f".{port}({bus}[{at + width - 1}:{at}])")
                at += width
            if bus == "i":
                at_in = at
            else:
                at_out = at
        parameters = ", ".join(f".{name}({value})" for name, value in cell.parameters.items())
        lines.append(f"  {cell.kind} #({parameters}) c{number}({', '.join(pins)});")
        places.append(here)
    models = "".join(cell_models(family, kinds) for family, kinds in families.items())
    ports = f"input clk, input [{at_in - 1}:0] i, output [{at_out - 1}:0] o"
    design = f"{models}module top({ports});\n" + "\n".join(lines) + "\nendmodule\n"
    bytes_in, bytes_out = -(-at_in // 8), -(-at_out // 8)
    header = f"constexpr int BYTES_IN = {bytes_in}, BYTES_OUT = {bytes_out};\n"
    source = Path(__file__).with_name("cell_vectors.cpp")
    program = compiled(design, header, source, optimise="-O0")

    noise = random.Random(seed)
    drawn = [[cell.draw(noise) for cell in cells] for _ in range(clocks)]
    text = []
    for vectors in drawn:
        packed = 0
        for values, here in zip(vectors, places, strict=True):
            for bus, port, at, width in here:
                if bus == "i":
                    packed |= (values[port] & ((1 << width) - 1)) << at
        text.append(f"{packed:0{2 * bytes_in}x}\n")
    done = subprocess.run(
        [program], input="".join(text), capture_output=True, text=True, check=True, timeout=60
    )
    for vectors, line in zip(drawn, done.stdout.split(), strict=True):
        packed = int(line, 16)
        for cell, values, here in zip(cells, vectors, places, strict=True):
            got = {
                port: packed >> at & ((1 << width) - 1)
                for bus, port, at, width in here
                if bus == "o"
            }
            cell.seen.append((values, got))


def check(cell: Cell) -> int:
    """Compare all that was seen; gives how many outputs were not defined."""
    undefined = 0
    for clock, (values, got) in enumerate(cell.seen):
        wanted = cell.expected(values)
        undefined += len(got) - len(wanted)
        for port, value in wanted.items():
            where = f"{cell.kind} {cell.parameters}, clock {clock}, {values}: {port}"
            assert got[port] == value, f"{where} is {got[port]:#x}, expected {value:#x}"
    return undefined
