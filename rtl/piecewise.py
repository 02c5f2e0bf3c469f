"""Interpolation in golden_model.tables.PiecewiseLinear, as a pipeline."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from amaranth import Array, Cat, Const, Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.network import ACT_BITS
from golden_model.tables import EXP2, LOG2, PiecewiseLinear
from rtl.arithmetic import as_signed
from rtl.product import product

LATENCY = 2
TABLE = (11, 10)
"""Widths of a table's slope and offset, about: one DSP block."""


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
    index = Cat(position[offset_bits:], *([] if which is None else [which]))
    return _interpolate(m, tables, index, position[:offset_bits], enable=enable, dsp=dsp)


def _interpolate(
    m: Module,
    tables: Sequence[PiecewiseLinear],
    index,
    offset,
    *,
    enable,
    dsp: bool,
    memory: bool = False,
):
    """The same at `offset` in segment `index`, counted through all tables.  memory: the tables are
    in block RAM, else in logic."""
    values = [v for table in tables for v in table.values[:-1]]
    slopes = [b - a for table in tables for a, b in itertools.pairwise(table.values)]
    slope_shape = Shape.cast(range(min(*slopes, 0), max(*slopes, 0) + 1))
    index0 = Signal(range(len(values)))
    index1, base2 = Signal.like(index0), Signal(signed(ACT_BITS))
    slope1 = Signal(slope_shape, reset_less=True)
    m.d.comb += index0.eq(index)
    with m.If(enable):
        m.d.sync += index1.eq(index0)
    for name, shape, words, at, found in (
        ("slopes", slope_shape, slopes, index0, slope1),
        ("bases", signed(ACT_BITS), values, index1, base2),
    ):
        if memory:
            attrs = {"ram_style": "block"}
            m.submodules[name] = rom = Memory(
                shape=shape, depth=len(words), init=words, attrs=attrs
            )
            read = rom.read_port()
            m.d.comb += [read.addr.eq(at), read.en.eq(enable), found.eq(read.data)]
        else:
            with m.If(enable):
                m.d.sync += found.eq(Array([Const(v, shape) for v in words])[at])
    rise2 = as_signed(product(m, slope1, offset, dsp=dsp, enable=enable))
    # Half up: the highest bit of what is cut off is the carry into what is kept.
    total = Cat(1, base2).as_signed() + rise2[len(offset) - 1 :].as_signed()
    result = Signal(signed(ACT_BITS))
    m.d.comb += result.eq(total[1:])
    return result


class SharedTables(wiring.Component):
    """One interpolator for an activation's table, of 16 segments, and the cross-entropy's two.

    Where `activates` is high, `value` is table(position) LATENCY clocks later, else LOG2 or EXP2
    of cost_position, as `logarithm` says.  The positions' widths are those of the golden
    functions' `bits`.  Cost: as one `interpolate`; with `memory` its tables are in two block RAMs
    instead of about 90 LUTs.
    """

    def __init__(
        self, table: PiecewiseLinear, bits: int, cost_bits: int, *, dsp: bool, memory: bool = False
    ) -> None:
        self.table, self.dsp, self.memory = table, dsp, memory
        super().__init__(
            {
                "activates": In(1),
                "position": In(bits),
                "cost_position": In(cost_bits),
                "logarithm": In(1),
                "value": Out(signed(ACT_BITS)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # An offset with zeros behind it, in a segment that has as many more, is at the same place.
        cuts = [
            len(self.position) - self.table.segment_bits,
            len(self.cost_position) - EXP2.segment_bits,
        ]
        offset = Signal(max(cuts))
        own_offset, cost_offset = (
            position[:cut] << (len(offset) - cut)
            for position, cut in zip((self.position, self.cost_position), cuts, strict=True)
        )
        # Of 32 segments the upper 16 are the activation's.
        assert EXP2.segments + LOG2.segments == self.table.segments == 16
        cost_segment = Cat(self.cost_position[cuts[1] :], self.logarithm)
        m.d.comb += offset.eq(Mux(self.activates, own_offset, cost_offset))
        segment = Mux(self.activates, self.position[cuts[0] :], cost_segment)
        index = Cat(segment, self.activates)
        tables = [EXP2, LOG2, self.table]
        found = _interpolate(m, tables, index, offset, enable=1, dsp=self.dsp, memory=self.memory)
        m.d.comb += self.value.eq(found)
        return m
