"""A core on a board: the interface of every kind of core to estimates, builds and netlist checks.

A kind of core is a subclass of CoreResources, in a file of its own, and a line in
boards.estimate.kinds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, Self, TypeVar

import numpy as np

from mgd.boards.board import Board
from mgd.boards.design import Design
from mgd.golden_model.settings import Settings
from mgd.rtl.core_kinds import AnyConfig

FIT_HINT = "`mgd fit TASK` shows what fits where"
TRIMMED = "Yosys trimmed it away; look in its log for constants, undriven and unused signals"

Config = TypeVar("Config", bound=AnyConfig)


class CoreResources(ABC, Generic[Config]):
    """A core of one kind on a board, as it will be built there.

    sample words are 16 bits wide, as the host counts them.
    """

    def __init__(self, board: Board, config: Config) -> None:
        self.board = board
        self.config = config

    # -- on any board --------------------------------------------------------------------------

    @staticmethod
    @abstractmethod
    def simulable(config: Config) -> Config:
        """The same core without cells that only a netlist has."""

    @staticmethod
    @abstractmethod
    def clocks_per_step(
        config: Config, settings: Settings, codes: np.ndarray | None = None
    ) -> float:
        """Clocks per training step in a long run.

        codes: with skip_zeros, samples in the order of training, over which the mean is taken;
        None: as if no input were 0.
        """

    # -- on this board -------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def fitted(cls, board: Board, config: Config) -> Self:
        """The core with the cells of the board's FPGA family, and its DSP blocks shared out."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The name that distinguishes builds of one task for one board."""

    @property
    @abstractmethod
    def lanes(self) -> int | None:
        """Number of lanes, for people; None: the core has none."""

    @property
    @abstractmethod
    def pipelining(self) -> str:
        """'sequential' or 'pipelined', as golden_model.settings.Settings.schedule."""

    @property
    @abstractmethod
    def calibrated(self) -> bool:
        """Whether cores of the board's family were synthesised for the logic estimate."""

    @property
    @abstractmethod
    def least_samples(self) -> int:
        """Sample words of two records, the fewest with which anything is trained."""

    @abstractmethod
    def sample_depth(self, wanted: int) -> int:
        """Sample words that the core gets where the data takes `wanted`, even."""

    @abstractmethod
    def logic_cells(self, sample_memory: int) -> int:
        """Estimated logic cells (ECP5 and Gowin: LUTs) with so many sample words."""

    @abstractmethod
    def dsps(self) -> int:
        """DSP blocks."""

    @abstractmethod
    def blocks(self, sample_memory: int) -> int:
        """Block RAMs with so many sample words."""

    @abstractmethod
    def sprams(self, sample_memory: int) -> int:
        """SPRAMs with so many sample words."""

    @abstractmethod
    def design(self, sample_memory: int, baud: int | None) -> Design:
        """The design with `sample_memory` sample words, or fewer where the board has no room.

        baud: None for the board's.  Raises UserError where the core does not fit.
        """

    @abstractmethod
    def with_most_lanes(self, sample_memory: int) -> Self:
        """The core with as many lanes as fit and save a clock; itself where it has none.

        Raises UserError where not even one lane fits.
        """

    @abstractmethod
    def smaller(self, settings: Settings | None) -> Iterator[list[tuple[str, Config]]]:
        """Cores of the same network that take less, the nearest first: lists of (change, core), of
        which only the first that fits is of interest.

        settings: the task's, which a smaller core may have fixed.
        """

    @abstractmethod
    def check_netlist(self, cells: Mapping[str, int], sample_memory: int) -> None:
        """Compare cells by type with the least that the core can be made of.

        Raises UserError where some of the core was trimmed away.
        """

    # -- shared --------------------------------------------------------------------------------

    @property
    def netlist_cells(self) -> Any:
        """Of the board's FPGA family."""
        return self.board.fpga_family.netlist_cells

    def flip_flops(self, cells: Mapping[str, int]) -> int:
        """Number of flip-flops among cells by type."""
        matches = self.board.fpga_family.flip_flop.match
        return sum(n for name, n in cells.items() if matches(name))
