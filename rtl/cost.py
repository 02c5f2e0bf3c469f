"""Cost and class of one pass's outputs."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.costs import exp_sum_bits
from golden_model.formats import round_half_up
from golden_model.network import ACT_BITS, ACT_FRAC, Network
from golden_model.tables import EXP2, LOG2, TABLE_FRAC
from rtl.delay import delayed
from rtl.piecewise import LATENCY as TABLE_LATENCY
from rtl.piecewise import interpolate, rescaled


def result_layout(network: Network) -> data.StructLayout:
    """cost: 2^-cost_frac units; category: the class; second: which pass it was."""
    return data.StructLayout(
        {
            "cost": unsigned(network.cost_bits),
            "category": range(network.classes),
            "second": 1,
        }
    )


class Cost(wiring.Component):
    """Common ports of the cost units.

    i: the outputs of one pass in the order of their numbers, {value, node, second, last};
    o: {cost, category, second} once per pass.  `label` is stable from the first value to the
    result.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.value_shape = signed(network.pre_bits if network.cost == "cross_entropy" else ACT_BITS)
        super().__init__(
            {
                "label": In(range(network.classes)),
                "i": In(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "value": self.value_shape,
                                "node": range(max(network.outputs, 2)),
                                "second": 1,
                                "last": 1,
                            }
                        )
                    )
                ),
                "o": Out(stream.Signature(result_layout(network))),
            }
        )

    def _largest(self, m: Module, transfer):
        """Registers with the largest value so far and its number (lowest of equal ones).

        They follow the values that arrive while `transfer` is high.
        """
        highest = Signal(self.value_shape)
        category = Signal(range(self.network.classes))
        p = self.i.payload
        with m.If(transfer & ((p.node == 0) | (p.value > highest))):
            m.d.sync += [highest.eq(p.value), category.eq(p.node)]
        return highest, category


class MeanSquaredError(Cost):
    """Equals golden_model.costs.mse.  Latency 4 clocks after the last output."""

    def elaborate(self, platform):
        m = Module()
        net = self.network
        p = self.i.payload
        transfer = Signal()
        m.d.comb += transfer.eq(self.i.valid & self.i.ready)

        wanted = 1 if net.outputs == 1 else p.node
        target = Mux(
            self.label == wanted,
            Const(net.target_high, signed(ACT_BITS)),
            Const(net.target_low, signed(ACT_BITS)),
        )
        error = Signal(signed(ACT_BITS + 1))
        square = Signal(2 * ACT_BITS + 1)
        total = Signal((net.outputs << (2 * ACT_BITS + 2)).bit_length())
        m.d.sync += [error.eq(p.value - target), square.eq(error * error)]
        squared = delayed(m, transfer, 2)
        begins = delayed(m, transfer & (p.node == 0), 2)
        ended = delayed(m, transfer & p.last, 3)
        with m.If(squared):
            m.d.sync += total.eq(Mux(begins, 0, total) + square)

        if net.outputs == 1:
            middle = round_half_up(net.target_low + net.target_high, 1)
            category = Signal(1)
            with m.If(transfer):
                m.d.sync += category.eq(p.value >= middle)
        else:
            _, category = self._largest(m, transfer)

        # One pass at a time: the next one's first value waits for the result to leave.
        busy, done, second = Signal(), Signal(), Signal()
        m.d.comb += [self.i.ready.eq(~busy), self.o.valid.eq(done)]
        with m.If(transfer & p.last):
            m.d.sync += [busy.eq(1), second.eq(p.second)]
        with m.If(ended):
            m.d.sync += done.eq(1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [busy.eq(0), done.eq(0)]
        result = self.o.payload
        cost = Signal(unsigned(net.cost_bits))
        m.d.sync += cost.eq(rescaled(total, 2 * ACT_FRAC, net.cost_frac))
        # `total` is complete in the clock of `ended`, so `cost` is in the next one.
        m.d.comb += [
            result.cost.eq(cost),
            result.category.eq(category),
            result.second.eq(second),
        ]
        return m


class CrossEntropy(Cost):
    """Equals golden_model.costs.cross_entropy.

    The outputs are kept while they arrive and the largest is found; then the terms
    2^(z − zmax) are summed, one a clock, and the logarithm is taken.  Latency: outputs + 13
    clocks after the last output.  The next pass arrives meanwhile: there are two sets of
    registers and two halves of the memory, one that collects and one that is worked on.
    """

    def elaborate(self, platform):
        m = Module()
        net = self.network
        p = self.i.payload
        transfer, ends, leaves, start = Signal(), Signal(), Signal(), Signal()
        busy, waiting = Signal(), Signal()
        collects, works = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~waiting),
            transfer.eq(self.i.valid & self.i.ready),
            ends.eq(transfer & p.last),
            leaves.eq(self.o.valid & self.o.ready),
            start.eq((ends | waiting) & (~busy | leaves)),
        ]
        with m.If(ends):
            m.d.sync += [collects.eq(~collects), waiting.eq(1)]
        with m.If(leaves):
            m.d.sync += busy.eq(0)
        with m.If(start):
            m.d.sync += [busy.eq(1), waiting.eq(0), works.eq(Mux(waiting, ~collects, collects))]

        sets = []
        for k in range(2):
            here = transfer & (collects == k)
            largest, number = self._largest(m, here)
            wanted, which = Signal(self.value_shape), Signal()
            with m.If(here & (p.node == self.label)):
                m.d.sync += wanted.eq(p.value)
            with m.If(here):
                m.d.sync += which.eq(p.second)
            sets.append((largest, number, wanted, which))
        highest, category, at_label, second = (Mux(works, b, a) for a, b in zip(*sets, strict=True))

        node = Signal(range(max(net.outputs, 2)))
        m.submodules.outputs = outputs = Memory(
            shape=self.value_shape, depth=2 << len(node), init=[]
        )
        write, read = outputs.write_port(), outputs.read_port()
        m.d.comb += [
            write.addr.eq(Cat(p.node, collects)),
            write.data.eq(p.value),
            write.en.eq(transfer),
            read.addr.eq(Cat(node, works)),
        ]

        # Terms: read (1), distance from the largest (1), table (3), shift (1), sum (1).
        reading = Signal()
        with m.If(start):
            m.d.sync += [reading.eq(1), node.eq(0)]
        with m.Elif(reading):
            m.d.sync += node.eq(node + 1)
            with m.If(node == net.outputs - 1):
                m.d.sync += reading.eq(0)
        distance = Signal(unsigned(net.pre_bits))
        m.d.sync += distance.eq(highest - read.data)
        power = interpolate(m, EXP2, distance[: net.pre_frac], Const(1))
        whole = Signal(range(TABLE_FRAC + 2))
        m.d.comb += whole.eq(
            Mux(distance[net.pre_frac :] > TABLE_FRAC, TABLE_FRAC + 1, distance[net.pre_frac :])
        )
        term = Signal(unsigned(TABLE_FRAC + 1))
        m.d.sync += term.eq(power[: TABLE_FRAC + 1] >> delayed(m, whole, TABLE_LATENCY))
        at_sum = 2 + TABLE_LATENCY + 1
        width = exp_sum_bits(net)
        total = Signal(unsigned(width))
        adding = delayed(m, reading, at_sum)
        with m.If(start):
            m.d.sync += total.eq(0)
        with m.Elif(adding):
            m.d.sync += total.eq(total + term)
        summed = delayed(m, reading & (node == net.outputs - 1), at_sum + 1)

        # Logarithm: leading one (1), normalise (1), table (3), add the whole part (1).
        exponent = Signal(range(width))
        found = Signal.like(exponent)
        for k in range(TABLE_FRAC, width):
            with m.If(total[k]):
                m.d.comb += found.eq(k)
        mantissa = Signal(unsigned(width - 1))
        leading_zeros = Signal.like(exponent)
        m.d.sync += [exponent.eq(found), leading_zeros.eq(width - 1 - found)]
        m.d.sync += mantissa.eq(total << leading_zeros)
        fraction = interpolate(m, LOG2, mantissa, Const(1))
        whole_log = Signal(unsigned(width.bit_length() + TABLE_FRAC))
        m.d.comb += whole_log.eq(
            (delayed(m, exponent, 1 + TABLE_LATENCY) - TABLE_FRAC) << TABLE_FRAC
        )
        log_sum = Signal(unsigned(len(whole_log) + 1))
        m.d.comb += log_sum.eq(whole_log + fraction)
        margin = Signal(unsigned(net.cost_bits))
        m.d.sync += margin.eq((highest - at_label) << (net.cost_frac - net.pre_frac))
        cost = Signal(unsigned(net.cost_bits))
        m.d.sync += cost.eq(margin + rescaled(log_sum, TABLE_FRAC, net.cost_frac))

        done = Signal()
        with m.If(delayed(m, summed, 2 + TABLE_LATENCY)):
            m.d.sync += done.eq(1)
        with m.If(leaves):
            m.d.sync += done.eq(0)
        result = self.o.payload
        m.d.comb += [
            self.o.valid.eq(done),
            Cat(result.cost, result.category, result.second).eq(Cat(cost, category, second)),
        ]
        return m


def cost_unit(network: Network) -> Cost:
    """The cost unit of a network."""
    return CrossEntropy(network) if network.cost == "cross_entropy" else MeanSquaredError(network)
