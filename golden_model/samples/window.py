"""A resident window that slides through a training set larger than the sample memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.golden_model import rules


@dataclass(frozen=True)
class SampleWindow:
    """`resident` samples at a time, each for `passes` passes; then a later sample has its slot.

    Take number n = 0, 1, … of a run is in slot j = n mod resident, in pass q = ⌊n / resident⌋ over
    the slots.  Between two passes the slots j with j mod passes = q mod passes get new samples,
    a resident/passes part of them.  passes = 1 is the order of a set that is there as a whole.
    """

    resident: int
    passes: int = 1

    def places(self, takes: np.ndarray, samples: int) -> np.ndarray:
        """Numbers of the samples, of `samples` in all, that these takes use: int64, any shape."""
        takes = np.asarray(takes, dtype=np.int64)
        whole, slot = np.divmod(takes, self.resident)
        group, turn = np.divmod(slot, self.passes)
        changes = (whole + self.passes - 1 - turn) // self.passes
        new = self.resident // self.passes
        return (changes * self.resident + turn * new + group) % samples

    def check(self, samples: int) -> None:
        """Raise UserError where a training set of `samples` is smaller than the window."""
        rules.check(rules.WINDOW, w=self, samples=samples)
