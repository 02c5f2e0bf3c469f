"""The resources of each kind of core (protocol.core_kinds)."""

from __future__ import annotations

from typing import Any

from mgd.boards.board import Board
from mgd.boards.design import Design
from mgd.boards.estimate.folded import FoldedResources
from mgd.boards.estimate.resources import CoreResources
from mgd.boards.estimate.spatial import SpatialResources
from mgd.protocol.layout.base import CoreLayout
from mgd.protocol.registers import FOLDED, SPATIAL
from mgd.rtl.core_kinds import config_for

KINDS: dict[str, type[CoreResources[Any]]] = {FOLDED: FoldedResources, SPATIAL: SpatialResources}


def kind_of(core: CoreLayout) -> type[CoreResources[Any]]:
    """The resources of cores of this one's kind."""
    return KINDS[core.kind]


def fitted(board: Board, core: CoreLayout) -> CoreResources[Any]:
    """A core as it will be built on a board, see CoreResources.fitted."""
    return kind_of(core).fitted(board, config_for(core))


def make_design(
    board: Board, core: CoreLayout, sample_memory: int, baud: int | None = None
) -> Design:
    """The design of a core on a board.

    core: a layout or a config; its cells and DSP blocks become those of the board.
    sample_memory: 16-bit words of the data; the design gets fewer where the board has no room for
    more.  baud: None for the board's.  Raises UserError where the core does not fit.
    """
    return fitted(board, core).design(sample_memory, baud)
