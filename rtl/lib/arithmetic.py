"""Sums that take one carry chain where the obvious expression takes two or three."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal


def as_signed(value):
    """`value` as a signed number, one bit wider where it was unsigned."""
    return value if value.shape().signed else Cat(value, 0).as_signed()


def add_or_subtract(a, b, subtract):
    """a − b where `subtract` is 1, else a + b; signed, one bit wider than the wider operand."""
    # a − b is a + ~b + 1.
    b = as_signed(b)
    return add_with_carry(a, Mux(subtract, ~b, b).as_signed(), subtract)


def add_with_carry(a, b, carry):
    """a + b + carry, signed, one bit wider than the wider operand.

    The carry is that of a bit below the lowest; synthesis would otherwise build a second adder.
    """
    a, b = as_signed(a), as_signed(b)
    width = max(len(a), len(b)) + 1
    total = Cat(1, a).as_signed() + Cat(carry, b).as_signed()
    return total[1 : width + 1].as_signed()


def saturated(value, bits: int):
    """A signed `value` limited to the range of `bits` bits, and whether that changed it.

    Both limits are powers of two, so the bits above tell it without a comparison.
    """
    if len(value) <= bits:
        return value, 0
    # The sign of the result and all bits above it are equal where the value fits.
    above = value[bits - 1 :]
    overflow = above.any() & ~above.all()
    low = Cat((~value[-1]).replicate(bits - 1), value[-1])
    return Mux(overflow, low, value[:bits]).as_signed(), overflow


def beyond(value, bits: int):
    """Whether a signed `value` is above the range of `bits` bits, and whether it is below."""
    above = value[bits - 1 :]
    return ~above[-1] & above.any(), above[-1] & ~above.all()


def saturated_register(m: Module, value, bits: int):
    """A register that takes `saturated(value, bits)` in every clock, and, a clock before it shows
    there, whether `value` is beyond the limits.

    On an iCE40 a bit of `value`, its limit and its register take one cell if `value` comes out of
    an adder: the upper limit is one more input of the adder's LUT, the lower one the register's
    reset.  For that synthesis must see a single signal that says which limit it is: each comes from
    a module that boards.families.ice40 keeps apart, and is then a single LUT where `value` has
    three bits more.  Eight such cells, a whole tile, have one input too many with the reset, and
    nextpnr would cut the carry chain there: so in every second tile one bit has a cell more.  Once
    in a module.
    """
    above, high, low = Signal(len(value) - bits + 1), Signal(), Signal()
    is_high, is_low = beyond(above, 1)
    m.submodules.apart = apart = Module()
    m.submodules.apart_high = apart_high = Module()
    m.submodules.apart_low = apart_low = Module()
    m.d.comb += above.eq(value[bits - 1 :])
    apart_high.d.comb += high.eq(is_high)
    apart_low.d.comb += low.eq(is_low)
    rest, sign = Signal(bits - 1, reset_less=True), Signal(reset_less=True)
    limited = []
    for k in range(bits - 1):
        bit, raised = Signal(), Signal()
        place = apart if k > 8 and k % 8 == 6 else m
        m.d.comb += bit.eq(value[k])
        place.d.comb += raised.eq(bit | high)
        limited.append(raised)
    m.d.sync += sign.eq(above[-1])
    with m.If(low):
        m.d.sync += rest.eq(0)
    with m.Else():
        m.d.sync += rest.eq(Cat(*limited))
    return Cat(rest, sign).as_signed(), high | low
