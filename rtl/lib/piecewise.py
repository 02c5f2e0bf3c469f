"""Interpolation in golden_model.tables.PiecewiseLinear, as a pipeline of LATENCY clocks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from amaranth import Array, Cat, Const, Module, Mux, Shape, Signal, signed
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ACT_BITS
from mgd.golden_model.tables import EXP2, LOG2, PiecewiseLinear
from mgd.rtl.lib.arithmetic import as_signed
from mgd.rtl.lib.product import product, recoded
from mgd.rtl.lib.unit import Unit

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
    m: Module,
    tables: Sequence[PiecewiseLinear],
    position,
    *,
    which=None,
    enable=1,
    dsp: bool,
    memory: bool = False,
):
    """tables[which](position) LATENCY clocks later (clocks with `enable` low do not count).

    The result comes out of an adder: put it into a register.  position: unsigned; its width is
    the golden function's `bits`.  All tables have the same number of segments; `which` may be
    left out where there is one.  Cost: one product of slope × offset bits, by rtl.lib.product; with
    `memory` the tables are in two block RAMs, else in logic.
    """
    segment_bits = tables[0].segment_bits
    assert all(table.segment_bits == segment_bits for table in tables)
    offset_bits = len(position) - segment_bits
    index = Cat(position[offset_bits:], *([] if which is None else [which]))
    offset = position[:offset_bits]
    return _interpolate(m, tables, index, offset, enable=enable, dsp=dsp, memory=memory)


def _interpolate(
    m: Module,
    tables: Sequence[PiecewiseLinear],
    index,
    offset,
    *,
    enable,
    dsp: bool,
    memory: bool = False,
    offset_recoded=None,
):
    """The same at `offset` in segment `index`, counted through all tables.  memory: the tables are
    in block RAM, else in logic.  offset_recoded: rtl.lib.product.recoded of it, where it is
    there."""
    values = [v for table in tables for v in table.values[:-1]]
    slopes = [b - a for table in tables for a, b in itertools.pairwise(table.values)]
    slope_shape = Shape.cast(range(min(*slopes, 0), max(*slopes, 0) + 1))
    index0 = Signal(range(len(values)))
    index1, base = Signal.like(index0), Signal(signed(ACT_BITS))
    slope1 = Signal(slope_shape, reset_less=True)
    m.d.comb += index0.eq(index)
    with m.If(enable):
        m.d.sync += index1.eq(index0)
    for name, shape, words, at, found in (
        ("slopes", slope_shape, slopes, index0, slope1),
        # In logic the base is one more term of the product.
        ("bases", signed(ACT_BITS), values, index1 if dsp else index0, base),
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
    # Half up: the highest bit that is dropped is the carry into the remaining ones.
    half_and_base, cut = Cat(1, base).as_signed(), len(offset) - 1
    result = Signal(signed(ACT_BITS))
    if dsp:
        rise2 = as_signed(product(m, slope1, offset, dsp=True, enable=enable))
        total = half_and_base + rise2[cut:].as_signed()
        m.d.comb += result.eq(total[1:])
    else:
        total = product(
            *(m, slope1, offset),
            dsp=False,
            enable=enable,
            b_recoded=offset_recoded,
            added=(cut, half_and_base),
        )
        m.d.comb += result.eq(total[cut + 1 :])
    return result


class SharedTables(Unit):
    """One interpolator for an activation's table, of 16 segments, and the cross-entropy's two.

    Where `activates` is high, `value` is table(position) `latency` clocks later, else LOG2 or EXP2
    of cost_position, as `logarithm` says.  `beyond`: its highest bit is the sign of what `position`
    stands for; where others differ from it, the last position is meant instead, or the first one
    for a negative number.  The positions' widths are those of the golden functions' `bits`.
    Cost: as one `interpolate`; with `memory` its tables are in two block RAMs, not in 90 LUTs.
    """

    latency = LATENCY
    model = PiecewiseLinear

    def __init__(
        self,
        table: PiecewiseLinear,
        bits: int,
        cost_bits: int,
        beyond_bits: int = 1,
        *,
        dsp: bool,
        memory: bool = False,
    ) -> None:
        self.table, self.dsp, self.memory = table, dsp, memory
        super().__init__(
            {
                "activates": In(1),
                "position": In(bits),
                "beyond": In(beyond_bits),
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

        # Four cases, selected by two bits: then a bit of position or segment is one LUT.
        # boards.families.ice40 keeps this module apart, because synthesis does not know that only
        # `beyond` is valid late in its clock.
        m.submodules.apart = apart = Module()
        case, sign = Signal(2), self.beyond[-1]
        high, low = ~sign & self.beyond.any(), sign & ~self.beyond.all()
        apart.d.comb += case.eq(Cat(self.activates & ~low, self.activates & (high | low)))

        def chosen(own, cost):
            return Mux(case[1], case[0].replicate(len(own)), Mux(case[0], own, cost))

        own, cost = self.position[: cuts[0]], self.cost_position[: cuts[1]]
        own_zeros, cost_zeros = (len(offset) - cut for cut in cuts)
        cost = cost << cost_zeros
        padding = Mux(self.activates, 0, cost[:own_zeros])[:own_zeros]
        # Of 32 segments the upper 16 are the activation's.
        assert EXP2.segments + LOG2.segments == self.table.segments == 16
        cost_segment = Cat(self.cost_position[cuts[1] :], self.logarithm)
        segment = Signal(self.table.segment_bits)
        apart.d.comb += [
            offset.eq(Cat(padding, chosen(own, cost[own_zeros:]))),
            segment.eq(chosen(self.position[cuts[0] :], cost_segment)),
        ]
        index = Cat(segment, self.activates)
        tables = [EXP2, LOG2, self.table]
        code = None
        if not self.dsp:
            # Recoded in front of the selection, because only `beyond` is valid late.
            code = Signal(len(recoded(offset)))
            zeros, ones = Const(0, own_zeros), Const(~0, cuts[0])
            own_code, cost_code = recoded(Cat(zeros, own)), recoded(cost[: len(offset)])
            last, first = recoded(Cat(zeros, ones)), recoded(Cat(zeros, ~ones))
            beyond_code = Mux(case[0], last, first)
            apart.d.comb += code.eq(Mux(case[1], beyond_code, Mux(case[0], own_code, cost_code)))
        found = _interpolate(
            *(m, tables, index, offset),
            enable=1,
            dsp=self.dsp,
            memory=self.memory,
            offset_recoded=code,
        )
        m.d.comb += self.value.eq(found)
        return m
