"""Hinge: golden_model.costs.hinge, 1 plus the margin by which the largest other output leads."""

from __future__ import annotations

from amaranth import Array, Const, Module, Mux, Signal, signed

from mgd.golden_model.costs.hinge import COST
from mgd.golden_model.network import Network
from mgd.rtl.lib.delay import delayed
from mgd.rtl.units.costs.base import ParallelCost, StreamedCost, largest


def positive(network: Network, excess):
    """max(0, excess) in the cost's unit."""
    return Mux(excess < 0, 0, excess) << (network.cost_frac - network.pre_frac)


def margin(network: Network, other, at_label):
    """1 + other − at_label."""
    return (1 << network.pre_frac) + other - at_label


class Hinge(StreamedCost):
    """An output and whether it is the label's (1), the largest
    other and the label's (1), their difference (1), cut at 0 (1)."""

    latency = 4
    model = COST.exact

    def cost_of(self, m: Module, enable, stages):
        net, p = self.network, self.i.payload
        value = Signal(signed(self.value_bits))
        other, at_label = Signal.like(value), Signal.like(value)
        of_label, first_other = Signal(), Signal()
        excess, cost = Signal(signed(self.value_bits + 2)), Signal(net.cost_bits)
        with m.If(enable):
            m.d.sync += [
                value.eq(p.value),
                of_label.eq(self.label == (1 if net.outputs == 1 else p.node)),
                # The others begin with output 0, or with 1 where 0 is the label's.
                first_other.eq(p.node == (self.label == 0)),
                excess.eq(margin(net, other, at_label)),
                cost.eq(positive(net, excess)),
            ]
            # `value`, of_label and first_other are of the output of a clock ago.
            with m.If(stages[1].valid):
                if net.outputs == 1:
                    # The other class's output is 0.
                    m.d.sync += [
                        at_label.eq(Mux(of_label, value, 0)),
                        other.eq(Mux(of_label, 0, value)),
                    ]
                else:
                    with m.If(of_label):
                        m.d.sync += at_label.eq(value)
                    with m.Elif(first_other | (value > other)):
                        m.d.sync += other.eq(value)
        return cost


class ParallelHinge(ParallelCost):
    """The largest other, a clock per level, the difference (1),
    cut at 0 (1)."""

    model = COST.exact

    @classmethod
    def latency_of(cls, network: Network) -> int:
        return (network.outputs - 1).bit_length() + 2

    def elaborate(self, platform):
        m = Module()
        net = self.network
        values = [self.values[k] for k in range(net.outputs)]
        bits = len(values[0])
        at_label = Signal(signed(bits))
        if net.outputs == 1:
            other, clocks = Mux(self.label == 1, 0, values[0]), 0
            m.d.comb += at_label.eq(Mux(self.label == 1, values[0], 0))
        else:
            least = Const(-(1 << (bits - 1)), signed(bits))
            # The label's own output must not be the largest other: it counts as the least there is.
            others = [Mux(self.label == k, least, value) for k, value in enumerate(values)]
            other, _, clocks = largest(m, others)
            m.d.comb += at_label.eq(Array(values)[self.label])
        excess = Signal(signed(bits + 2))
        m.d.sync += [
            excess.eq(margin(net, other, delayed(m, at_label, clocks))),
            self.cost.eq(positive(net, excess)),
        ]
        self._category(m, values)
        return m


UNITS = ("hinge", Hinge, ParallelHinge)
