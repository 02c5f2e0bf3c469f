"""The kinds of cores, by the class of their config."""

from __future__ import annotations

from typing import Any

from mgd.boards.board import Board
from mgd.boards.design import Design
from mgd.boards.estimate.folded import FoldedResources
from mgd.boards.estimate.resources import CoreResources
from mgd.boards.estimate.spatial import SpatialResources
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.system.top import AnyConfig

KINDS: dict[type, type[CoreResources[Any]]] = {
    CoreConfig: FoldedResources,
    SpatialConfig: SpatialResources,
}


def kind_of(config: AnyConfig) -> type[CoreResources[Any]]:
    """The resources of cores with such a config."""
    return KINDS[type(config)]


def fitted(board: Board, config: AnyConfig) -> CoreResources[Any]:
    """A core as it will be built on a board, see CoreResources.fitted."""
    return kind_of(config).fitted(board, config)


def make_design(
    board: Board, config: AnyConfig, sample_memory: int, baud: int | None = None
) -> Design:
    """The design of a core on a board.

    config: of any core of the kind; its cells and DSP blocks become those of the board.
    sample_memory: 16-bit words of the data; the design gets fewer where the board has no room for
    more.  baud: None for the board's.  Raises UserError where the core does not fit.
    """
    return fitted(board, config).design(sample_memory, baud)
