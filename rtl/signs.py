"""Perturbation signs for P lanes from one shared register, replayed instead of stored.

All lanes look at one 61-bit window of the sign sequence.  Lane p needs the sequence p·D
positions further on, and that bit is the parity of the window under a constant mask, because
the sequence is linear.  A small memory keeps the window of each group of neurons at the start
of this draw and of the previous one; a sweep over the inputs moves it on by one bit a clock.
"""

from __future__ import annotations

from amaranth import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.network import ROUND_BITS
from golden_model.signs import STATE_BITS, TAPS, mask, spacing
from rtl.config import CoreConfig
from rtl.delay import delayed


def stepped(window, steps: int = 1):
    """The window `steps` positions further on (golden_model.signs.advance)."""
    assert steps + TAPS[-1] <= STATE_BITS
    fresh = []
    for n in range(steps):
        bit = window[n]
        for tap in TAPS[1:]:
            bit = bit ^ window[n + tap]
        fresh.append(bit)
    return Cat(window[steps:], *fresh)


def bit_at(window, offset: int):
    """The sequence's bit `offset` positions after the window's first, as a parity."""
    m = mask(offset)
    return Cat(*(window[k] for k in range(STATE_BITS) if m >> k & 1)).xor()


class SignGenerator(wiring.Component):
    """Signs of this draw and of the previous one for a sweep of tokens.

    Equals golden_model.signs / golden_model.trainer.SignSource.

    A token (one input of one group) enters with `valid`; its signs leave LATENCY clocks later.
    Tokens of one group follow each other, with any gaps, and carry the same group, slots and
    save; a group has two tokens or more.

    Raising `start` for one clock loads the windows of all groups from `seed`, in about 62
    clocks per group; `ready` is low meanwhile.

    Cost: about 10 four-input LUTs per lane and draw, one memory of 2 windows per group.
    """

    LATENCY = 5

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.group_count = sum(config.groups)
        super().__init__(
            {
                "start": In(1),
                "seed": In(STATE_BITS),
                "ready": Out(1),
                "nodes": In(1),
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "group": In(range(self.group_count)),
                "slot": In(1),
                "previous_slot": In(1),
                "save": In(1),
                "signs": Out(config.lanes),
                "previous_signs": Out(config.lanes),
                "random": Out(ROUND_BITS),
                "next_random": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        distance = spacing(cfg.network.neurons)

        m.submodules.windows = windows = Memory(
            shape=unsigned(STATE_BITS), depth=2 * self.group_count, init=[]
        )
        read = windows.read_port()
        write = windows.write_port()

        # Clock 0: read the window of this draw; clock 1: that of the previous draw.
        valid1 = delayed(m, self.valid, 1)
        first1 = delayed(m, self.first, 1)
        group1 = delayed(m, self.group, 1)
        slot1 = delayed(m, self.slot, 1)
        previous_slot1 = delayed(m, self.previous_slot, 1)
        begins = Signal()
        begins1 = Signal()
        begins2 = Signal()
        m.d.comb += begins.eq(self.valid & self.first)
        m.d.comb += begins1.eq(valid1 & first1)
        m.d.sync += begins2.eq(begins1)
        with m.If(begins):
            m.d.comb += read.addr.eq(Cat(self.slot, self.group))
        with m.Else():
            m.d.comb += read.addr.eq(Cat(previous_slot1, group1))
        m.d.comb += read.en.eq(begins | begins1)
        held, held_previous = Signal(STATE_BITS), Signal(STATE_BITS)
        with m.If(begins1):
            m.d.sync += held.eq(read.data)
        with m.If(begins2):
            m.d.sync += held_previous.eq(read.data)

        # Clock 3: load or move on, so that in clock 4 both windows stand at this token's bit.
        valid3 = delayed(m, valid1, 2)
        first3 = delayed(m, first1, 2)
        window, previous = Signal(STATE_BITS), Signal(STATE_BITS)
        with m.If(valid3):
            with m.If(first3):
                m.d.sync += [window.eq(held), previous.eq(held_previous)]
            with m.Elif(~self.nodes):
                m.d.sync += [window.eq(stepped(window)), previous.eq(stepped(previous))]

        # Clock 4: the signs, and at the end of the sweep the next draw's window.
        last4 = delayed(m, valid3 & delayed(m, self.last & self.save, 3), 1)
        group4 = delayed(m, group1, 3)
        slot4 = delayed(m, slot1, 3)
        offset_bits = [bit_at(window, p * distance) for p in range(cfg.lanes + 1)]
        m.d.sync += self.signs.eq(Cat(*offset_bits[: cfg.lanes]))
        m.d.sync += self.previous_signs.eq(
            Cat(*(bit_at(previous, p * distance) for p in range(cfg.lanes)))
        )

        # Start-up: the window of the next group is 61 bits of this group's sequence as seen
        # through the mask of the group's size; collect them while the window moves on.
        counts = [
            cfg.active(layer, group)
            for layer, groups in enumerate(cfg.groups)
            for group in range(groups)
        ]
        loading = Signal()
        group = Signal(range(self.group_count))
        clock = Signal(range(STATE_BITS + 1))
        random = Signal(STATE_BITS)
        beyond = Signal()
        m.d.comb += beyond.eq(Array(offset_bits)[Array(counts)[group]])
        with m.If(self.start):
            m.d.sync += [loading.eq(1), group.eq(0), clock.eq(0), window.eq(self.seed)]
        with m.Elif(loading):
            with m.If(clock == STATE_BITS):
                m.d.sync += [clock.eq(0), window.eq(previous), group.eq(group + 1)]
                with m.If(group == self.group_count - 1):
                    m.d.sync += [loading.eq(0), random.eq(previous)]
            with m.Else():
                m.d.sync += [
                    clock.eq(clock + 1),
                    window.eq(stepped(window)),
                    previous.eq(Cat(previous[1:], beyond)),
                ]
        with m.Elif(self.next_random):
            m.d.sync += random.eq(stepped(random, ROUND_BITS))
        m.d.comb += [
            self.ready.eq(~loading),
            self.random.eq(random[:ROUND_BITS]),
            write.en.eq(last4 | (loading & (clock == 0))),
            write.addr.eq(Mux(loading, Cat(0, group), Cat(~slot4, group4))),
            write.data.eq(Mux(loading, window, stepped(window))),
        ]
        return m
