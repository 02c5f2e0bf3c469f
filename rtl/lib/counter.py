"""Counters too wide for one carry chain."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal

PART_BITS = 32
"""Bits that are added up in one clock."""


def accumulated(m: Module, bits: int, added, *, enable=1, clear=0, reset_less: bool = False):
    """A number of `bits` bits, to which `added` is added in every clock with `enable`; `clear`
    makes it 0.

    added: unsigned, PART_BITS wide at most.  The bits above PART_BITS follow a clock later, so
    that no carry chain is longer.  reset_less: the clock domain's reset does not change it.
    """
    low = Signal(min(bits, PART_BITS), reset_less=reset_less)
    total = low + added
    with m.If(clear):
        m.d.sync += low.eq(0)
    with m.Elif(enable):
        m.d.sync += low.eq(total)
    if bits <= PART_BITS:
        return low
    # `high` is a clock behind `low`: in the clock between the number is 2^PART_BITS too low.
    high, carry = (Signal(n, reset_less=reset_less) for n in (bits - PART_BITS, 1))
    m.d.sync += carry.eq(Mux(clear, 0, enable & total[PART_BITS]))
    with m.If(clear):
        m.d.sync += high.eq(0)
    with m.Elif(carry):
        m.d.sync += high.eq(high + 1)
    return Cat(low, high)
