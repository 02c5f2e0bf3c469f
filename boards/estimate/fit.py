"""Whether a core fits a board, before any synthesis, and remedies where it does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mgd.boards.board import Board
from mgd.boards.estimate.kinds import fitted
from mgd.boards.estimate.resources import CoreResources
from mgd.golden_model.settings import Settings
from mgd.protocol.layout.base import CoreLayout

ERROR = 0.15
"""Largest relative error of the estimated logic cells, which tests/boards/test_fit.py and
tests/boards/test_spatial_fit.py check."""
FITS, TIGHT, NO = "fits", "tight", "no"


@dataclass(frozen=True)
class Resource:
    """name: for messages, in the plural; used: estimated."""

    name: str
    used: int
    available: int

    @property
    def lacking(self) -> int:
        return max(self.used - self.available, 0)


@dataclass(frozen=True)
class Fit:
    """A core on a board, estimated.

    sample_memory: 16-bit words that the design gets; wanted: those of the task's data.
    """

    core: CoreResources[Any]
    cells: Resource
    dsps: Resource
    blocks: Resource
    sprams: Resource
    sample_memory: int
    wanted: int

    @property
    def board(self) -> Board:
        return self.core.board

    @property
    def config(self) -> Any:
        return self.core.config

    @property
    def calibrated(self) -> bool:
        return self.core.calibrated

    @property
    def short(self) -> list[Resource]:
        """The resources of which there are too few."""
        found = [part for part in (self.cells, self.dsps, self.blocks, self.sprams) if part.lacking]
        least = self.core.least_samples
        if not self.blocks.lacking and self.sample_memory < least:
            found.append(Resource("words of samples", least, self.sample_memory))
        return found

    @property
    def verdict(self) -> str:
        """'fits', 'tight' where the margin in logic cells is below the estimate's error, 'no'."""
        if self.short:
            return NO
        return TIGHT if self.cells.used * (1 + ERROR) > self.cells.available else FITS


def assess(board: Board, core: CoreLayout, wanted: int) -> Fit:
    """Resources of a core on a board, estimated.

    core: as for boards.estimate.kinds.make_design.  wanted: 16-bit words of the task's data.
    Raises UserError where the estimate's coefficients cannot be read.
    """
    device, on_board = board.device, fitted(board, core)
    words = on_board.sample_depth(wanted)
    return Fit(
        core=on_board,
        cells=Resource("logic cells", on_board.logic_cells(words), device.luts),
        dsps=Resource("DSP blocks", on_board.dsps(), device.dsps),
        blocks=Resource("block RAMs", on_board.blocks(words), device.blocks),
        sprams=Resource("SPRAMs", on_board.sprams(words), device.sprams),
        sample_memory=words,
        wanted=wanted,
    )


def remedies(fit: Fit, boards: Iterable[Board], settings: Settings | None = None) -> list[str]:
    """Changes by each of which the core would fit, the nearest first.

    boards: those to search for another; settings: the task's, some of which may be fixed.
    """

    def fits(board: Board, core: CoreLayout) -> bool:
        return assess(board, core, fit.wanted).verdict != NO

    found = []
    for changes in fit.core.smaller(settings):
        found.append(next((change for change, config in changes if fits(fit.board, config)), ""))
    # Boards without a calibrated estimate come last.
    order = sorted(boards, key=lambda b: (not fitted(b, fit.config).calibrated, b.device.luts))
    found.append(next((board.name for board in order if fits(board, fit.config)), ""))
    return [change for change in found if change]
