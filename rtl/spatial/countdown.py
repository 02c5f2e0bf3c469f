"""Counts down the steps or samples that are to come."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal

from mgd.rtl.interface import STEP_BITS

NIBBLE = 4
"""Low bits of the count that `last` compares in the clock in which they are valid."""


class Countdown:
    """The number of steps or samples that are left, in two halves: no carry chain is longer.

    none: `step` was `target` or more a clock ago; any_asked: `count` was not 0 then.  Both may be
    read in the clock before `begin`; from two clocks before that on `step`, `target` and `count` do
    not change.  last: one is left; valid from the clock behind `begin` on.
    Model: max(target − step, 0), or count, less one for each `follow`.
    """

    def __init__(self, m: Module, target: Signal, step: Signal, count: Signal) -> None:
        self._count = count
        any_of = Signal(3)
        middle = (NIBBLE + len(count)) // 2
        parts = count[:NIBBLE], count[NIBBLE:middle], count[middle:]
        m.d.sync += any_of.eq(Cat(part.any() for part in parts))
        self.any_asked, self._few_asked = any_of.any(), ~any_of[1:].any()
        half = STEP_BITS // 2
        self._low, self._high = Signal(half, reset_less=True), Signal(half, reset_less=True)
        self._borrow, self._few = Signal(), Signal()
        self._steps = Signal(STEP_BITS, reset_less=True)
        """`target` − `step`, of two clocks ago."""
        self.none, self.last = Signal(), Signal()
        below, low_none, high_none, equal = Signal(), Signal(), Signal(), Signal(2)
        high, high_step = target[half:], step[half:]
        quarter = half // 2
        m.d.sync += [
            low_none.eq(step[:half] >= target[:half]),
            high_none.eq(high_step > high),
            equal[0].eq(high_step[:quarter] == high[:quarter]),
            equal[1].eq(high_step[quarter:] == high[quarter:]),
            Cat(self._steps[:half], below).eq(target[:half] - step[:half]),
            self._steps[half:].eq(high - high_step - below),
        ]
        m.d.comb += [
            self.none.eq(high_none | (equal.all() & low_none)),
            self.last.eq(self._few & (self._low[:NIBBLE] == 1)),
        ]

    def begin(self, m: Module, training) -> None:
        """Take `target` − `step` or, where `training` is low, `count`."""
        few_steps = self._steps[NIBBLE:] == 0
        m.d.sync += [
            Cat(self._low, self._high).eq(Mux(training, self._steps, self._count)),
            self._few.eq((training & few_steps) | (~training & self._few_asked)),
            self._borrow.eq(0),
        ]

    def follow(self, m: Module, one) -> None:
        """One less where `one` is high."""
        m.d.sync += self._borrow.eq(one & (self._low == 0))
        with m.If(one):
            m.d.sync += self._low.eq(self._low - 1)
        with m.If(self._borrow):
            m.d.sync += self._high.eq(self._high - 1)
        # A clock late, borrows included: the upper bits have been 0 for many clocks when the lowest
        # NIBBLE reach 1.
        m.d.sync += self._few.eq(Cat(self._low, self._high)[NIBBLE:] == 0)
