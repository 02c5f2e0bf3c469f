"""Sums that take one carry chain where the obvious expression takes two or three."""

from __future__ import annotations

from amaranth import Cat, Mux


def as_signed(value):
    """`value` as a signed number, one bit wider where it was unsigned."""
    return value if value.shape().signed else Cat(value, 0).as_signed()


def add_or_subtract(a, b, subtract):
    """a − b where `subtract` is 1, else a + b; signed, one bit wider than the wider operand.

    a + (b ^ −subtract) + subtract: the last term is the carry of a bit below the lowest, for
    which synthesis would otherwise build a second adder.
    """
    a, b = as_signed(a), as_signed(b)
    width = max(len(a), len(b)) + 1
    flipped = Mux(subtract, ~b, b)
    total = Cat(1, a).as_signed() + Cat(subtract, flipped).as_signed()
    return total[1 : width + 1].as_signed()


def saturated(value, bits: int):
    """A signed `value` limited to what `bits` bits hold, and whether that changed it.

    Both limits are powers of two, so the bits above tell it without a comparison.
    """
    if len(value) <= bits:
        return value, 0
    above = value[bits - 1 :]
    overflow = above.any() & ~above.all()
    low = Cat((~value[-1]).replicate(bits - 1), value[-1])
    return Mux(overflow, low, value[:bits]).as_signed(), overflow
