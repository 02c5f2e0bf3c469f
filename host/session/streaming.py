"""Training while samples still arrive: which slots may be written, and how far the core may go.

The core trains up to STEP_TARGET, the first step that needs a sample which is not there yet; it is
put off while the core trains.  Where the core gets there first it stops, and TRAIN sends it on when
the sample has arrived.  So the step number alone decides which sample a step uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from mgd.golden_model.errors import UserError
from mgd.host.session.sample_store import SampleStore

POLL_SECONDS = (0.001, 0.05)
"""Pause where nothing can be written: while the core needs more samples, and longest afterwards."""


class Board(Protocol):
    """The part of a session that this needs.  Steps are counted from the board's INIT."""

    def look(self) -> tuple[bool, int]:
        """Whether the core is busy, and the steps since INIT."""

    def set_target(self, step: int) -> None:
        """Let the core train up to this step."""

    def send_train(self) -> None:
        """Start it, unless it is running."""

    def clocks(self) -> tuple[int, int]:
        """CLOCKS and TRAIN_CLOCKS."""


class Streaming:
    """Trains on `board` with the samples of `store`.

    done: steps of the run before the board's INIT.  `wait_clocks` counts those in which the core
    stood still for lack of samples, to within a few words on the wire for each call of train().
    clock_limit: a step takes fewer clocks.
    """

    def __init__(
        self, board: Board, store: SampleStore, tau_x: int, done: int, clock_limit: int, name: str
    ) -> None:
        self.board, self.store = board, store
        self.tau_x, self.done = tau_x, done
        self.clock_limit, self.name = clock_limit, name
        self.wait_clocks = 0

    def train(self, until: int, on_progress: Callable[[int], None] | None) -> None:
        """Up to step `until` of the run, from which the board is not farther away than INIT."""
        board, ring = self.board, self.store.ring
        assert ring is not None
        begin = self._idle_clocks()
        waited = target = 0
        stuck = (-1, 0)
        pause = POLL_SECONDS[0]
        while True:
            busy, here = board.look()
            step = self.done + here
            if on_progress:
                on_progress(step)
            if step >= until and not busy:
                break
            ring.reach(step // self.tau_x)
            made = self.store.make(ring.due) if ring.due else 0
            for _ in range(made):
                ring.due.popleft()
            allowed = min(ring.limit(self.tau_x), until)
            if allowed > target:
                board.set_target(allowed - self.done)
                target = allowed
            if not busy and step < target:
                board.send_train()
                waited = self._idle_clocks() - begin
            elif not made:
                if busy:
                    stuck = self._check_stuck(step, stuck)
                time.sleep(pause)
                pause = min(2 * pause, POLL_SECONDS[1]) if target == until else POLL_SECONDS[0]
        self.wait_clocks += waited

    def _idle_clocks(self) -> int:
        """Clocks of which none was spent on a step."""
        clocks, training = self.board.clocks()
        return clocks - training

    def _check_stuck(self, step: int, before: tuple[int, int]) -> tuple[int, int]:
        """(step, clocks) when that step was seen first.  Raises UserError where it was long ago."""
        clocks, _ = self.board.clocks()
        if step != before[0]:
            return step, clocks
        if clocks - before[1] > self.clock_limit:
            raise UserError(
                f"{self.name}: TRAIN has taken {clocks - before[1]} clocks for step {step}, it "
                f"needs fewer than {self.clock_limit}: the core hangs; reset the board and start "
                "again"
            )
        return before
