"""Takes the lanes' sums out, one a clock, and makes pre-activations of them.

The sums of a group sit in the lanes' output registers, a ring that turns by one lane a clock,
while the lanes work on the next group.  Both perturbed pre-activations of a first-layer neuron
come from one sum: W·x + δ·Σs·x and W·x − δ·Σs·x.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from mgd.golden_model.forward import pre_activation
from mgd.golden_model.network import ACT_FRAC, DELTA_EXP_MAX
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.unit import Unit


def tag_layout(config: CoreConfig) -> data.StructLayout:
    """What travels with a neuron's value: which it is and where it goes."""
    nodes = max(config.hidden_nodes, config.network.outputs)
    return data.StructLayout({"node": range(max(nodes, 2)), "second": 1, "last": 1})


def group_layout(config: CoreConfig) -> data.StructLayout:
    """A finished group: its first node and size, and which passes it has results for.

    node counts through all hidden neurons, or through the outputs; passes: bit 0 the first
    pass (C⁺ or C0), bit 1 the second (C⁻ or C).  unperturbed: it is not perturbed in this sweep, in
    a core that has such.
    """
    nodes = max(config.hidden_nodes, config.network.outputs)
    unperturbed = {"unperturbed": 1} if config.variant.selects else {}
    return data.StructLayout(
        {
            "node": range(max(nodes, 2)),
            "active": range(config.lanes + 1),
            "passes": 2,
            "last": 1,
            "output": 1,
            **unperturbed,
        }
    )


class Collector(Unit):
    """The pre-activations of a group.

    `take` (one clock) starts on a group, whose sign_sum is in the first lane's output register in
    the next clock, and its sum in the one after; `shift` turns the ring of sign_sum, and
    `shift_products` that of sum, a clock later.  Where `o` never waits they may go unheeded and the
    rings turn in every clock.  The sum has what rounds it half up in it.
    `sum_shifted` has a bit per pass, high for the clock in which a hidden node's sign_sum of that
    pass leaves the ring.  o: {value: pre-activation, output, tag}, `latency` clocks after its
    sign_sum.
    factor_0 and factor_1 are the factors of δ of the two passes.
    """

    latency = 2
    model = staticmethod(pre_activation)

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        net = config.network
        super().__init__(
            {
                "take": In(1),
                "group": In(group_layout(config)),
                "sum": In(signed(config.out_bits)),
                "sign_sum": In(1 if config.nodes_only else signed(config.sign_sum_bits)),
                "shift": Out(1),
                "shift_products": Out(1),
                "sum_shifted": Out(2),
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

        # Of the group: what is left of its description, and where in the ring it is read.
        first_node, last_lane = Signal.like(self.group.node), Signal(range(cfg.lanes))
        both, last_group, output = Signal(), Signal(), Signal()
        busy, second, valid = Signal(), Signal(), Signal()
        lane = Signal(range(cfg.lanes))
        last_value, ends, more = Signal(), Signal(), Signal()
        # A second pass over the ring must start at lane 0, so the first one turns it fully.
        m.d.comb += [
            more.eq(both & ~second),
            last_value.eq(lane == last_lane),
            ends.eq(Mux(more, lane == cfg.lanes - 1, last_value)),
            self.shift.eq(busy & enable),
            self.sum_shifted.eq(Mux(valid & enable & ~output, Mux(second, 2, 1), 0)),
        ]
        with m.If(self.take):
            m.d.sync += [
                first_node.eq(self.group.node),
                last_lane.eq(self.group.active - 1),
                both.eq(self.group.passes.all()),
                last_group.eq(self.group.last),
                output.eq(self.group.output),
                busy.eq(1),
                valid.eq(1),
                second.eq(~self.group.passes[0]),
                lane.eq(0),
            ]
        with m.Elif(self.shift):
            m.d.sync += lane.eq(lane + 1)
            with m.If(last_value):
                m.d.sync += valid.eq(0)
            with m.If(ends):
                m.d.sync += [lane.eq(0), second.eq(1), busy.eq(more), valid.eq(more)]

        # Everything modulo 2^bits, which holds the result: W·x, and δ·Σs·x or its inverse, to which
        # the carry adds 1.
        scale = net.grid_frac - net.weight_frac
        # Fraction bits that are left for δ beside its values', and its largest exponent.
        places = net.grid_frac - cfg.variant.value_frac
        most = min(DELTA_EXP_MAX, places)
        # Bits of a sum that its lane has kept, and that nothing is added to.
        cut = cfg.sum_cut and cfg.sum_cut + scale
        bits = net.pre_shift + net.pre_bits - cut
        base, perturbation, minus = Signal(bits), Signal(bits), Signal()
        total = Signal(bits + 1)
        factor = Mux(second, self.factor_1, self.factor_0)
        if cfg.variant.selects:
            unperturbed = Signal()
            with m.If(self.take):
                m.d.sync += unperturbed.eq(self.group.unperturbed)
            factor = Mux(unperturbed, 0, factor)
        if cfg.nodes_only:  # ±1.0
            place, inverse = (
                ACT_FRAC + net.grid_frac - DELTA_EXP_MAX - cut,
                factor[1] ^ self.sign_sum,
            )
            shifted, base_sum = Const(1 << place, bits), self.sum
        else:
            inverse = factor[1]
            shifted = self.sign_sum << (places - most)
            base_sum = self.sum << scale
        left = Signal(range(DELTA_EXP_MAX))
        m.d.comb += [
            base.eq(base_sum),
            left.eq(most - self.delta_exp),
            total.eq(Cat(1, base) + Cat(minus, perturbation)),
        ]
        value = Signal(signed(net.pre_bits))
        tag0 = Signal(tag_layout(cfg))
        m.d.comb += [
            tag0.node.eq(first_node + lane),
            tag0.second.eq(second),
            tag0.last.eq(last_group & last_value),
        ]
        stages = [(valid, output, tag0)]
        turns_next = Signal()
        m.d.comb += self.shift_products.eq(turns_next & enable)
        with m.If(enable):
            m.d.sync += [
                turns_next.eq(busy),
                perturbation.eq(Mux(factor == 0, 0, (shifted << left) ^ inverse.replicate(bits))),
                minus.eq(inverse & (factor != 0)),
                value.eq(total[1 + net.pre_shift - cut :]),
            ]
            for _ in range(self.latency):
                valid_1, output_1, tag_1 = Signal(), Signal(), Signal(tag_layout(cfg))
                valid_0, output_0, tag_0 = stages[-1]
                m.d.sync += [valid_1.eq(valid_0), output_1.eq(output_0), tag_1.eq(tag_0)]
                stages.append((valid_1, output_1, tag_1))
        valid_2, output_2, tag_2 = stages[-1]
        m.d.comb += [
            self.o.valid.eq(valid_2),
            self.o.payload.value.eq(value),
            self.o.payload.output.eq(output_2),
            self.o.payload.tag.eq(tag_2),
        ]
        return m
