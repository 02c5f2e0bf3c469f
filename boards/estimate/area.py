"""Area of one component on an FPGA: synthesised alone, its cells counted.

Nothing is placed or routed.  The number of an iCE40's logic cells follows from the netlist and
nextpnr's rules of packing: a flip-flop shares the cell of the LUT that feeds it alone, a carry
that of its sum's LUT.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from amaranth import Value
from amaranth.back import rtlil
from amaranth.lib import wiring

from mgd.boards.cache import cached, digest
from mgd.boards.families.registry import FAMILIES, netlist_cells
from mgd.boards.families.usage import Area
from mgd.boards.flow import yosys
from mgd.boards.tools import fpga_program, fpga_program_version

FORMAT = 2
"""Of the files in the cache; a new number where the counting changes."""


def measure(text: str, family: str) -> Area:
    """Cells of a design as RTLIL text; from the cache where the same text was synthesised before.

    family: one of boards.families.registry.COUNTED.  May be called by several threads.
    Raises UserError for another family, or where Yosys is missing, fails, or logs a line that
    boards.flow.yosys_checks refuses.
    """
    cells = netlist_cells(family)
    parts = [text, FAMILIES[family].synthesis, fpga_program("yosys"), fpga_program_version("yosys")]

    def make(folder: Path, _final: Path) -> Path:
        area = cells.area(synthesise(text, family, folder))
        (folder / "area.json").write_text(json.dumps(asdict(area)))
        return folder / "area.json"

    found = cached("area", digest([*parts, str(FORMAT)]), "counted cells", make)
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

    Raises UserError where Yosys is missing, fails, or logs a line that boards.flow.yosys_checks
    refuses.
    """
    (folder / "top.il").write_text(text)
    script = f"read_rtlil top.il\n{FAMILIES[family].synthesis}\nwrite_json top.json\n"
    (folder / yosys.SCRIPT).write_text(script)
    yosys.run_yosys(folder, ["top.json"])
    return json.loads((folder / "top.json").read_text())["modules"]["top"]
