"""A sum too wide for one carry chain at the core's clock."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib.wiring import In, Out

from mgd.rtl.lib.unit import Unit

PART = 24
"""Bits of a carry chain."""


class Total(Unit):
    """The `total` of all `term`s since `clear`, one a clock; it is right `latency` clocks behind
    the last one that is not 0, a clock for each part of PART bits.  All numbers are unsigned."""

    model = staticmethod(sum)

    def __init__(self, term_bits: int, bits: int) -> None:
        self.bits = bits
        self.latency = self.latency_of(bits)
        super().__init__({"term": In(term_bits), "clear": In(1), "total": Out(bits)})

    @classmethod
    def latency_of(cls, bits: int) -> int:
        return -(-bits // PART)

    def elaborate(self, platform):
        m = Module()
        carry = 0
        # A carry is added a clock late, which is right because a sum has no order.
        for k in range(self.latency):
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
