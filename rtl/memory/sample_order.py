"""The address of the next training sample, where that is not the next one in memory."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from mgd.golden_model.samples import order
from mgd.golden_model.samples.order import EPOCH, KEYS, RANDOM, WORD_BITS
from mgd.golden_model.signs.sequence import STATE_BITS
from mgd.protocol.run_codes import COUNTS_BITS, PLACE_BITS, SAMPLE_COUNTS, SAMPLE_WINDOW
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.signs import next_bit
from mgd.rtl.lib.unit import Unit
from mgd.rtl.memory.samples import ADDRESS_BITS, ADDRESSED, REQUEST

COUNTS_LAYOUT = data.StructLayout(COUNTS_BITS)
"""The number that CODES brings for SAMPLE_COUNTS."""


def request_layout(config: CoreConfig) -> data.StructLayout:
    """Of a core's requests for samples."""
    return ADDRESSED if config.variant.ordered else REQUEST


class SampleOrder(Unit):
    """The order of kind "epoch" or "random".

    It is between a core that requests samples, `i`, and their memory, `o`: a training sample's
    request leaves with the address of its record, which is `stride` words long.  `load` takes
    `data`, the number of protocol.run_codes for `part`; SAMPLE_WINDOW, the last of them, starts
    the search for the first place.  After that a search starts when the place before was used.
    It takes 50 clocks with "random".  With "epoch" it takes 22, KEYS·32 more for the first place of
    an epoch, and for each permuted place, of which there are fewer than two on average, 42 plus the
    number of bits of the sample count.

    Cost: all arithmetic is serial, a bit a clock, with one adder of ADDRESS_BITS.
    """

    model = order.SampleOrder

    def __init__(self, kind: str, stride: int) -> None:
        self.kind = kind
        self.stride = stride
        super().__init__(
            {
                "load": In(1),
                "part": In(2),
                "data": In(STATE_BITS),
                "i": In(stream.Signature(REQUEST)),
                "o": Out(stream.Signature(ADDRESSED)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        s, window, part = Signal(COUNTS_LAYOUT), Signal(STATE_BITS), self.part
        ready, begin = Signal(), Signal()
        last = s.place == s.count - 1
        # total ← 2·total + (factor where x has a 1), x from its highest bit on: total + x·factor
        # after PLACE_BITS rounds.
        total, x, factor = Signal(ADDRESS_BITS), Signal(PLACE_BITS), Signal(ADDRESS_BITS)
        turn = Signal(range(KEYS * WORD_BITS))

        evaluates, passes, consumed = self.i.payload.evaluate, Signal(), Signal()
        m.d.comb += [
            passes.eq(evaluates | ready),
            self.o.payload.evaluate.eq(evaluates),
            self.o.payload.address.eq(Mux(evaluates, 0, total)),
            self.o.valid.eq(self.i.valid & passes),
            self.i.ready.eq(self.o.ready & passes),
            consumed.eq(self.i.valid & self.i.ready & ~evaluates),
        ]
        with m.FSM():
            with m.State("READY"):
                m.d.sync += turn.eq(0)
                with m.If(consumed):
                    m.d.sync += [ready.eq(0), total.eq(0), s.place.eq(Mux(last, 0, s.place + 1))]
                    m.next = "DRAW" if self.kind == RANDOM else "PLACE"
                    with m.If(last):
                        m.next = "DRAW"
                with m.If(begin):
                    m.d.sync += [begin.eq(0), total.eq(0)]
                    m.next = "DRAW"
            with m.State("DRAW"):
                m.d.sync += turn.eq(turn + 1)
                with m.If(~begin):
                    m.d.sync += window.eq(Cat(window[1:], next_bit(window)))
                if self.kind == RANDOM:
                    self._draw_place(m, s, window[0], total, x, turn)
                else:
                    keys = self._draw_keys(m, window[0], turn)
            if self.kind == EPOCH:
                self._shuffle(m, s, keys, begin, total, x, factor, turn)
            with m.State("ADDRESS"):
                m.d.comb += factor.eq(self.stride)
                self._multiply(m, total, x, factor, turn)
                with m.If(turn == PLACE_BITS - 1):
                    m.d.sync += ready.eq(~begin)
                    m.next = "READY"
        # A search that is running then completes with the new numbers; `begin` discards
        # its result.
        with m.If(self.load & (part == SAMPLE_COUNTS)):
            m.d.sync += s.eq(self.data)
        with m.If(self.load & (part == SAMPLE_WINDOW)):
            m.d.sync += [window.eq(self.data), begin.eq(1), ready.eq(0)]
        return m

    def _draw_place(self, m: Module, s, bit, total, x, turn) -> None:
        """⌊word·count / 2^32⌋, in 32 clocks: the word comes bit by bit, the least first, and the
        product's bits that can no longer reach the result are shifted out."""
        product = (total + Mux(bit, s.count, 0)) >> 1
        m.d.sync += total.eq(product)
        with m.If(turn == WORD_BITS - 1):
            m.d.sync += [x.eq(product), total.eq(0), turn.eq(0)]
            m.next = "ADDRESS"

    def _draw_keys(self, m: Module, bit, turn) -> Signal:
        """The low PLACE_BITS bits of each of KEYS words."""
        keys = Signal(KEYS * PLACE_BITS)
        with m.If(turn % WORD_BITS < PLACE_BITS):
            m.d.sync += keys.eq(Cat(keys[1:], bit))
        with m.If(turn == KEYS * WORD_BITS - 1):
            m.next = "PLACE"
        return keys

    def _shuffle(self, m: Module, s, keys, begin, total, x, factor, turn) -> None:
        """golden_model.samples.order.shuffled; the keys go round by one half of it."""
        multiplier, addend = keys.word_select(0, PLACE_BITS), keys.word_select(1, PLACE_BITS)
        second, mixed = Signal(), Signal(PLACE_BITS)
        few = ~s.low[1]  # one sample or two: the first half is all
        m.d.comb += mixed.eq((total + addend) & s.low)
        with m.State("PLACE"):
            m.d.sync += [x.eq(s.place), turn.eq(0), second.eq(0)]
            m.next = "MULTIPLY"
        with m.State("MULTIPLY"):
            m.d.comb += factor.eq(multiplier | 1)
            self._multiply(m, total, x, factor, turn)
            with m.If(turn == PLACE_BITS - 1):
                m.next = "ADD"
        with m.State("ADD"):
            m.d.sync += [x.eq(mixed), total.eq(mixed), turn.eq(0)]
            m.next = "SHIFT"
        with m.State("SHIFT"):
            m.d.sync += [total.eq(total >> 1), turn.eq(turn + 1)]
            with m.If(turn == s.half):
                m.d.sync += [x.eq(x ^ total[:PLACE_BITS]), total.eq(0), turn.eq(0)]
                m.d.sync += second.eq(~second)
                m.next = "MULTIPLY"
                with m.If(second | few):
                    m.next = "LOOK"
                with m.If(~few):
                    m.d.sync += keys.eq(keys.rotate_right(2 * PLACE_BITS))
        with m.State("LOOK"):
            m.next = "MULTIPLY"
            # `begin` ends the search as well, because with new numbers an old one might never end.
            with m.If((x < s.count) | begin):
                m.next = "ADDRESS"

    def _multiply(self, m: Module, total, x, factor, turn) -> None:
        m.d.sync += [
            total.eq((total << 1) + Mux(x[-1], factor, 0)),
            x.eq(x << 1),
            turn.eq(turn + 1),
        ]
        with m.If(turn == PLACE_BITS - 1):
            m.d.sync += turn.eq(0)
