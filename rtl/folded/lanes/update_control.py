"""Which tokens' weights take an update, and when the lanes hear of it."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.program.loop_engine import token_layout
from mgd.rtl.folded.program.token_timing import TokenTiming
from mgd.rtl.lib.delay import delayed


class UpdateControl(wiring.Component):
    """Keeps what a token does to its weight in step with its way through the lanes.

    token, valid: the loop engine's.  `update`: the step before has left an update; `change`: its
    window of tau_theta steps is over, so that weights change; both are stable during a sweep, as
    `accumulates` is.

    `allowed` says of a token, TokenTiming.update_term − 1 clocks after it, whether it takes an
    update term at all; `change_allowed`, TokenTiming.lane_term clocks after it, whether its
    weight takes what its accumulator has.

    `term` goes to the broadcast a clock before its term; `apply_accumulator` to the lanes with the
    term; `written` is high, and `written_word` the address, TokenTiming.mac clocks after a token
    whose new weight is to be stored.  `address` is the lanes', TokenTiming.address clocks after the
    token: a register for all of them.  While the core is not `busy` both addresses are `host_word`,
    a clock later.  `drained`: no token is on its way to the memories.

    Updates are written to one word after the other, from the first one on, since lead sweeps visit
    all words in order (rtl.folded.program.rows): a counter, which `start` clears, is their address.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        word = range(max(config.lane_words, 2))
        super().__init__(
            {
                "token": In(token_layout(config)),
                "valid": In(1),
                "start": In(1),
                "update": In(1),
                "change": In(1),
                "accumulates": In(1),
                "allowed": In(1),
                "change_allowed": In(1),
                "busy": In(1),
                "host_word": In(word),
                "term": Out(1),
                "apply_accumulator": Out(1),
                "address": Out(word),
                "written": Out(1),
                "written_word": Out(word),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        at, token = TokenTiming.of(self.config), self.token
        updates_0 = Signal()
        m.d.comb += updates_0.eq(self.valid & token.lead & self.update)
        updates = delayed(m, updates_0, at.update_term - 1)
        at_lanes = delayed(m, updates, 1 + at.lane_term - at.update_term)
        # In a register for all lanes; the host's word is there when its access begins.
        address = Signal.like(self.address, reset_less=True)
        word = delayed(m, token.word, at.address - 1)
        m.d.sync += address.eq(Mux(self.busy, word, self.host_word))
        # A flush ends when its last write has: no token between the loop engine and the memories.
        in_flight = Signal(at.mac + 2)
        m.d.sync += in_flight.eq(Cat(self.valid, in_flight))
        m.d.comb += [
            self.term.eq(updates & self.allowed),
            self.apply_accumulator.eq(
                at_lanes & self.accumulates & self.change & self.change_allowed
            ),
            self.address.eq(address),
            self.written.eq(delayed(m, at_lanes, at.mac - at.lane_term)),
            self.drained.eq(in_flight == 0),
        ]
        written_word = Signal.like(self.written_word, reset_less=True)
        m.d.comb += self.written_word.eq(written_word)
        self._written_word(m, at, written_word)
        return m

    def _written_word(self, m: Module, at: TokenTiming, written_word) -> None:
        with m.If(~self.busy):
            m.d.sync += written_word.eq(self.host_word)
        with m.Elif(self.written):
            m.d.sync += written_word.eq(written_word + 1)
        with m.If(delayed(m, self.start, 1)):
            m.d.sync += written_word.eq(0)


class ScatteredUpdateControl(UpdateControl):
    """Where a sweep leaves words out (skip_zeros): the address follows the token's."""

    def _written_word(self, m: Module, at: TokenTiming, written_word) -> None:
        m.d.sync += written_word.eq(delayed(m, self.address, at.mac - at.address - 1))
        with m.If(~self.busy):
            m.d.sync += written_word.eq(self.host_word)


class OuterUpdateControl(UpdateControl):
    """With sums per node: `update` is high throughout an outer sweep, all of whose tokens change
    their weights, TokenTiming.outer_written clocks later; no other token does.

    The lanes' address is TokenTiming.outer_address clocks behind such a token.  The broadcast has
    no term of its own."""

    def elaborate(self, platform):
        m = Module()
        at, token = TokenTiming.of(self.config), self.token
        outer = Signal()
        m.d.comb += outer.eq(self.valid & self.update)
        word = delayed(m, token.word, at.address - 1)
        outer_word = delayed(m, word, at.outer_address - at.address)
        address = Signal.like(self.address, reset_less=True)
        m.d.sync += address.eq(Mux(self.busy, Mux(self.update, outer_word, word), self.host_word))
        in_flight = Signal(at.outer_written + 2)
        m.d.sync += in_flight.eq(Cat(self.valid, in_flight))
        written_word = Signal.like(self.written_word, reset_less=True)
        m.d.comb += [
            self.address.eq(address),
            self.written.eq(delayed(m, outer, at.outer_written)),
            self.written_word.eq(written_word),
            self.drained.eq(in_flight == 0),
        ]
        self._written_word(m, at, written_word)
        return m


def update_control(config: CoreConfig) -> UpdateControl:
    """That of the core: its sweeps visit every word, or leave some out, or change none."""
    if config.variant.by_node:
        return OuterUpdateControl(config)
    return (ScatteredUpdateControl if config.variant.skip_zeros else UpdateControl)(config)
