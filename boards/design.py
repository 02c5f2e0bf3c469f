"""A design: everything that a build decides before the clock."""

from __future__ import annotations

from dataclasses import dataclass

from mgd.boards.board import Board
from mgd.rtl.core_kinds import AnyConfig


@dataclass(frozen=True)
class Design:
    """A core on a board.

    sample_memory: 16-bit words, even.  baud: bits per second.  top_options: (name, value) pairs,
    more arguments of rtl.system.top.Top.
    """

    board: Board
    config: AnyConfig
    sample_memory: int
    baud: int
    top_options: tuple[tuple[str, object], ...] = ()
