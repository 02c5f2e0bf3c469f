"""The host's way to weights that are registers, not words of a memory."""

from __future__ import annotations

from amaranth import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.core import weight_request_layout
from rtl.spatial.config import SpatialConfig


class WeightRing(wiring.Component):
    """Turns the ring of all weights once round for each access, while not `busy`.

    `turn` moves every weight on to its neighbour; `last` is the last one's, and the first takes
    `first`.  A request's `word` is the number of a weight.  An access takes one clock per weight
    and two more; a read is answered then.
    """

    def __init__(self, config: SpatialConfig) -> None:
        self.config = config
        weight = signed(config.network.weight_bits)
        super().__init__(
            {
                "busy": In(1),
                "request": In(stream.Signature(weight_request_layout(config))),
                "reply": Out(stream.Signature(weight)),
                "written": Out(1),
                "turn": Out(1),
                "last": In(weight),
                "first": Out(weight),
            }
        )

    def elaborate(self, platform):
        m = Module()
        request = Signal(weight_request_layout(self.config))
        place = Signal(range(self.config.lane_words))
        """Number of the weight that is the last one now."""
        m.d.comb += [
            self.request.ready.eq(~self.busy & ~self.turn & ~self.reply.valid),
            self.written.eq(self.turn & request.write),
            self.first.eq(self.last),
        ]
        with m.If(self.reply.ready):
            m.d.sync += self.reply.valid.eq(0)
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [
                request.eq(self.request.payload),
                place.eq(self.config.lane_words - 1),
                self.turn.eq(1),
            ]
        with m.If(self.turn):
            m.d.sync += place.eq(place - 1)
            with m.If(place == 0):
                m.d.sync += [self.turn.eq(0), self.reply.valid.eq(~request.write)]
            with m.If(place == request.word):
                m.d.sync += self.reply.payload.eq(self.last)
                with m.If(request.write):
                    m.d.comb += self.first.eq(request.data)
        return m
