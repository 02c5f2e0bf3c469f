"""A sum too wide for one carry chain at the core's clock."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

PART = 24
"""Bits of a carry chain."""


class Total(wiring.Component):
    """The sum of all `term`s since `clear`, one a clock; valid when the terms have been 0 for as
    many clocks as there are parts of PART bits.  All numbers are unsigned."""

    def __init__(self, term_bits: int, bits: int) -> None:
        self.bits = bits
        super().__init__({"term": In(term_bits), "clear": In(1), "total": Out(bits)})

    @property
    def parts(self) -> int:
        return -(-self.bits // PART)

    def elaborate(self, platform):
        m = Module()
        carry = 0
        # A carry is added a clock late, which is right because a sum has no order.
        for k in range(self.parts):
            part = self.total[k * PART : (k + 1) * PART]
            term = self.term[k * PART : (k + 1) * PART]
            out = Signal(name=f"carry_{k}")
            sums = Signal(len(part) + 1, name=f"sum_{k}")
            m.d.comb += sums.eq(part + term + carry)
            m.d.sync += [part.eq(sums), out.eq(sums[-1])]
            with m.If(self.clear):
                m.d.sync += [part.eq(0), out.eq(0)]
            carry = out
        return m
