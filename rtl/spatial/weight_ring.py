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
"""Clocks from a new position, or a new target, to the register that compares them."""


class WeightRing(wiring.Component):
    """Turns the ring of all weights to the one that is asked for, while not `busy`.

    Two clocks behind `turns` every weight moves on to the position before it: `leaving` is the
    weight in the first position, and the last position takes `entering`.
    A request's `word` is the number of a weight.  A read is answered 3 clocks after the request.  A
    write takes 7 and leaves the ring one turn further, so that the next number is in front already;
    each turn before that takes TURN clocks more.  `home` says that every weight is in its own
    position, and `return_home` turns them there, which takes up to four clocks besides.
    The host's weights are golden_model.trainer.Trainer.weights in their order.
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
                "leaving": In(weight),
                "entering": Out(weight),
            }
        )

    def elaborate(self, platform):
        m = Module()
        words = self.config.lane_words
        request = Signal(weight_request_layout(self.config))
        active, writing, returns = Signal(), Signal(), Signal()
        position, target = Signal(range(words)), Signal(range(words))
        """Numbers of the weight in the first position, and of the one that shall be there."""
        differs, at_home, starts, settling = Signal(), Signal(), Signal(), Signal(range(TURN))
        open_, accepted = Signal(), Signal()
        # `turns` is two registers away from the weights, that of a neuron and that of a group.
        turns_1, turns_2, moving = Signal(), Signal(), Signal()
        m.d.comb += [
            target.eq(Mux(active, request.word, 0)),
            self.home.eq(at_home & ~active),
            # A register, except for the two signals that must forbid a request at once: much logic
            # follows from a request.
            self.request.ready.eq(open_ & ~(self.busy | self.return_home)),
            accepted.eq(self.request.valid & self.request.ready),
            self.written.eq(writing),
            moving.eq(self.turns | turns_1 | turns_2),
            self.entering.eq(Mux(writing, request.data, self.leaving)),
        ]
        # `settling` counts the clocks until the comparison is that of this position and target.
        m.d.sync += [
            self.turns.eq(starts),
            turns_1.eq(self.turns),
            turns_2.eq(turns_1),
            open_.eq(~(accepted | active | moving | self.reply.valid)),
            returns.eq(self.return_home),
            differs.eq(position != target),
            at_home.eq(~(active | moving) & (position == 0)),
        ]
        with m.If(turns_2):
            m.d.sync += position.eq(Mux(position == words - 1, 0, position + 1))
        with m.If(self.reply.ready):
            m.d.sync += self.reply.valid.eq(0)
        with m.If(accepted):
            m.d.sync += [request.eq(self.request.payload), active.eq(1), settling.eq(COMPARES)]
        with m.Elif(settling != 0):
            m.d.sync += settling.eq(settling - 1)
        with m.Elif((active | returns) & differs):
            m.d.comb += starts.eq(1)
            m.d.sync += settling.eq(TURN - 1)
        with m.Elif(active & request.write & ~writing):
            m.d.comb += starts.eq(1)
            m.d.sync += writing.eq(1)
        with m.Elif(active & (~request.write | turns_2)):
            m.d.sync += [active.eq(0), writing.eq(0), settling.eq(COMPARES)]
            with m.If(~request.write):
                m.d.sync += [self.reply.valid.eq(1), self.reply.payload.eq(self.leaving)]
        return m
