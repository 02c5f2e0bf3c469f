"""Phases for frequency multiplexing: golden_model.perturbations.waves, one for each quantity."""

from __future__ import annotations

from abc import abstractmethod

from amaranth import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.golden_model.perturbations.waves import phase_bits
from mgd.protocol.run_codes import total
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.perturbations.base import Family
from mgd.rtl.folded.signs import SignGenerator
from mgd.rtl.lib.delay import delayed


class Waves(Family):
    """A memory holds the phase of every quantity, at the address of its weight.

    A phase goes k+1 further with every draw, whatever the draw's number is: the sweep on which the
    last update rides (`lead`) reads that of the draw before, adds k+1 and writes it back.  So no
    product with the draw's number is needed but once: `load` walks through all quantities, adds
    that number times k+1 from one to the next, collects the bits where each one's phase begins
    from the neurons' stretches, and writes the sum.  Phases are aligned to the top of the memory's
    words, also those of nodes, which are shorter.

    `load` takes p + 11 clocks per weight, p being the bits of a phase.
    Cost: a memory of lanes·p bits by a lane's words; two adders and three registers of p bits per
    lane.  To make the phases from the stretches in every sweep would take p parities of 20 to 40
    bits per lane instead.
    """

    def __init__(self, config: CoreConfig, **ports) -> None:
        super().__init__(
            config,
            bits=In(config.lanes),
            reads=Out(1),
            read_first=Out(1),
            read_group=Out(range(max(len(config.group_table), 2))),
            **ports,
        )

    def listen(self, m: Module, signs: SignGenerator) -> None:
        m.d.comb += self.bits.eq(signs.signs)
        with m.If(~self.ready):
            m.d.comb += [
                signs.valid.eq(self.reads),
                signs.first.eq(self.read_first),
                signs.group.eq(self.read_group),
                signs.nodes.eq(0),
                signs.slot.eq(0),
            ]

    @abstractmethod
    def show(self, m: Module, phases: list[Signal], which: str) -> None:
        """A clock later the ports `which` + … show the values at these phases, one per lane."""

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        numberings = self.numberings()
        counts = [phase_bits(total(numbering)) for numbering in numberings]
        bits = cfg.phase_bits

        def aligned(value, nodes):
            return Mux(nodes, value << (bits - counts[1]), value << (bits - counts[0]))[:bits]

        advances = Signal()
        with m.If(self.new_draw):
            m.d.sync += advances.eq(1)
        with m.Elif(self.keep_draw):
            m.d.sync += advances.eq(0)

        loading, writes, word, lane, start = self._walk(m, counts, aligned)
        m.submodules.phases = phases = Memory(
            shape=unsigned(cfg.lanes * bits),
            depth=cfg.lane_words,
            init=[],
            attrs={"no_rw_check": True},
        )
        read, write = phases.read_port(), phases.write_port()
        # Clock 2: the phases are addressed; clock 3: k+1 in lane 0; clock 4: the phases, and k+1 in
        # each lane; clock 5: their sums, which are written.
        address = delayed(m, Mux(loading, word, self.word), 2)
        steps = delayed(m, self.valid & self.lead & advances, 3)
        first, input_1 = Signal(bits), Signal.like(self.input)
        quantity, number = Signal(bits), Signal(bits)
        tables = [
            Array([Const(0 if k is None else k + 1, bits) for k in self.starts(numbering)])
            for numbering in numberings
        ]
        layers = Array([Const(group["layer"]) for group in cfg.group_table])
        layer = Signal(range(max(cfg.network.depth, 2)))
        m.d.sync += [
            first.eq(Mux(self.nodes, tables[1][self.group], tables[0][self.group])),
            input_1.eq(Mux(self.nodes, 0, self.input)),
            quantity.eq(first + input_1),
            number.eq(Mux(loading, start, aligned(quantity, self.nodes))),
            layer.eq(layers[self.group]),
        ]
        layer_3 = delayed(m, layer, 2)
        values = [Signal(bits, name=f"phase_{p}") for p in range(cfg.lanes)]
        sums = [Signal(bits, name=f"sum_{p}") for p in range(cfg.lanes)]
        for p, (value, advanced) in enumerate(zip(values, sums, strict=True)):
            # While loading, one lane's phase becomes `start`, the others stay.
            loaded = Signal(name=f"loaded_{p}")
            m.d.comb += loaded.eq(loading & (lane == p))
            distance = Array([Const(p * (n + 1), bits) for n in cfg.network.layers[:-1]])[layer_3]
            distance = Mux(loading, 0, aligned(Mux(self.nodes, p, distance), self.nodes))
            step = Signal(bits, name=f"step_{p}")
            m.d.sync += [
                value.eq(Mux(loaded, 0, read.data.word_select(p, bits))),
                step.eq(Mux(Mux(loading, loaded, steps), number + distance, 0)),
                advanced.eq(value + step),
            ]
        m.d.comb += [
            read.addr.eq(address),
            write.addr.eq(delayed(m, address, 3)),
            write.data.eq(Cat(*sums)),
            write.en.eq(Mux(loading, writes, delayed(m, steps, 2))),
        ]
        self.show(m, values, "previous_")
        self.show(m, sums, "")

        self.perturb_trained(m)
        return m

    def _walk(self, m: Module, counts: list[int], aligned):
        """Visits all weights, neuron by neuron, after `load`.  Returns whether it is under way,
        whether a phase is written in this clock, its word and lane, and, 2 clocks ahead of that
        lane's step, the phase."""
        cfg, table, bits = self.config, self.config.group_table, self.config.phase_bits
        loading, writes = Signal(), Signal()
        group, lane = Signal.like(self.group), Signal(range(max(cfg.lanes, 2)))
        position, word, first_word = (
            Signal.like(like) for like in (self.input, self.word, self.word)
        )
        draw, advance = Signal(bits), Signal(bits)
        """draw: the draw's number; advance: k + 1 times that."""
        # Bits leave the sign generator signs_latency clocks after they were asked for; then there
        # are four clocks to the sum that is written: two of these registers, and two of each lane.
        clock = Signal(range(bits + self.signs_latency + 5))
        count = Mux(self.nodes, counts[1], counts[0])
        collected, start = Signal(bits), Signal(bits)

        def of_group(values):
            return Array([Const(int(value)) for value in values])[group]

        m.d.comb += [
            self.ready.eq(~loading),
            self.reads.eq(loading & (clock < count)),
            self.read_first.eq((clock == 0) & (self.nodes | (position == 0))),
            self.read_group.eq(group),
            writes.eq(loading & (clock == count + (self.signs_latency + 4))),
        ]
        # Below a node's phase, which is shorter, are bits of an earlier collection: nothing is ever
        # added to these, so they carry nothing into the phase.
        m.d.sync += start.eq(collected + advance)
        with m.If(delayed(m, self.reads, self.signs_latency)):
            m.d.sync += collected.eq(Cat(collected[1:], self.bits.bit_select(lane, 1)))
        with m.If(loading):
            m.d.sync += clock.eq(clock + 1)
        ends_neuron = position == of_group(cfg.network.layers[entry["layer"]] for entry in table)
        ends_group = lane == of_group(entry["active"] - 1 for entry in table)
        trained = cfg.variant.layers(cfg.network)
        counted = of_group(entry["layer"] in trained for entry in table)
        with m.If(writes):
            m.d.sync += [clock.eq(0), position.eq(position + 1), word.eq(word + 1)]
            with m.If(counted & (~self.nodes | ends_neuron)):
                m.d.sync += advance.eq(advance + draw)
            with m.If(ends_neuron):
                m.d.sync += [position.eq(0), lane.eq(lane + 1), word.eq(first_word)]
                with m.If(ends_group):
                    m.d.sync += [lane.eq(0), group.eq(group + 1)]
                    m.d.sync += [word.eq(word + 1), first_word.eq(word + 1)]
                    with m.If(group == len(table) - 1):
                        m.d.sync += loading.eq(0)
        with m.If(self.load):
            number = aligned(self.data, self.nodes)
            m.d.sync += [
                loading.eq(1),
                *(signal.eq(0) for signal in (clock, group, lane, position, word, first_word)),
                draw.eq(number),
                advance.eq(number),
            ]
        return loading, writes, word, lane, start
