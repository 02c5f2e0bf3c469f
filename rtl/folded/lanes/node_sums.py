"""Walks the lanes' sums per node when a step's ΔC is there, and hands them to an outer sweep."""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.delay import delayed


class NodeSums(wiring.Component):
    """E_i += s_i·D in all lanes, one group a clock, and E_i = 0 where it has changed the weights.

    `measured` announces ΔC, which the lanes must have two clocks later, and keep for one clock per
    group and WRITE more; each begins a walk over all groups.  Next walks begin behind that.  The
    signs are those of the step whose number's low bit is `parity`: ΔC come in the order of the
    steps.  `restart` begins a run, and a walk that clears all sums.

    Where `outer` is high no walk is under way, and the lanes read `outer_group`; `outer_ends` says
    of `outer_done` that its sum is used up.  `busy`: a walk is under way.  `read` is the address of
    a sum and, with `parity`, of a sign; `write` and `written` are WRITE clocks behind it.
    """

    WRITE = 3
    """Clocks from the address of a sum to its write: the memory, a register, the new sum's."""

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        group = range(max(sum(config.groups), 2))
        super().__init__(
            {
                "measured": In(1),
                "restart": In(1),
                "outer": In(1),
                "outer_group": In(group),
                "outer_ends": In(1),
                "outer_done": In(group),
                "read": Out(group),
                "parity": Out(1, init=1),
                "write": Out(1),
                "written": Out(group),
                "clear": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        count = sum(self.config.groups)
        trained = self.config.variant.layers(self.config.network)
        sums = [int(group["layer"] in trained) for group in self.config.group_table]
        walks, clears, group = Signal(), Signal(), Signal.like(self.read)
        with m.If(walks):
            m.d.sync += group.eq(group + 1)
            with m.If(group == count - 1):
                m.d.sync += [walks.eq(0), group.eq(0), clears.eq(0)]
                m.d.sync += self.parity.eq(~self.parity)
        with m.If(self.measured):
            m.d.sync += walks.eq(1)
        with m.If(self.restart):
            # Its end toggles the parity to that of the first step, which is 1.
            m.d.sync += [walks.eq(1), group.eq(0), clears.eq(1), self.parity.eq(0)]
        written = delayed(m, group, self.WRITE)
        under_way = Signal(self.WRITE)
        m.d.sync += under_way.eq(Cat(walks, under_way))
        sums_up = Array([Const(flag, 1) for flag in sums])[written]
        cleared = delayed(m, clears, self.WRITE)
        m.d.comb += [
            self.read.eq(Mux(self.outer, self.outer_group, group)),
            self.written.eq(Mux(self.outer, self.outer_done, written)),
            self.clear.eq(self.outer | cleared),
            self.write.eq(Mux(self.outer, self.outer_ends, under_way[-1] & (sums_up | cleared))),
            self.busy.eq(walks | under_way.any()),
        ]
        return m
