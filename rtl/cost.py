"""Cost and class of one pass's outputs."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.costs import exp_sum_bits
from golden_model.formats import round_half_up
from golden_model.network import ACT_BITS, ACT_FRAC, Network, signed_bits
from golden_model.tables import EXP2, LOG2, TABLE_FRAC
from rtl.delay import delayed
from rtl.piecewise import LATENCY as TABLE_LATENCY
from rtl.piecewise import interpolate, rescaled
from rtl.product import product

SOON = 3
"""Clocks from `soon` to the result."""


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
    o: {cost, category, second} once per pass.  `soon` is high for one clock, SOON clocks before
    the result of a second pass is offered.  `label` is stable from the first value to `soon`,
    or to the result of a first pass.  `dsp`: whether the multiplier may be a DSP block.
    `shared_tables`, of the cross-entropy alone: there is no multiplier, but a
    rtl.piecewise.SharedTables is asked at `table_position`, from the clock after the last output
    to the clock before the result.
    """

    def __init__(self, network: Network, *, dsp: bool = True, shared_tables: bool = False) -> None:
        self.network, self.dsp, self.shared_tables = network, dsp, shared_tables
        self.position_bits = exp_sum_bits(network) - 1
        tables = {
            "table_position": Out(self.position_bits),
            "table_logarithm": Out(1),
            "table_value": In(signed(ACT_BITS)),
        }
        entropy = network.cost == "cross_entropy"
        bound = network.output_bound
        self.value_bits = signed_bits(-bound, bound) if entropy else ACT_BITS
        super().__init__(
            {
                "label": In(range(network.classes)),
                "i": In(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "value": signed(network.pre_bits if entropy else ACT_BITS),
                                "node": range(max(network.outputs, 2)),
                                "second": 1,
                                "last": 1,
                            }
                        )
                    )
                ),
                "o": Out(stream.Signature(result_layout(network))),
                "soon": Out(1),
                **(tables if shared_tables else {}),
            }
        )

    @staticmethod
    def latency(network: Network, dsp: bool = True) -> int:
        """Clocks from a pass's last output to its result; dsp: as the unit's."""
        raise NotImplementedError

    @staticmethod
    def spacing(network: Network, dsp: bool = True) -> int:
        """Clocks from a pass's last output to that of the next, for the latency to hold again."""
        raise NotImplementedError

    def _largest(self, m: Module, transfer, value):
        """Registers with the largest value so far and its number (lowest of equal ones).

        They follow the values that arrive while `transfer` is high.  The third result: whether
        a value that is arriving is the largest.
        """
        highest = Signal(signed(self.value_bits))
        category = Signal(range(self.network.classes))
        node, larger, first = self.i.payload.node, Signal(), Signal(init=1)
        m.d.comb += larger.eq(first | (value > highest))
        with m.If(transfer):
            m.d.sync += first.eq(self.i.payload.last)
        with m.If(transfer & larger):
            m.d.sync += [highest.eq(value), category.eq(node)]
        return highest, category, larger


class MeanSquaredError(Cost):
    """Equals golden_model.costs.mse.  Passes may follow each other without a gap; a result that
    is not taken stops everything."""

    @staticmethod
    def latency(network: Network, dsp: bool = True) -> int:
        return 4

    @staticmethod
    def spacing(network: Network, dsp: bool = True) -> int:
        return network.outputs

    def elaborate(self, platform):
        m = Module()
        net = self.network
        p = self.i.payload
        enable, transfer = Signal(), Signal()
        m.d.comb += [
            enable.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(enable),
            transfer.eq(self.i.valid & enable),
        ]

        wanted = 1 if net.outputs == 1 else p.node
        target = Mux(
            self.label == wanted,
            Const(net.target_high, signed(ACT_BITS)),
            Const(net.target_low, signed(ACT_BITS)),
        )
        if net.outputs == 1:
            middle = round_half_up(net.target_low + net.target_high, 1)
            category = p.value >= middle
        else:
            _, before, larger = self._largest(m, transfer, p.value)
            category = Mux(larger, p.node, before)

        # Error (1), square (1), sum (1), rounding (1).
        now = Signal(
            data.StructLayout(
                {"valid": 1, "first": 1, "ends": 1, "category": range(net.classes), "second": 1}
            )
        )
        m.d.comb += [
            now.valid.eq(transfer),
            now.first.eq(p.node == 0),
            now.ends.eq(transfer & p.last),
            now.category.eq(category),
            now.second.eq(p.second),
        ]
        stages = [now]
        error, difference = Signal(signed(ACT_BITS + 1)), Signal(signed(ACT_BITS + 1))
        m.d.comb += difference.eq(p.value - target)
        square = product(m, error, difference, dsp=self.dsp, enable=enable)
        total = Signal((net.outputs << (2 * ACT_BITS + 2)).bit_length())
        cost = Signal(unsigned(net.cost_bits))
        with m.If(enable):
            m.d.sync += [
                error.eq(difference),
                cost.eq(rescaled(total, 2 * ACT_FRAC, net.cost_frac)),
            ]
            latency = self.latency(net)
            for number in range(1, latency + 1):
                stage = Signal(now.shape(), name=f"stage_{number}")
                m.d.sync += stage.eq(stages[-1])
                stages.append(stage)
            with m.If(stages[2].valid):
                m.d.sync += total.eq(Mux(stages[2].first, 0, total) + square)
        m.d.comb += [
            self.soon.eq(stages[latency - SOON].ends & stages[latency - SOON].second),
            self.o.valid.eq(stages[-1].ends),
            self.o.payload.cost.eq(cost),
            self.o.payload.category.eq(stages[-1].category),
            self.o.payload.second.eq(stages[-1].second),
        ]
        return m


class CrossEntropy(Cost):
    """Equals golden_model.costs.cross_entropy.

    The outputs are kept while they arrive and the largest is found; then the terms
    2^(z − zmax) are summed, one a clock, and the logarithm is taken.  The next pass arrives
    meanwhile: the memory has two halves, one that collects and one that is worked on.
    Cost: one multiplier for both tables.
    """

    @staticmethod
    def latency(network: Network, dsp: bool = True) -> int:
        return network.outputs + (8 if dsp else 9)

    @staticmethod
    def spacing(network: Network, dsp: bool = True) -> int:
        return CrossEntropy.latency(network, dsp)

    def elaborate(self, platform):
        m = Module()
        net = self.network
        p = self.i.payload
        transfer, ends, leaves, start = Signal(), Signal(), Signal(), Signal()
        busy, waiting, reading = Signal(), Signal(), Signal()
        collects, works, half = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~waiting),
            transfer.eq(self.i.valid & self.i.ready),
            ends.eq(transfer & p.last),
            leaves.eq(self.o.valid & self.o.ready),
            start.eq((ends | waiting) & (~busy | leaves)),
            half.eq(Mux(reading, works, waiting ^ collects)),
        ]
        with m.If(ends):
            m.d.sync += [collects.eq(~collects), waiting.eq(1)]
        with m.If(leaves):
            m.d.sync += busy.eq(0)

        # The largest so far, and of the pass that is worked on.
        value = p.value[: self.value_bits].as_signed()
        highest, category, larger = self._largest(m, transfer, value)
        last_second, second = Signal(), Signal()
        top, top_category = Signal.like(highest), Signal.like(category)
        with m.If(transfer):
            m.d.sync += last_second.eq(p.second)
        with m.If(start):
            m.d.sync += [
                busy.eq(1),
                waiting.eq(0),
                works.eq(half),
                second.eq(Mux(waiting, last_second, p.second)),
                top.eq(Mux(larger & ~waiting, value, highest)),
                top_category.eq(Mux(larger & ~waiting, p.node, category)),
            ]

        # A pass is read from the clock of its last output on, node 0 first; no word is read in
        # the clock in which it is written.
        node = Signal(range(max(net.outputs, 2)))
        m.submodules.outputs = outputs = Memory(
            shape=signed(self.value_bits),
            depth=2 << len(node),
            init=[],
            attrs={"no_rw_check": True},
        )
        write, read = outputs.write_port(), outputs.read_port()
        last_read = reading & (node == net.outputs - 1)
        m.d.comb += [
            write.addr.eq(Cat(p.node, collects)),
            write.data.eq(value),
            write.en.eq(transfer),
            read.addr.eq(Cat(node, half)),
        ]
        with m.If(last_read):
            m.d.sync += [reading.eq(0), node.eq(0)]
        with m.Elif(start | reading):
            m.d.sync += [reading.eq(1), node.eq(node + 1)]

        # Terms: read (1), distance from the largest (1), table (2 + 1), shift and sum (1).
        distance, margin = Signal(unsigned(self.value_bits)), Signal(unsigned(self.value_bits))
        m.d.sync += distance.eq(top - read.data)
        with m.If(delayed(m, (start | reading) & (node == self.label), 2)):
            m.d.sync += margin.eq(distance)
        position, logarithm = Signal(unsigned(self.position_bits)), Signal()
        if self.shared_tables:
            m.d.comb += [self.table_position.eq(position), self.table_logarithm.eq(logarithm)]
            found = self.table_value
        else:
            found = interpolate(m, [EXP2, LOG2], position, which=logarithm, dsp=self.dsp)
        power, whole = Signal(unsigned(TABLE_FRAC + 1)), Signal(4)
        # Shifts of TABLE_FRAC + 1 and more leave nothing.
        assert (1 << len(whole)) - 1 == TABLE_FRAC + 1
        far = distance[net.pre_frac + len(whole) :].any()
        m.d.comb += whole.eq(distance[net.pre_frac :] | far.replicate(len(whole)))
        m.d.sync += power.eq(found)
        at_sum = 2 + TABLE_LATENCY + 1
        total = Signal(unsigned(exp_sum_bits(net)))
        term = power >> delayed(m, whole, TABLE_LATENCY + 1)
        adds = delayed(m, start | reading, at_sum)
        with m.If(start):
            m.d.sync += total.eq(0)
        with m.Elif(adds):
            m.d.sync += total.eq(total + term)

        # Logarithm: normalise and table (2), then everything is added up (1).  A product in logic
        # begins with an adder, so that what is normalised gets a register first.
        exponent, normal = Signal(range(len(total) - TABLE_FRAC)), Signal.like(position)
        for k in range(TABLE_FRAC, len(total)):
            with m.If(total[k:] == 1):
                m.d.comb += normal.eq(total[:k] << (len(position) - k))
                m.d.comb += exponent.eq(k - TABLE_FRAC)
        registers = 0 if self.dsp else 1
        normal, exponent = delayed(m, normal, registers), delayed(m, exponent, registers)
        at_table = at_sum + 1 + registers
        m.d.comb += logarithm.eq(delayed(m, last_read, at_table))
        fraction = distance[: net.pre_frac]
        m.d.comb += position.eq(Mux(logarithm, normal, fraction << (len(position) - net.pre_frac)))
        # All that is known before the table's value, and a half to round with.  The margin is a
        # whole number of the cost's units: rounding the sum rounds the logarithm alone.
        cut = max(TABLE_FRAC - net.cost_frac, 0)
        known = Signal(unsigned(net.cost_bits + cut))
        m.d.sync += known.eq(
            (margin << (TABLE_FRAC - net.pre_frac))
            + ((delayed(m, exponent, TABLE_LATENCY - 1) << TABLE_FRAC) | (1 << cut >> 1))
        )
        cost = Signal(unsigned(net.cost_bits))
        finishes, done = delayed(m, logarithm, TABLE_LATENCY), Signal()
        with m.If(finishes):
            m.d.sync += [
                cost.eq((known + found) >> cut << max(net.cost_frac - TABLE_FRAC, 0)),
                done.eq(1),
            ]
        with m.If(leaves):
            m.d.sync += done.eq(0)
        m.d.comb += [
            self.soon.eq(delayed(m, last_read, at_table + TABLE_LATENCY + 1 - SOON) & second),
            self.o.valid.eq(done),
            self.o.payload.cost.eq(cost),
            self.o.payload.category.eq(top_category),
            self.o.payload.second.eq(second),
        ]
        return m


def cost_kind(network: Network) -> type[Cost]:
    """The class of a network's cost unit."""
    return CrossEntropy if network.cost == "cross_entropy" else MeanSquaredError


def cost_unit(network: Network, *, dsp: bool = True, shared_tables: bool = False) -> Cost:
    """The cost unit of a network; the arguments are those of Cost."""
    return cost_kind(network)(network, dsp=dsp, shared_tables=shared_tables)
