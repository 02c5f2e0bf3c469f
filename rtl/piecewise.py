"""Interpolation in golden_model.tables.PiecewiseLinear, as a pipeline."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from amaranth import Array, Cat, Const, Module, Shape, Signal, signed

from golden_model.network import ACT_BITS
from golden_model.tables import PiecewiseLinear
from rtl.arithmetic import as_signed
from rtl.product import product

LATENCY = 2


def rounded(value, shift: int):
    """golden_model.formats.round_half_up."""
    if shift == 0:
        return value
    return (value + Const(1 << (shift - 1), shift)) >> shift


def rescaled(value, from_frac: int, to_frac: int):
    """golden_model.formats.rescale."""
    if to_frac >= from_frac:
        return value << (to_frac - from_frac)
    return rounded(value, from_frac - to_frac)


def interpolate(
    m: Module, tables: Sequence[PiecewiseLinear], position, *, which=None, enable=1, dsp: bool
):
    """tables[which](position) LATENCY clocks later (clocks with `enable` low do not count).

    The result comes out of an adder: put it into a register.  position: unsigned; its width is
    the golden function's `bits`.  All tables have the same number of segments; `which` may be
    left out where there is one.  Cost: one product of slope × offset bits, by rtl.product.
    """
    segment_bits = tables[0].segment_bits
    assert all(table.segment_bits == segment_bits for table in tables)
    offset_bits = len(position) - segment_bits
    values = [v for table in tables for v in table.values[:-1]]
    slopes = [b - a for table in tables for a, b in itertools.pairwise(table.values)]
    lowest, highest = min(slopes), max(slopes)
    slope_shape = Shape.cast(range(min(lowest, 0), max(highest, 0) + 1))

    index = Signal(range(len(values)))
    index1, slope1, base2 = Signal.like(index), Signal(slope_shape), Signal(signed(ACT_BITS))
    m.d.comb += index.eq(Cat(position[offset_bits:], 0 if which is None else which))
    with m.If(enable):
        m.d.sync += [
            index1.eq(index),
            slope1.eq(Array([Const(v, slope_shape) for v in slopes])[index]),
            base2.eq(Array([Const(v, signed(ACT_BITS)) for v in values])[index1]),
        ]
    rise2 = as_signed(product(m, slope1, position[:offset_bits], dsp=dsp, enable=enable))
    # Half up: the highest bit of what is cut off is the carry into what is kept.
    total = Cat(1, base2).as_signed() + rise2[offset_bits - 1 :].as_signed()
    result = Signal(signed(ACT_BITS))
    m.d.comb += result.eq(total[1:])
    return result
