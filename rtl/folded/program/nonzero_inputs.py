"""Which inputs of a sample are not 0, and one after the other those that a sweep visits."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.rtl.folded.config import NONZERO_WORD, CoreConfig
from mgd.rtl.lib.unit import Unit


def visit_layout(config: CoreConfig) -> data.StructLayout:
    """One of the first layer's inputs, or its bias, the last one: its number, and whether it is not
    0 in the sample in use (`current`) and in the one whose update is due (`previous`)."""
    return data.StructLayout(
        {"input": range(config.network.layers[0] + 1), "bias": 1, "current": 1, "previous": 1}
    )


class NonzeroInputs(Unit):
    """Keeps a bit for each input of three samples, and walks through those of a sweep.

    `write` notes whether input `index` of sample buffer `buffer` is not 0 (`nonzero`).

    `start` begins a sweep, whose visits leave on `o`: every input that is not 0 in buffer
    sample_current, if `uses_current`, or in buffer sample_previous, if `uses_previous`, or all
    inputs if `all`, in order, and then the bias; again and again, until the next `start`.  Where
    there would be the bias alone the last input comes before it, since a group has two tokens or
    more.  The first visit leaves `latency` clocks behind `start`, the others one a clock; of
    NONZERO_WORD inputs that are looked at together and none of which is visited one clock is lost.
    The other ports are stable during a sweep, from the clock behind `start` on.

    Cost: a memory that is read twice, of a bit for each input of four samples.
    """

    latency = 4

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "write": In(1),
                "buffer": In(2),
                "index": In(range(config.network.layers[0] + 1)),
                "nonzero": In(1),
                "start": In(1),
                "sample_current": In(2),
                "sample_previous": In(2),
                "uses_current": In(1),
                "uses_previous": In(1),
                "all": In(1),
                "o": Out(stream.Signature(visit_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, inputs = self.config, self.config.network.layers[0]
        place = NONZERO_WORD.bit_length() - 1
        words = inputs // NONZERO_WORD + 1
        # No sample is read while it is written.
        m.submodules.bits = bits = Memory(
            shape=NONZERO_WORD, depth=cfg.nonzero_words, init=[], attrs={"no_rw_check": True}
        )
        write, current, previous = bits.write_port(), bits.read_port(), bits.read_port()

        # A word is written with each of its inputs, and is whole with the last one.
        gathered, together = Signal(NONZERO_WORD), Signal(NONZERO_WORD)
        own = self.nonzero << self.index[:place]
        m.d.comb += [
            together.eq(Mux(self.index[:place] == 0, 0, gathered) | own),
            write.addr.eq(Cat(self.index[place:], self.buffer)[: len(write.addr)]),
            write.data.eq(together),
            write.en.eq(self.write),
        ]
        with m.If(self.write):
            m.d.sync += gathered.eq(together)

        # The number of the word that is read, and whether it is there (valid); then the word under
        # way.
        fetched, following = Signal(range(words)), Signal(range(words))
        fetched_valid = Signal()
        number = Signal(range(words))
        rest, nonzero_current, nonzero_previous = (
            Signal(NONZERO_WORD),
            Signal(NONZERO_WORD),
            Signal(NONZERO_WORD),
        )
        some = Signal()
        """An input of this group is visited."""
        without_lowest, moves, loads = Signal(NONZERO_WORD), Signal(), Signal()
        m.d.comb += [
            # Subtracting 1 clears the lowest 1, which is this visit's, and sets only zeros below
            # it.
            without_lowest.eq(rest & (rest - 1)),
            moves.eq(~self.o.valid | self.o.ready),
            # A word that has one left gives that up, or one that has none.
            loads.eq(fetched_valid & ~without_lowest.any() & (moves | ~rest.any())),
            following.eq(Mux(fetched == words - 1, 0, fetched + 1)),
        ]
        fetches = Mux(loads, following, fetched)
        for port, sample in ((current, self.sample_current), (previous, self.sample_previous)):
            m.d.comb += port.addr.eq(Cat(fetches, sample)[: len(port.addr)])
        m.d.sync += [fetched_valid.eq(1), fetched.eq(fetches)]

        # The bias is the input behind all others, and never 0.
        last, own_current, own_previous = Signal(), Signal(NONZERO_WORD), Signal(NONZERO_WORD)
        visited, bias = Signal(NONZERO_WORD), Signal(NONZERO_WORD)
        forced = fetched == (inputs - 1) // NONZERO_WORD
        m.d.comb += [
            last.eq(fetched == words - 1),
            bias.eq(Mux(last, 1 << inputs % NONZERO_WORD, 0)),
            own_current.eq(current.data & self.uses_current.replicate(NONZERO_WORD)),
            own_previous.eq(previous.data & self.uses_previous.replicate(NONZERO_WORD)),
            visited.eq(
                Mux(
                    self.all,
                    Mux(last, (1 << inputs % NONZERO_WORD) - 1, ~0),
                    own_current | own_previous,
                )
            ),
        ]
        lone = Const(1 << (inputs - 1) % NONZERO_WORD, NONZERO_WORD)
        with m.If(loads):
            m.d.sync += [
                number.eq(fetched),
                rest.eq(visited | bias | Mux(forced & ~some & ~visited.any(), lone, 0)),
                nonzero_current.eq(own_current | bias),
                nonzero_previous.eq(own_previous | bias),
                some.eq(~last & (some | visited.any())),
            ]
        with m.Elif(moves):
            m.d.sync += rest.eq(without_lowest)

        lowest = rest & ~without_lowest
        # `lowest` has one 1, or none: each bit of its place is an OR, without priority.
        position = Signal(place)
        for k in range(place):
            chosen = Cat(lowest[n] for n in range(NONZERO_WORD) if n >> k & 1)
            m.d.comb += position[k].eq(chosen.any())
        visit = self.o.payload
        with m.If(moves):
            m.d.sync += [
                self.o.valid.eq(rest.any()),
                visit.input.eq(Cat(position, number)),
                visit.bias.eq((number == words - 1) & lowest[inputs % NONZERO_WORD]),
                visit.current.eq((lowest & nonzero_current).any()),
                visit.previous.eq((lowest & nonzero_previous).any()),
            ]
        with m.If(self.start):
            m.d.sync += [
                fetched_valid.eq(0),
                fetched.eq(0),
                rest.eq(0),
                some.eq(0),
                self.o.valid.eq(0),
            ]
        return m
