"""Takes the lanes' sums out, one a clock, and makes pre-activations of them.

The sums of a group sit in the lanes' output registers, a ring that turns by one lane a clock,
while the lanes work on the next group.  Both perturbed pre-activations of a first-layer neuron
come from one sum: W·x + δ·Σs·x and W·x − δ·Σs·x.
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.network import DELTA_EXP_MAX
from rtl.config import CoreConfig
from rtl.piecewise import rounded


def tag_layout(config: CoreConfig) -> data.StructLayout:
    """What travels with a neuron's value: which it is and where it goes."""
    nodes = max(config.hidden_nodes, config.network.outputs)
    return data.StructLayout({"node": range(max(nodes, 2)), "second": 1, "last": 1})


def group_layout(config: CoreConfig) -> data.StructLayout:
    """A finished group: its first node and size, and which passes it has results for.

    node counts through all hidden neurons, or through the outputs; passes: bit 0 the first
    pass (C⁺ or C0), bit 1 the second (C⁻ or C).
    """
    nodes = max(config.hidden_nodes, config.network.outputs)
    return data.StructLayout(
        {
            "node": range(max(nodes, 2)),
            "active": range(config.lanes + 1),
            "passes": 2,
            "last": 1,
            "output": 1,
        }
    )


class Collector(wiring.Component):
    """Equals golden_model.forward.pre_activation.

    `take` (one clock) starts on a group; sum and sign_sum are the first lane's output
    registers, `shift` turns the ring.  `done` is high for the clock in which the group's last
    value leaves the ring.  o: {value: pre-activation, output, tag}, LATENCY clocks after its
    sum.  factor_0 and factor_1 are the factors of δ of the two passes.
    """

    LATENCY = 3

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        net = config.network
        super().__init__(
            {
                "take": In(1),
                "group": In(group_layout(config)),
                "sum": In(signed(net.acc_bits)),
                "sign_sum": In(signed(net.sign_sum_bits)),
                "shift": Out(1),
                "done": Out(1),
                "factor_0": In(signed(2)),
                "factor_1": In(signed(2)),
                "delta_exp": In(range(DELTA_EXP_MAX + 1)),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "value": signed(net.pre_bits),
                                "output": 1,
                                "tag": tag_layout(config),
                            }
                        )
                    )
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, net = self.config, self.config.network
        enable = Signal()
        m.d.comb += enable.eq(~self.o.valid | self.o.ready)

        group = Signal(group_layout(cfg))
        busy, second = Signal(), Signal()
        lane = Signal(range(cfg.lanes + 1))
        node = Signal.like(group.node)
        more = Signal()
        ends = Signal()
        valid = Signal()
        # A second pass over the ring must start at lane 0, so the first one turns it fully.
        m.d.comb += [
            more.eq(~second & group.passes.all()),
            ends.eq(lane == Mux(more, cfg.lanes, group.active) - 1),
            valid.eq(busy & (lane < group.active)),
            self.shift.eq(busy & enable),
            self.done.eq(busy & enable & ends & ~more),
        ]
        with m.If(self.take):
            m.d.sync += [
                busy.eq(1),
                group.eq(self.group),
                second.eq(~self.group.passes[0]),
                lane.eq(0),
                node.eq(self.group.node),
            ]
        with m.Elif(self.shift):
            m.d.sync += [lane.eq(lane + 1), node.eq(node + 1)]
            with m.If(ends):
                m.d.sync += [lane.eq(0), second.eq(1), node.eq(group.node), busy.eq(more)]

        scale = net.grid_frac - net.weight_frac
        perturbation = Signal(signed(net.sum_bits))
        base, total = Signal(signed(net.sum_bits)), Signal(signed(net.sum_bits))
        value = Signal(signed(net.pre_bits))
        factor = Signal(signed(2))
        tag0 = Signal(tag_layout(cfg))
        m.d.comb += [
            tag0.node.eq(node),
            tag0.second.eq(second),
            tag0.last.eq(group.last & (lane == group.active - 1)),
        ]
        factor0 = Mux(second, self.factor_1, self.factor_0)
        stages = [(valid, group.output, tag0)]
        with m.If(enable):
            m.d.sync += [
                base.eq(self.sum << scale),
                perturbation.eq((self.sign_sum << net.grid_frac) >> self.delta_exp),
                factor.eq(factor0),
                total.eq(base + Mux(factor == 0, 0, Mux(factor < 0, -perturbation, perturbation))),
                value.eq(rounded(total, net.pre_shift)),
            ]
            for _ in range(self.LATENCY):
                valid_1, output_1, tag_1 = Signal(), Signal(), Signal(tag_layout(cfg))
                valid_0, output_0, tag_0 = stages[-1]
                m.d.sync += [valid_1.eq(valid_0), output_1.eq(output_0), tag_1.eq(tag_0)]
                stages.append((valid_1, output_1, tag_1))
        valid_3, output_3, tag_3 = stages[-1]
        m.d.comb += [
            self.o.valid.eq(valid_3),
            self.o.payload.value.eq(value),
            self.o.payload.output.eq(output_3),
            self.o.payload.tag.eq(tag_3),
        ]
        return m
