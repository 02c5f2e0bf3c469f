"""Interpolation in a golden_model.tables.PiecewiseLinear, as a three-clock pipeline."""

from __future__ import annotations

import itertools

from amaranth import Array, Const, Module, Mux, Signal, signed, unsigned

from golden_model.network import ACT_BITS
from golden_model.tables import PiecewiseLinear

LATENCY = 3


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


def interpolate(m: Module, table: PiecewiseLinear, position, enable, beyond=None):
    """table(position) LATENCY clocks later (clocks with `enable` low do not count).

    position: unsigned; its width is the golden function's `bits`.  Where `beyond` is high
    the last table value comes out instead.  Cost: one multiplier of slope × offset bits.
    """
    bits = len(position)
    offset_bits = bits - table.segment_bits
    values = table.values
    slopes = [b - a for a, b in itertools.pairwise(values)]
    index = position[offset_bits:]

    base1, slope1 = Signal(signed(ACT_BITS)), Signal(signed(ACT_BITS))
    offset1 = Signal(unsigned(offset_bits))
    base2, product2 = Signal(signed(ACT_BITS)), Signal(signed(ACT_BITS + offset_bits))
    result = Signal(signed(ACT_BITS))
    base, slope, offset = Signal.like(base1), Signal.like(slope1), Signal.like(offset1)
    m.d.comb += [
        base.eq(Array([Const(v, signed(ACT_BITS)) for v in values[:-1]])[index]),
        slope.eq(Array([Const(v, signed(ACT_BITS)) for v in slopes])[index]),
        offset.eq(position[:offset_bits]),
    ]
    if beyond is not None:
        end = Const(values[-1], signed(ACT_BITS))
        base, offset = Mux(beyond, end, base), Mux(beyond, 0, offset)
    with m.If(enable):
        m.d.sync += [
            base1.eq(base),
            slope1.eq(slope),
            offset1.eq(offset),
            base2.eq(base1),
            product2.eq(slope1 * offset1),
            result.eq(base2 + rounded(product2, offset_bits)),
        ]
    return result
