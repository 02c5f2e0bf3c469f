"""The samples in the slots of a sample memory, and the ones that come next.

A take is a use of a sample for tau_x steps; take n of a run is in the slot of take n + slots, too.
A slot changes only where these two are of different samples, so a set that is resident
as a whole is a ring in which nothing changes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from mgd.golden_model.samples.window import SampleWindow
from mgd.golden_model.settings import STEPS_MAX


@dataclass(frozen=True)
class Change:
    """Take `take` needs sample number `sample`, in training order, in slot `slot`."""

    take: int
    slot: int
    sample: int


class SampleRing:
    """The training samples' part of a sample memory; slot 0 is that of take `first`.

    samples: in the training set.  window: the resident part of them, None: all.  Raises UserError
    for a window larger than the set.
    """

    def __init__(self, samples: int, window: SampleWindow | None, first: int = 0) -> None:
        self.window = window or SampleWindow(samples)
        self.window.check(samples)
        self.samples = samples
        self.slots = self.window.resident
        self.first = first
        self.due: deque[Change] = deque()
        """Changes that can be made now, the first needed one first."""
        self._seen = first + self.slots
        """The first take whose samples were not yet asked for."""
        self._next: Change | None = None
        """The first change that cannot be made yet, where it is known."""

    @property
    def moves(self) -> bool:
        """Whether anything ever changes."""
        return self.slots < self.samples

    @property
    def untouched(self) -> bool:
        """Whether no slot can have another sample than at first."""
        return self._seen == self.first + self.slots

    def content(self) -> np.ndarray:
        """Sample numbers of slots 0, 1, … at first."""
        return self.window.places(np.arange(self.first, self.first + self.slots), self.samples)

    def reach(self, take: int) -> None:
        """All takes before `take` are over: the next samples of their slots are due."""
        end = take + self.slots
        if end > self._seen:
            self.due.extend(self._changes(self._seen, end))
            self._seen, self._next = end, None

    def limit(self, tau_x: int) -> int:
        """The step up to which the run may continue with the samples in the slots."""
        if self.due:
            return self.due[0].take * tau_x
        if not self.moves:
            return STEPS_MAX
        if self._next is None:
            found = self._changes(self._seen, self._seen + self.slots)
            self._next = found[0] if found else Change(self._seen + self.slots, 0, 0)
        return min(self._next.take * tau_x, STEPS_MAX)

    def _changes(self, begin: int, end: int) -> list[Change]:
        """Those for takes begin to end − 1."""
        if not self.moves:
            return []
        takes = np.arange(begin, end)
        after = self.window.places(takes, self.samples)
        before = self.window.places(takes - self.slots, self.samples)
        return [
            Change(begin + int(k), (begin + int(k) - self.first) % self.slots, int(after[k]))
            for k in np.flatnonzero(after != before)
        ]
