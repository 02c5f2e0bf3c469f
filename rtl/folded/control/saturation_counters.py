"""How many weights were clipped and activations limited since INIT."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.lib.delay import delayed

COUNT_BITS = 32


class SaturationCounters(wiring.Component):
    """Counts the lanes whose `clipped` is high in a clock with `written`, of the first `active`
    ones, since the others hold no neuron; and the clocks with `activation_saturated`.

    `weights` is right two clocks behind `written`: the sum of the lanes' bits has a register in
    front of the counter.  `restart` begins anew.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(
            {
                "restart": In(1),
                "written": In(1),
                "clipped": In(lanes),
                "active": In(range(lanes + 1)),
                "activation_saturated": In(1),
                "weights": Out(COUNT_BITS),
                "activations": Out(COUNT_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        count = Signal(range(self.lanes + 1))
        clipped = [self.clipped[p] & (self.active > p) for p in range(self.lanes)]
        m.d.sync += count.eq(sum(clipped))
        # In the clock of `count`.
        counted = delayed(m, self.written, 1)
        with m.If(self.restart):
            m.d.sync += [self.weights.eq(0), self.activations.eq(0)]
        with m.Else():
            with m.If(counted):
                m.d.sync += self.weights.eq(self.weights + count)
            with m.If(self.activation_saturated):
                m.d.sync += self.activations.eq(self.activations + 1)
        return m
