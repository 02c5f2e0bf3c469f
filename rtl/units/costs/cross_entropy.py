"""Cross-entropy of a softmax to base 2: golden_model.costs.cross_entropy."""

from __future__ import annotations

from amaranth import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib.memory import Memory

from mgd.golden_model.costs.cross_entropy import exp_sum_bits
from mgd.golden_model.network import Network
from mgd.golden_model.tables import EXP2, LOG2, TABLE_FRAC
from mgd.rtl.lib.adder_tree import add_tree, tree_latency
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.piecewise import LATENCY as TABLE_LATENCY
from mgd.rtl.lib.piecewise import TABLE, interpolate
from mgd.rtl.units.costs.base import SOON, Cost, ParallelCost, largest, value_bits
from mgd.rtl.units.costs.smoothing import distance_sum_bits, smoothing, smoothing_latency


class CrossEntropy(Cost):
    """Equals golden_model.costs.cross_entropy.

    The outputs are kept while they arrive and the largest is found; then the terms
    2^(z − zmax) are summed, one a clock, and the logarithm is taken.  The next pass arrives
    meanwhile: the memory has two halves, one that collects and one that is worked on.
    Smoothed labels take a clock more.
    Cost: one multiplier for both tables.
    """

    @staticmethod
    def latency(network: Network, dsp: bool = True, registered: bool = False) -> int:
        clocks = 8 + registered if dsp else 11
        return network.outputs + clocks + bool(network.smoothing_exp)

    @staticmethod
    def product(network: Network) -> tuple[int, int] | None:
        return TABLE

    @staticmethod
    def spacing(network: Network, dsp: bool = True, registered: bool = False) -> int:
        return CrossEntropy.latency(network, dsp, registered) + 1

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
            # Not in the clock in which a result leaves: who takes it says so at the end of it.
            start.eq((ends | waiting) & ~busy),
            half.eq(Mux(reading, works, waiting ^ collects)),
        ]
        with m.If(ends):
            m.d.sync += [collects.eq(~collects), waiting.eq(1)]
        with m.If(leaves):
            m.d.sync += busy.eq(0)

        # The largest so far, and of the pass that is worked on.
        value = p.value[: self.value_bits].as_signed()
        highest, category, _ = self._largest(m, transfer, value)
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
            ]
        # The search has just ended; what the next pass' finds in this clock shows in the next.
        started = delayed(m, start, 1)
        with m.If(started):
            m.d.sync += [top.eq(highest), top_category.eq(category)]

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
        m.d.sync += distance.eq(Mux(started, highest, top) - read.data)
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
        # A product in logic means a device of slow logic: the shift gets a register of its own.
        registers = 0 if self.dsp else 1
        behind = registers or int(self.registered)
        at_sum = 2 + TABLE_LATENCY + 1 + registers
        total = Signal(unsigned(exp_sum_bits(net)))
        term = Signal(TABLE_FRAC + 1)
        m.d.comb += term.eq(power >> delayed(m, whole, TABLE_LATENCY + 1))
        term = delayed(m, term, registers)
        adds = delayed(m, start | reading, at_sum)
        with m.If(started):
            m.d.sync += total.eq(0)
        with m.Elif(adds):
            m.d.sync += total.eq(total + term)

        # Logarithm: normalise and table (2), then everything is added up (1).  A product in logic
        # begins with an adder and ends with two: it has a register before and behind it.  (A block
        # ends with one adder: it has a register behind it where `registered` says so.)
        exponent, normal = Signal(range(len(total) - TABLE_FRAC)), Signal.like(position)
        for k in range(TABLE_FRAC, len(total)):
            with m.If(total[k:] == 1):
                m.d.comb += normal.eq(total[:k] << (len(position) - k))
                m.d.comb += exponent.eq(k - TABLE_FRAC)
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
            + ((delayed(m, exponent, TABLE_LATENCY - 1 + behind) << TABLE_FRAC) | (1 << cut >> 1))
        )
        cost = Signal(unsigned(net.cost_bits))
        # The terms' register is the logarithm's, too: it comes out of an adder.
        logged = power if behind else found
        finishes, done = delayed(m, logarithm, TABLE_LATENCY + behind), Signal()
        with m.If(finishes):
            m.d.sync += cost.eq((known + logged) >> cut << max(net.cost_frac - TABLE_FRAC, 0))
        after = at_table + TABLE_LATENCY + behind + 1
        if net.smoothing_exp:
            # What smoothing adds is there before the cost, and both stay until the result leaves.
            distances = Signal(distance_sum_bits(net))
            counts = delayed(m, start | reading, 2)
            with m.If(start):
                m.d.sync += distances.eq(0)
            with m.Elif(counts):
                m.d.sync += distances.eq(distances + distance)
            assert 3 + smoothing_latency(net) <= after
            more, plain = smoothing(m, net, distances, margin), cost
            cost, finishes, after = Signal.like(plain), delayed(m, finishes, 1), after + 1
            with m.If(finishes):
                m.d.sync += cost.eq(plain + more)
        with m.If(finishes):
            m.d.sync += done.eq(1)
        with m.If(leaves):
            m.d.sync += done.eq(0)
        m.d.comb += [
            self.soon.eq(delayed(m, last_read, after - SOON) & second),
            self.o.valid.eq(done),
            self.o.payload.cost.eq(cost),
            self.o.payload.category.eq(top_category),
            self.o.payload.second.eq(second),
        ]
        return m


class ParallelCrossEntropy(ParallelCost):
    """Equals golden_model.costs.cross_entropy."""

    @staticmethod
    def latency_of(network: Network) -> int:
        # The largest, distances, table, shift, sum, logarithm.
        outputs = network.outputs
        found = (outputs - 1).bit_length()
        plain = found + 1 + TABLE_LATENCY + 1 + 1 + tree_latency(outputs) + TABLE_LATENCY + 1
        return plain + bool(network.smoothing_exp)

    @staticmethod
    def products(network: Network) -> int:
        return network.outputs + 1

    def elaborate(self, platform):
        m = Module()
        net = self.network
        values = [self.values[k] for k in range(net.outputs)]
        top, category, clocks = largest(m, values)
        bits = value_bits(net)
        distances, terms = [], []
        for k, value in enumerate(values):
            distance = Signal(unsigned(bits), name=f"distance_{k}")
            m.d.sync += distance.eq(top - delayed(m, value, clocks))
            distances.append(distance)
            power, term = Signal(unsigned(TABLE_FRAC + 1)), Signal(unsigned(TABLE_FRAC + 1))
            m.d.sync += power.eq(interpolate(m, [EXP2], distance[: net.pre_frac], dsp=self.dsp))
            # Shifts of TABLE_FRAC + 1 and more leave nothing.
            whole = Signal(4, name=f"whole_{k}")
            assert (1 << len(whole)) - 1 == TABLE_FRAC + 1
            far = distance[net.pre_frac + len(whole) :].any()
            m.d.comb += whole.eq(distance[net.pre_frac :] | far.replicate(len(whole)))
            m.d.sync += term.eq(power >> delayed(m, whole, TABLE_LATENCY + 1))
            terms.append(term)
        label = delayed(m, self.label, clocks + 1)
        margin = Signal(unsigned(bits))
        m.d.sync += margin.eq(Array(distances)[label])

        width = exp_sum_bits(net)
        total = add_tree(m, terms, width + 1)[:width]
        position, exponent = Signal(width - 1), Signal(range(width - TABLE_FRAC))
        for k in range(TABLE_FRAC, width):
            with m.If(total[k:] == 1):
                m.d.comb += [position.eq(total[:k] << (width - 1 - k)), exponent.eq(k - TABLE_FRAC)]
        found = interpolate(m, [LOG2], position, dsp=self.dsp)
        # All that is known before the table's value, and a half to round with.  The margin is a
        # whole number of the cost's units: rounding the sum rounds the logarithm alone.
        cut = max(TABLE_FRAC - net.cost_frac, 0)
        late = TABLE_LATENCY + 2 + tree_latency(net.outputs) + TABLE_LATENCY - 2
        known = Signal(unsigned(net.cost_bits + cut))
        m.d.sync += known.eq(
            (delayed(m, margin, late) << (TABLE_FRAC - net.pre_frac))
            + ((delayed(m, exponent, TABLE_LATENCY - 1) << TABLE_FRAC) | (1 << cut >> 1))
        )
        cost = Signal(net.cost_bits)
        m.d.sync += cost.eq((known + found) >> cut << max(net.cost_frac - TABLE_FRAC, 0))
        if net.smoothing_exp:
            sums = add_tree(m, distances, distance_sum_bits(net) + 1)
            added = delayed(m, margin, tree_latency(net.outputs) - 1)
            more, plain = smoothing(m, net, sums, added), cost
            spent = clocks + 1 + tree_latency(net.outputs) + smoothing_latency(net)
            cost = Signal.like(plain)
            m.d.sync += cost.eq(plain + delayed(m, more, self.latency_of(net) - 1 - spent))
        m.d.comb += [
            self.cost.eq(cost),
            self.category.eq(delayed(m, category, self.latency_of(net) - clocks)),
        ]
        return m


UNITS = ("cross_entropy", CrossEntropy, ParallelCrossEntropy)
