"""Cross-entropy of a softmax to base 2: golden_model.costs.cross_entropy."""

from __future__ import annotations

from amaranth import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib.memory import Memory

from mgd.golden_model.costs.cross_entropy import COST, exp_sum_bits
from mgd.golden_model.network import Network
from mgd.golden_model.tables import EXP2, LOG2, TABLE_FRAC
from mgd.rtl.lib.adder_tree import add_tree, tree_latency
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.piecewise import LATENCY as TABLE_LATENCY
from mgd.rtl.lib.piecewise import TABLE, interpolate
from mgd.rtl.units.costs.base import RESULT_IN, Cost, ParallelCost, largest, value_bits
from mgd.rtl.units.costs.smoothing import distance_sum_bits, smoothing, smoothing_latency


def whole_distance(m: Module, network: Network, distance, name: str = "whole"):
    """The whole part of a distance, the number of places that its power of two is shifted down.

    A shift by TABLE_FRAC + 1 or more leaves 0, so all such distances may have the same, all ones.
    """
    whole = Signal(4, name=name)
    assert (1 << len(whole)) - 1 == TABLE_FRAC + 1
    far = distance[network.pre_frac + len(whole) :].any()
    m.d.comb += whole.eq(distance[network.pre_frac :] | far.replicate(len(whole)))
    return whole


def normalised(m: Module, total, position, exponent) -> None:
    """total = 2^exponent·(1 + position/2^len(position)), as golden_model.tables.log2 has it; no
    clock later."""
    for k in range(TABLE_FRAC, len(total)):
        with m.If(total[k:] == 1):
            m.d.comb += position.eq(total[:k] << (len(position) - k))
            m.d.comb += exponent.eq(k - TABLE_FRAC)


class LogarithmSum:
    """log2 Σ 2^(z − zmax) + zmax − z_label, in TABLE_FRAC fraction bits, to the cost's unit.

    All of it but the table's value is added up before that is there, and a half to round with.  The
    margin, zmax − z_label, is a whole number of the cost's units: rounding the sum rounds the
    logarithm alone.
    """

    def __init__(self, m: Module, network: Network, margin, exponent) -> None:
        self._frac = network.cost_frac
        self._cut = max(TABLE_FRAC - network.cost_frac, 0)
        self._known = Signal(unsigned(network.cost_bits + self._cut), name="known")
        m.d.sync += self._known.eq(
            (margin << (TABLE_FRAC - network.pre_frac))
            + ((exponent << TABLE_FRAC) | (1 << self._cut >> 1))
        )

    def cost(self, table_value):
        """The cost; `table_value` comes a clock or more after margin and exponent."""
        left = max(self._frac - TABLE_FRAC, 0)
        return (self._known + table_value) >> self._cut << left


class CrossEntropy(Cost):
    """Cross-entropy of one pass after the other.

    The outputs are collected in a memory as they arrive and the largest is found; then the terms
    2^(z − zmax) are summed, one a clock, and the logarithm is taken.  The next pass arrives
    meanwhile: the memory has two halves, one that collects and one that is worked on.
    Smoothed labels take a clock more.
    Cost: one multiplier for both tables.
    """

    model = COST.exact

    @classmethod
    def latency_of(cls, network: Network, dsp: bool = True, registered: bool = False) -> int:
        clocks = 8 + registered if dsp else 11
        return network.outputs + clocks + bool(network.smoothing_exp)

    @staticmethod
    def product(network: Network) -> tuple[int, int] | None:
        return TABLE

    @staticmethod
    def spacing(network: Network, dsp: bool = True, registered: bool = False) -> int:
        # A pass begins to be worked on in the clock behind the result of the one before.
        return CrossEntropy.latency_of(network, dsp, registered) + 1

    def elaborate(self, platform):
        m = Module()
        net, dsp = self.network, self.dsp
        leaves = self.o.valid & self.o.ready
        passes = Passes(m, self, leaves)
        # A product in logic means a device of slow logic: the shift behind the table and the
        # normalisation in front of it get a register each.
        registers = 0 if dsp else 1
        # A product in logic begins with an adder and ends with two: it has a register before and
        # behind it.  A block ends with one adder: `registered` puts a register behind it.
        behind = registers or int(self.registered)

        # Clocks behind the read of a word: its distance from the largest is there in clock 2, its
        # power in clock 2 + TABLE_LATENCY + 1.  at_sum: its term is added; at_table, counted from
        # the last word: the sum enters the table.
        at_sum = 2 + TABLE_LATENCY + 1 + registers
        at_table = at_sum + 1 + registers
        bits = self.value_bits
        distance, margin = Signal(unsigned(bits)), Signal(unsigned(bits))
        m.d.sync += distance.eq(passes.largest - passes.value)
        with m.If(delayed(m, passes.reads & (passes.node == self.label), 2)):
            m.d.sync += margin.eq(distance)

        position, logarithm = Signal(unsigned(self.position_bits)), Signal()
        table_value = self._table(m, position, logarithm)
        power, total = Signal(unsigned(TABLE_FRAC + 1)), Signal(unsigned(exp_sum_bits(net)))
        whole = whole_distance(m, net, distance)
        m.d.sync += power.eq(table_value)
        term = Signal(TABLE_FRAC + 1)
        m.d.comb += term.eq(power >> delayed(m, whole, TABLE_LATENCY + 1))
        term = delayed(m, term, registers)
        adds = delayed(m, passes.reads, at_sum)
        with m.If(passes.started):
            m.d.sync += total.eq(0)
        with m.Elif(adds):
            m.d.sync += total.eq(total + term)

        # The logarithm takes the table when the last term has left it.
        exponent, normal = Signal(range(len(total) - TABLE_FRAC)), Signal.like(position)
        normalised(m, total, normal, exponent)
        normal, exponent = delayed(m, normal, registers), delayed(m, exponent, registers)
        fraction = distance[: net.pre_frac]
        m.d.comb += [
            logarithm.eq(delayed(m, passes.last_read, at_table)),
            position.eq(Mux(logarithm, normal, fraction << (len(position) - net.pre_frac))),
        ]
        exponent = delayed(m, exponent, TABLE_LATENCY - 1 + behind)
        logarithm_sum = LogarithmSum(m, net, margin, exponent)
        cost = Signal(unsigned(net.cost_bits))
        # The terms' register behind the table is the logarithm's, too.
        finishes = delayed(m, logarithm, TABLE_LATENCY + behind)
        with m.If(finishes):
            m.d.sync += cost.eq(logarithm_sum.cost(power if behind else table_value))
        clocks = at_table + TABLE_LATENCY + behind + 1
        if net.smoothing_exp:
            assert 3 + smoothing_latency(net) <= clocks
            cost, finishes = self._smoothed(m, passes, distance, margin, cost, finishes)
            clocks += 1

        done = Signal()
        with m.If(finishes):
            m.d.sync += done.eq(1)
        with m.If(leaves):
            m.d.sync += done.eq(0)
        m.d.comb += [
            self.result_in_3.eq(delayed(m, passes.last_read, clocks - RESULT_IN) & passes.second),
            self.o.valid.eq(done),
            self.o.payload.cost.eq(cost),
            self.o.payload.category.eq(passes.category),
            self.o.payload.second.eq(passes.second),
        ]
        return m

    def _table(self, m: Module, position, logarithm):
        """EXP2 or, where `logarithm` is high, LOG2 of the position, TABLE_LATENCY clocks later."""
        if self.shared_tables:
            m.d.comb += [self.table_position.eq(position), self.table_logarithm.eq(logarithm)]
            return self.table_value
        return interpolate(m, [EXP2, LOG2], position, which=logarithm, dsp=self.dsp)

    def _smoothed(self, m: Module, passes: Passes, distance, margin, cost, finishes):
        """The cost with smoothed labels, and when it is there: a clock later.  The term that
        smoothing adds is there before the cost, and both stay until the result leaves."""
        distances, adds = Signal(distance_sum_bits(self.network)), delayed(m, passes.reads, 2)
        with m.If(passes.start):
            m.d.sync += distances.eq(0)
        with m.Elif(adds):
            m.d.sync += distances.eq(distances + distance)
        added = smoothing(m, self.network, distances, margin)
        total, finishes = Signal.like(cost), delayed(m, finishes, 1)
        with m.If(finishes):
            m.d.sync += total.eq(cost + added)
        return total, finishes


class Passes:
    """Collects the outputs of a pass in one half of a memory, while those of the pass before are
    read from the other half, node 0 first, one a clock from the clock of the pass' last output on.

    start: a pass is begun to be worked on; started: a clock later.  reads: `node` is read, whose
    `value` is there a clock later; last_read: it is the last one.  largest, category: of the pass
    that is worked on, from `started` on; second: which pass that is, from `started` on.
    """

    def __init__(self, m: Module, unit: CrossEntropy, leaves) -> None:
        """leaves: the result of the pass that is worked on leaves the unit in this clock."""
        net, p = unit.network, unit.i.payload
        transfer, ends, start = Signal(), Signal(), Signal()
        busy, waiting, reading = Signal(), Signal(), Signal()
        collects, works, half = Signal(), Signal(), Signal()
        """collects, works: the half that collects, and that of the pass that is worked on."""
        m.d.comb += [
            unit.i.ready.eq(~waiting),
            transfer.eq(unit.i.valid & unit.i.ready),
            ends.eq(transfer & p.last),
            # Not in the clock in which a result leaves: `ready` comes late in its clock, and would
            # be in front of all that begins here.
            start.eq((ends | waiting) & ~busy),
            half.eq(Mux(reading, works, waiting ^ collects)),
        ]
        with m.If(ends):
            m.d.sync += [collects.eq(~collects), waiting.eq(1)]
        with m.If(leaves):
            m.d.sync += busy.eq(0)

        value = p.value[: unit.value_bits].as_signed()
        highest, highest_node, _ = unit._largest(m, transfer, value)
        collected_second, self.second = Signal(), Signal()
        with m.If(transfer):
            m.d.sync += collected_second.eq(p.second)
        with m.If(start):
            m.d.sync += [
                busy.eq(1),
                waiting.eq(0),
                works.eq(half),
                self.second.eq(Mux(waiting, collected_second, p.second)),
            ]
        # The search has just ended in `started`: what it finds of the next pass in that clock shows
        # in its registers a clock later.
        self.start, self.started = start, delayed(m, start, 1)
        top, self.category = Signal.like(highest), Signal.like(highest_node)
        with m.If(self.started):
            m.d.sync += [top.eq(highest), self.category.eq(highest_node)]
        self.largest = Mux(self.started, highest, top)

        # No word is read in the clock in which it is written: the last output is written in the
        # clock in which node 0 is read, and a single output is its pass' last.
        self.node = node = Signal(range(max(net.outputs, 2)))
        m.submodules.outputs = outputs = Memory(
            shape=signed(unit.value_bits),
            depth=2 << len(node),
            init=[],
            attrs={"no_rw_check": True},
        )
        write, read = outputs.write_port(), outputs.read_port()
        self.value, self.reads = read.data, start | reading
        self.last_read = reading & (node == net.outputs - 1)
        m.d.comb += [
            write.addr.eq(Cat(p.node, collects)),
            write.data.eq(value),
            write.en.eq(transfer),
            read.addr.eq(Cat(node, half)),
        ]
        with m.If(self.last_read):
            m.d.sync += [reading.eq(0), node.eq(0)]
        with m.Elif(self.reads):
            m.d.sync += [reading.eq(1), node.eq(node + 1)]


class ParallelCrossEntropy(ParallelCost):
    """Cross-entropy of all outputs at once."""

    model = COST.exact

    @classmethod
    def latency_of(cls, network: Network) -> int:
        # The largest, distances, table, power, term, sum, logarithm, cost.
        outputs = network.outputs
        search = (outputs - 1).bit_length()
        exact = search + 1 + TABLE_LATENCY + 1 + 1 + tree_latency(outputs) + TABLE_LATENCY + 1
        return exact + bool(network.smoothing_exp)

    @staticmethod
    def products(network: Network) -> int:
        return network.outputs + 1

    def elaborate(self, platform):
        m = Module()
        net = self.network
        values = [self.values[k] for k in range(net.outputs)]
        top, category, search = largest(m, values)
        distances, terms = [], []
        for k, value in enumerate(values):
            distance = Signal(unsigned(value_bits(net)), name=f"distance_{k}")
            m.d.sync += distance.eq(top - delayed(m, value, search))
            distances.append(distance)
            terms.append(self._term(m, distance, k))
        margin = Signal(unsigned(value_bits(net)))
        m.d.sync += margin.eq(Array(distances)[delayed(m, self.label, search + 1)])

        bits = exp_sum_bits(net)
        total = add_tree(m, terms, bits + 1)[:bits]
        position, exponent = Signal(bits - 1), Signal(range(bits - TABLE_FRAC))
        normalised(m, total, position, exponent)
        table_value = interpolate(m, [LOG2], position, dsp=self.dsp)
        # The margin is there 1 clock behind the distances, the logarithm's other summand a clock
        # before its table value.
        to_table = TABLE_LATENCY + 1 + 1 + tree_latency(net.outputs)
        logarithm_sum = LogarithmSum(
            *(m, net),
            delayed(m, margin, to_table + TABLE_LATENCY - 2),
            delayed(m, exponent, TABLE_LATENCY - 1),
        )
        cost = Signal(net.cost_bits)
        m.d.sync += cost.eq(logarithm_sum.cost(table_value))
        if net.smoothing_exp:
            cost = self._smoothed(m, distances, margin, cost, search + 1)
        m.d.comb += [
            self.cost.eq(cost),
            self.category.eq(delayed(m, category, self.latency - search)),
        ]
        return m

    def _term(self, m: Module, distance, number: int):
        """2^-distance, TABLE_LATENCY + 2 clocks later: a register behind the table's adder and one
        behind the shift."""
        power, term = Signal(unsigned(TABLE_FRAC + 1)), Signal(unsigned(TABLE_FRAC + 1))
        fraction = distance[: self.network.pre_frac]
        m.d.sync += power.eq(interpolate(m, [EXP2], fraction, dsp=self.dsp))
        whole = whole_distance(m, self.network, distance, f"whole_{number}")
        m.d.sync += term.eq(power >> delayed(m, whole, TABLE_LATENCY + 1))
        return term

    def _smoothed(self, m: Module, distances: list, margin, cost, clocks: int):
        """The cost with smoothed labels, a clock later; the distances are there after `clocks`."""
        net, tree = self.network, tree_latency(self.network.outputs)
        sums = add_tree(m, distances, distance_sum_bits(net) + 1)
        added = smoothing(m, net, sums, delayed(m, margin, tree - 1))
        waits = self.latency - 1 - (clocks + tree + smoothing_latency(net))
        total = Signal.like(cost)
        m.d.sync += total.eq(cost + delayed(m, added, waits))
        return total


UNITS = ("cross_entropy", CrossEntropy, ParallelCrossEntropy)
