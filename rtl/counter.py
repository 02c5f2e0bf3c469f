"""Counters too wide for one carry chain."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal

PART_BITS = 32
"""Bits that are added up in one clock."""


def accumulated(m: Module, bits: int, added, *, enable=1, clear=0):
    """A number of `bits` bits, to which `added` is added in every clock with `enable`; `clear`
    makes it 0.

    added: unsigned, PART_BITS wide at most.  What is beyond PART_BITS follows a clock later, so
    that no carry chain is longer.
    """
    low = Signal(min(bits, PART_BITS), reset_less=True)
    total = low + added
    with m.If(clear):
        m.d.sync += low.eq(0)
    with m.Elif(enable):
        m.d.sync += low.eq(total)
    if bits <= PART_BITS:
        return low
    high, carry = Signal(bits - PART_BITS, reset_less=True), Signal(reset_less=True)
    m.d.sync += carry.eq(Mux(clear, 0, enable & total[PART_BITS]))
    with m.If(clear):
        m.d.sync += high.eq(0)
    with m.Elif(carry):
        m.d.sync += high.eq(high + 1)
    return Cat(low, high)
