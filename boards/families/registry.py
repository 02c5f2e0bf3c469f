"""The FPGA families by name."""

from __future__ import annotations

from mgd.boards.families.ecp5 import ECP5
from mgd.boards.families.family import FpgaFamily, NetlistCells
from mgd.boards.families.gowin import GOWIN
from mgd.boards.families.ice40 import ICE40
from mgd.golden_model.errors import UserError

FAMILIES: dict[str, FpgaFamily] = {family.name: family for family in (ICE40, ECP5, GOWIN)}

COUNTED = tuple(name for name, family in FAMILIES.items() if family.netlist_cells is not None)
"""Names of the families whose netlists are counted, checked and simulated."""


def netlist_cells(name: str, noun: str = "family") -> NetlistCells:
    """The cells of a family's netlists.

    noun: of the error.  Raises UserError where the family is not one of COUNTED.
    """
    cells = FAMILIES[name].netlist_cells if name in FAMILIES else None
    if cells is None:
        raise UserError(f"{noun} {name!r} is unknown: there are {', '.join(COUNTED)}")
    return cells
