"""The host's way to weights that are registers, not words of a memory."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.interface import weight_request_layout
from mgd.rtl.spatial.config import SpatialConfig

TURN = 5
"""Clocks from one turn of the ring to the next."""
COMPARES = 1
"""Clocks from a new place, or a new target, to the register that compares them."""


class WeightRing(wiring.Component):
    """Turns the ring of all weights to the one that is asked for, while not `busy`.

    Two clocks behind `turns` every weight moves on to the place before it: `last` is the first
    place's, which leaves it, and the last place takes `first`.
    A request's `word` is the number of a weight.  A read is answered 3 clocks after the request, a
    write takes 7 and goes one further, so that the next number is there without a turn; each turn
    before takes TURN clocks more.  `home` says that every weight is in its place, and `return_home`
    turns them there, which takes up to four clocks besides.
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
                "turns": Out(1),
                "last": In(weight),
                "first": Out(weight),
            }
        )

    def elaborate(self, platform):
        m = Module()
        words = self.config.lane_words
        request = Signal(weight_request_layout(self.config))
        active, writing, returns = Signal(), Signal(), Signal()
        place, target = Signal(range(words)), Signal(range(words))
        """Number of the weight that is in the first place, and of the one that is to be there."""
        differs, at_home, starts, still = Signal(), Signal(), Signal(), Signal(range(TURN))
        opens, taken = Signal(), Signal()
        # `turns` is two registers away from the weights, that of a neuron and that of a group.
        there, turn, moves = Signal(), Signal(), Signal()
        m.d.comb += [
            target.eq(Mux(active, request.word, 0)),
            self.home.eq(at_home & ~active),
            # Much follows from a request: but for what may forbid it at once, a register.
            self.request.ready.eq(opens & ~(self.busy | self.return_home)),
            taken.eq(self.request.valid & self.request.ready),
            self.written.eq(writing),
            moves.eq(self.turns | there | turn),
            self.first.eq(Mux(writing, request.data, self.last)),
        ]
        # `still` counts the clocks until the comparison is about what is there now.
        m.d.sync += [
            self.turns.eq(starts),
            there.eq(self.turns),
            turn.eq(there),
            opens.eq(~(taken | active | moves | self.reply.valid)),
            returns.eq(self.return_home),
            differs.eq(place != target),
            at_home.eq(~(active | moves) & (place == 0)),
        ]
        with m.If(turn):
            m.d.sync += place.eq(Mux(place == words - 1, 0, place + 1))
        with m.If(self.reply.ready):
            m.d.sync += self.reply.valid.eq(0)
        with m.If(taken):
            m.d.sync += [request.eq(self.request.payload), active.eq(1), still.eq(COMPARES)]
        with m.Elif(still != 0):
            m.d.sync += still.eq(still - 1)
        with m.Elif((active | returns) & differs):
            m.d.comb += starts.eq(1)
            m.d.sync += still.eq(TURN - 1)
        with m.Elif(active & request.write & ~writing):
            m.d.comb += starts.eq(1)
            m.d.sync += writing.eq(1)
        with m.Elif(active & (~request.write | turn)):
            m.d.sync += [active.eq(0), writing.eq(0), still.eq(COMPARES)]
            with m.If(~request.write):
                m.d.sync += [self.reply.valid.eq(1), self.reply.payload.eq(self.last)]
        return m
