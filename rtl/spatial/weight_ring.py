"""The host's way to weights that are registers, not words of a memory."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.core import weight_request_layout
from rtl.spatial.config import SpatialConfig


class WeightRing(wiring.Component):
    """Turns the ring of all weights to the one that is asked for, while not `busy`.

    `turn` moves every weight on to the place before it: `last` is the first place's, which leaves
    it, and the last place takes `first`; `turns` is `turn` a clock before.
    A request's `word` is the number of a weight.  A read is answered 2 clocks after the request;
    a write takes 3 and goes one further, so that the next number is there without a turn; with
    turns it is one clock more and one for each.  `home` says that every weight is in its place,
    and `return_home` turns them there, in at most a clock for each weight and one more.
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
                "return_home": In(1),
                "home": Out(1),
                "turn": Out(1),
                "turns": Out(1),
                "last": In(weight),
                "first": Out(weight),
            }
        )

    def elaborate(self, platform):
        m = Module()
        words = self.config.lane_words
        request = Signal(weight_request_layout(self.config))
        active, writing = Signal(), Signal()
        place, following, now = Signal(range(words)), Signal(range(words)), Signal(range(words))
        """Number of the weight that is in the first place: now, and after a turn."""
        target = Signal(range(words))
        m.d.comb += [
            following.eq(Mux(place == words - 1, 0, place + 1)),
            now.eq(Mux(self.turn, following, place)),
            target.eq(Mux(active, request.word, 0)),
            self.home.eq(~active & ~self.turn & (place == 0)),
            self.request.ready.eq(
                ~self.busy & ~active & ~self.turn & ~self.reply.valid & ~self.return_home
            ),
            self.written.eq(writing),
            self.first.eq(Mux(writing, request.data, self.last)),
        ]
        # It reaches every weight, so it is a register, of which there may be more.
        m.d.comb += self.turns.eq((active | self.return_home) & ~writing & (now != target))
        m.d.sync += [place.eq(now), self.turn.eq(self.turns)]
        with m.If(self.reply.ready):
            m.d.sync += self.reply.valid.eq(0)
        with m.If(self.request.valid & self.request.ready):
            m.d.comb += self.turns.eq(0)
            m.d.sync += [request.eq(self.request.payload), active.eq(1)]
        with m.If(writing):
            m.d.sync += [active.eq(0), writing.eq(0)]
        with m.Elif(active & ~self.turn & (place == request.word)):
            with m.If(request.write):
                m.d.comb += self.turns.eq(1)
                m.d.sync += writing.eq(1)
            with m.Else():
                m.d.sync += [
                    active.eq(0),
                    self.reply.valid.eq(1),
                    self.reply.payload.eq(self.last),
                ]
        return m
