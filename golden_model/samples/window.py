"""A resident window that slides through a training set larger than the sample memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.golden_model.errors import UserError

RESIDENT_MAX = (1 << 24) - 1


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
        if self.resident > samples:
            raise UserError(
                f"resident = {self.resident}, but the training set has only {samples} samples; "
                f"set resident to {samples} or less, or leave it out to keep all of them resident"
            )


def check_window(resident: int, passes: int, sample_order: str) -> None:
    """Raise UserError for settings of the same names that make no window."""
    for name, value, low in (("resident", resident, 0), ("passes", passes, 1)):
        if not low <= value <= RESIDENT_MAX:
            raise UserError(f"{name} = {value}: must be between {low} and {RESIDENT_MAX}")
    if not resident:
        if passes > 1:
            raise UserError(
                f"passes = {passes} without resident: a set that is resident as a whole has no "
                "window; give resident, or use tau_x to keep a sample for several steps"
            )
        return
    if resident % passes:
        raise UserError(
            f"resident = {resident} with passes = {passes}: a pass replaces resident/passes "
            f"samples, which must be whole; use resident = {max(1, resident // passes) * passes}"
        )
    if sample_order != "cycle":
        raise UserError(
            f"resident = {resident} with sample_order = {sample_order!r}: the window goes through "
            "the set in turn; use sample_order = 'cycle', or leave resident out"
        )
