"""Sequential perturbation: golden_model.perturbations.sequential, one quantity at a time."""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed

from mgd.golden_model.perturbations import sequential
from mgd.protocol.run_codes import PAIR_BITS, total
from mgd.rtl.folded.perturbations.base import Family
from mgd.rtl.lib.delay import delayed


class Sequential(Family):
    """The number of the quantity that is perturbed goes a stride further with every draw.

    A lane is active where its quantity's number is that one: number of lane 0's plus the lane's
    own times the inputs of the layer's neurons.
    Cost: about six registers of a number's width, and a comparison with constants per lane.
    """

    name = "sequential"
    model = sequential.Sequential

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        numberings = self.numberings()
        counts = [total(numbering) for numbering in numberings]
        bits = max(counts).bit_length()
        upcoming, stride = Signal(bits), Signal(bits)
        """upcoming: the number of the quantity that the next draw perturbs."""
        current, previous = Signal(bits), Signal(bits)
        advanced = Signal(bits + 1)
        count = Mux(self.nodes, Const(counts[1], bits + 1), Const(counts[0], bits + 1))
        m.d.comb += advanced.eq(upcoming + stride)
        with m.If(self.load):
            m.d.sync += [
                upcoming.eq(self.data[:PAIR_BITS]),
                stride.eq(self.data[PAIR_BITS:]),
            ]
        with m.If(self.new_draw):
            m.d.sync += [
                current.eq(upcoming),
                upcoming.eq(Mux(advanced >= count, advanced - count, advanced)),
            ]
        with m.If(self.keep_draw):
            m.d.sync += previous.eq(current)

        # Clock 1: how far the quantity is behind the token's in lane 0.
        first, layer = Signal(bits), Signal(range(max(cfg.network.depth, 2)))
        counted = Signal()
        starts = [self.starts(numbering) for numbering in numberings]
        m.d.comb += first.eq(Mux(self.nodes, *(self._table(starts[k], bits) for k in (1, 0))))
        flags = [Const(start is not None, 1) for start in starts[0]]
        m.d.sync += [
            counted.eq(Array(flags)[self.group]),
            layer.eq(self._table([group["layer"] for group in cfg.group_table], len(layer))),
        ]
        # Of lane 0; a lane's own is so many neurons further.
        token = first + Mux(self.nodes, 0, self.input)
        nodes = delayed(m, self.nodes, 1)
        fan_ins = Array([Const(n + 1) for n in cfg.network.layers[:-1]])
        for number, active, latency in (
            (current, self.active, self.signs_latency),
            (previous, self.previous_active, self.latency),
        ):
            distance = Signal(signed(bits + 2))
            m.d.sync += distance.eq(number - token)
            # Clock 2: the lane whose quantity is at that distance.
            hits = Signal(cfg.lanes)
            m.d.sync += hits.eq(
                Cat(
                    counted & (distance == Mux(nodes, lane, lane * fan_ins[layer]))
                    for lane in range(cfg.lanes)
                )
            )
            m.d.comb += active.eq(delayed(m, hits, latency - 2))
        return m

    def _table(self, values, bits: int):
        return Array([Const(value or 0, bits) for value in values])[self.group]


FAMILY = Sequential
