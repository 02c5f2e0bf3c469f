"""Walsh codes: golden_model.perturbations.walsh, the parity of a row and the draw's number."""

from __future__ import annotations

from itertools import pairwise

from amaranth import Array, Cat, Const, Module, Mux, Signal

from mgd.golden_model.perturbations import walsh
from mgd.golden_model.perturbations.walsh import code_bits
from mgd.protocol.run_codes import PAIR_BITS, total
from mgd.rtl.folded.perturbations.base import Family
from mgd.rtl.lib.delay import delayed


class Walsh(Family):
    """The row of quantity k is a·(k+1): every lane's is that of lane 0 and a multiple of a.

    `load` walks through all quantities once, adding a, and notes the row of lane 0 at the
    start of each group and how far each lane's is from it in each layer.
    Cost: about p·(groups + lanes·layers) registers for these, an adder of p bits and two parities
    per lane, p being the bits of the number of quantities.
    """

    name = "walsh"
    model = walsh.Walsh

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        numberings = self.numberings()
        bits = [code_bits(total(numbering)) for numbering in numberings]
        # Rows modulo the longer code; with a shorter one the masks below drop the upper bits.
        row_bits = max(bits)
        factor = Signal(row_bits)
        upcoming, current, previous = (
            Signal(row_bits + 1, name=name) for name in ("upcoming", "current", "previous")
        )
        with m.If(self.load):
            m.d.sync += [
                factor.eq(self.data[:PAIR_BITS]),
                upcoming.eq(self.data[PAIR_BITS:]),
            ]
        with m.If(self.new_draw):
            m.d.sync += [current.eq(upcoming), upcoming.eq(upcoming + 1)]
        with m.If(self.keep_draw):
            m.d.sync += previous.eq(current)

        starts, offsets = self._walk(m, factor)
        # Clock 1: lane 0's row at the start of the group, and the factors of the inputs before this
        # one; clock 2: lane 0's row; clock 3: each lane's; clock 4: parities with both draws.
        table, inputs = Signal(row_bits), Signal(row_bits)
        layer = Signal(range(max(cfg.network.depth, 2)))
        layers = [Const(group["layer"], len(layer)) for group in cfg.group_table]
        first = self.input == 0
        # A group's inputs come in order from 0, so their sum needs no product.
        m.d.sync += [table.eq(Array(starts)[self.group]), layer.eq(Array(layers)[self.group])]
        with m.If(self.valid):
            m.d.sync += inputs.eq(Mux(first | self.nodes, 0, inputs + factor))
        row = Signal(row_bits)
        m.d.sync += row.eq(table + inputs)
        layer_2 = delayed(m, layer, 1)
        # The highest bit of the draw's number inverts all signs.
        inverts = [Mux(self.nodes, draw[bits[1]], draw[bits[0]]) for draw in (current, previous)]
        masks = [Const((1 << count) - 1, row_bits) for count in bits]
        used_bits = Mux(self.nodes, masks[1], masks[0])
        signs: list[list] = [[], []]
        for lane in range(cfg.lanes):
            own = Signal(row_bits, name=f"row_{lane}")
            m.d.sync += own.eq(row + Array([offset[lane] for offset in offsets])[layer_2])
            for k, draw in enumerate((current, previous)):
                signs[k].append((own & draw[:row_bits] & used_bits).xor() ^ inverts[k])
        for port, values, latency in (
            (self.signs, signs[0], self.signs_latency),
            (self.previous_signs, signs[1], self.latency),
        ):
            parity = Signal(cfg.lanes)
            m.d.sync += parity.eq(Cat(*values))
            m.d.comb += port.eq(delayed(m, parity, latency - 4))
        self.perturb_trained(m)
        return m

    def _walk(self, m: Module, factor) -> tuple[list[Signal], list[list[Signal]]]:
        """The row of lane 0 at each group's start, and for each layer each lane's distance from it.

        After `load` it visits one quantity a clock, in the order of their numbers.
        """
        cfg, net = self.config, self.config.network
        trained = cfg.variant.layers(net)
        starts = [Signal(len(factor), name=f"start_{k}") for k in range(len(cfg.group_table))]
        offsets = [
            [Signal(len(factor), name=f"offset_{layer}_{lane}") for lane in range(cfg.lanes)]
            for layer in range(net.depth)
        ]
        row, base = Signal(len(factor)), Signal(len(factor))
        walking, ends_neuron = Signal(), Signal()
        layer, group = Signal(range(net.depth)), Signal(range(max(len(starts), 2)))
        lane, node, position = Signal(range(cfg.lanes)), Signal(range(max(net.layers))), Signal(13)
        begins = Signal()

        def of_layer(values):
            return Array([Const(value) for value in values])[layer]

        m.d.comb += [
            self.ready.eq(~walking),
            begins.eq(position == 0),
            ends_neuron.eq(self.nodes | (position == of_layer(net.layers[:-1]))),
        ]
        last_node = node == of_layer([nodes - 1 for nodes in net.layers[1:]])
        with m.If(self.load):
            m.d.sync += [
                walking.eq(1),
                *(signal.eq(0) for signal in (group, lane, node, position)),
                layer.eq(trained[0]),
                group.eq(cfg.first_group[trained[0]]),
                row.eq(self.data[:PAIR_BITS]),
            ]
        with m.Elif(walking):
            m.d.sync += [row.eq(row + factor), position.eq(position + 1)]
            with m.If(begins & (lane == 0)):
                m.d.sync += base.eq(row)
                for number, start in enumerate(starts):
                    with m.If(group == number):
                        m.d.sync += start.eq(row)
            with m.If(begins & (node == lane)):  # the layer's first group
                for number, row_of in enumerate(offsets):
                    for which, offset in enumerate(row_of):
                        with m.If((layer == number) & (lane == which)):
                            m.d.sync += offset.eq(Mux(lane == 0, 0, row - base))
            with m.If(ends_neuron):
                m.d.sync += [position.eq(0), node.eq(node + 1), lane.eq(lane + 1)]
                with m.If(last_node | (lane == cfg.lanes - 1)):
                    m.d.sync += [lane.eq(0), group.eq(group + 1)]
                with m.If(last_node):
                    after = dict(pairwise(trained))
                    next_layer = [after.get(k, 0) for k in range(net.depth)]
                    m.d.sync += [
                        node.eq(0),
                        layer.eq(of_layer(next_layer)),
                        group.eq(of_layer([cfg.first_group[k] for k in next_layer])),
                    ]
                    with m.If(layer == trained[-1]):
                        m.d.sync += walking.eq(0)
        return starts, offsets


FAMILY = Walsh
