"""What one component costs on an FPGA: synthesised alone, its cells counted.

Nothing is placed or routed.  How many logic cells an iCE40 needs follows from the netlist and
nextpnr's rules of packing: a flip-flop shares the cell of the LUT that feeds it alone, a
carry that of its sum's LUT.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amaranth import Value
from amaranth.back import rtlil
from amaranth.lib import wiring

from mgd.boards.cache import digest, kept
from mgd.boards.devices import ECP5, ICE40
from mgd.boards.estimate.ice40_cells import logic_cells
from mgd.boards.flow import yosys
from mgd.boards.flow.commands import SYNTHESIS
from mgd.boards.tools import fpga_program, fpga_program_version
from mgd.golden_model.errors import UserError

FAMILIES = (ICE40, ECP5)

FORMAT = 2
"""Of the files in the cache; a new number where the counting changes."""


@dataclass(frozen=True)
class Area:
    """Cells of one design.  What a family has not is 0."""

    logic_cells: int
    """iCE40: what nextpnr will count, see boards.estimate.ice40_cells.  ECP5: nextpnr's "total
    LUT4s", with those that distributed memory takes; flip-flops lie beside LUTs and are not
    added."""
    luts: int
    """With four inputs.  ECP5: CCU2C (two bits of an adder) is two, PFUMX and L6MUX21 none."""
    carries: int
    """SB_CARRY."""
    ffs: int
    dsps: int
    """SB_MAC16 or MULT18X18D."""
    rams: int
    """Blocks of 4 kbit (SB_RAM40_4K) or 18 kbit (DP16KD)."""
    sprams: int
    """SB_SPRAM256KA, 256 kbit."""
    lutrams: int
    """TRELLIS_DPR16X4: 16 words of 4 bits, in the place of four LUTs and two for writing."""


def measure(text: str, family: str) -> Area:
    """Cells of a design as RTLIL text; from the cache where this very one was synthesised before.

    family: ice40 or ecp5.  May be called by several threads.  Raises UserError where Yosys is
    missing, fails, or says what boards.flow.yosys_checks does not let pass.
    """
    if family not in FAMILIES:
        raise UserError(f"family {family!r} is unknown; there are {', '.join(FAMILIES)}")
    parts = [text, SYNTHESIS[family], fpga_program("yosys"), fpga_program_version("yosys")]

    def make(folder: Path, _final: Path) -> Path:
        area = count(synthesise(text, family, folder), family)
        (folder / "area.json").write_text(json.dumps(asdict(area)))
        return folder / "area.json"

    found = kept("area", digest([*parts, str(FORMAT)]), "counted cells", make)
    return Area(**json.loads(found.read_text()))


def to_rtlil(component: wiring.Component, without: Collection[str] = ()) -> str:
    """RTLIL text of a component; the module is called top.

    without: names of outputs to leave unconnected; synthesis removes the logic that only they
    need.  The text holds no source file names, so equal designs give equal text on every
    machine.
    """
    ports = [
        Value.cast(value)
        for path, _member, value in component.signature.flatten(component)
        if path[0] not in without
    ]
    return rtlil.convert(component, name="top", ports=ports, emit_src=False)


def synthesise(text: str, family: str, folder: Path) -> dict[str, Any]:
    """The module `top` of Yosys's JSON netlist; its files and its log stay in `folder`.

    Raises UserError where Yosys is missing, fails, or says what boards.flow.yosys_checks does not
    let pass.
    """
    (folder / "top.il").write_text(text)
    script = f"read_rtlil top.il\n{SYNTHESIS[family]}\nwrite_json top.json\n"
    (folder / yosys.SCRIPT).write_text(script)
    yosys.run_yosys(folder, ["top.json"])
    return json.loads((folder / "top.json").read_text())["modules"]["top"]


def cell_types(module: dict[str, Any]) -> Counter[str]:
    """Number of cells by type of one module of a JSON netlist."""
    return Counter(cell["type"] for cell in module["cells"].values())


def count(module: dict[str, Any], family: str) -> Area:
    """Cells of a flat module of a JSON netlist."""
    cells = cell_types(module)
    if family == "ice40":
        return Area(
            logic_cells=logic_cells(module),
            luts=cells["SB_LUT4"],
            carries=cells["SB_CARRY"],
            ffs=sum(n for name, n in cells.items() if name.startswith("SB_DFF")),
            dsps=cells["SB_MAC16"],
            rams=sum(n for name, n in cells.items() if name.startswith("SB_RAM40_4K")),
            sprams=cells["SB_SPRAM256KA"],
            lutrams=0,
        )
    luts = cells["LUT4"] + 2 * cells["CCU2C"]
    return Area(
        logic_cells=luts + 6 * cells["TRELLIS_DPR16X4"],
        luts=luts,
        carries=0,
        ffs=cells["TRELLIS_FF"],
        dsps=cells["MULT18X18D"],
        rams=cells["DP16KD"] + cells["PDPW16KD"],
        sprams=0,
        lutrams=cells["TRELLIS_DPR16X4"],
    )
