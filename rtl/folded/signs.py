"""Perturbation signs for P lanes from one shared register, replayed instead of stored.

All lanes look at one 61-bit window of the sign sequence.  Lane p needs the sequence p·D
positions further on, and that bit is the parity of the window under a constant mask, because
the sequence is linear.  A small memory keeps the window of each group of neurons at the start
of this draw and of the previous one; a sweep over the inputs moves it on by one bit a clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ROUND_BITS
from mgd.golden_model.signs.sequence import STATE_BITS, TAPS, mask, spacing
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.delay import delayed


def following(window):
    """The bit of the sequence behind the window."""
    return Cat(window[tap] for tap in TAPS).xor()


def last_one(m: Module, valid, flag, late: int):
    """`flag` of the last token before this one; `valid` comes `late` clocks behind it."""
    flag, kept = delayed(m, flag, late), Signal()
    with m.If(valid):
        m.d.sync += kept.eq(flag)
    return kept


def parities(m: Module, window, masks: Sequence[int]) -> list:
    """Parity of the window under each mask.

    Three masks at a time share the parities of what two or all of them have in common: that
    takes 18 four-input LUTs for three masks of 30 bits, where each by itself takes 10.
    """
    result = []
    for at in range(0, len(masks), 3):
        chunk = masks[at : at + 3]
        shared: list[list] = [[] for _ in chunk]
        for which in range(1, 1 << len(chunk)):
            bits = [
                window[k]
                for k in range(STATE_BITS)
                if sum((one >> k & 1) << n for n, one in enumerate(chunk)) == which
            ]
            if bits:
                part = Signal(name=f"part_{at}_{which}")
                m.d.comb += part.eq(Cat(*bits).xor())
                for n in range(len(chunk)):
                    if which >> n & 1:
                        shared[n].append(part)
        result += [Cat(*parts).xor() for parts in shared]
    return result


class SignGenerator(wiring.Component):
    """Signs of this draw and of the previous one for a sweep of tokens.

    Equals golden_model.signs.sequence / golden_model.trainer.SignSource.

    A token (one input of one group) enters with `valid`; `previous_signs` leave LATENCY clocks
    later and `signs` SIGNS_LATENCY clocks later.  Tokens of one group follow each other, with
    any gaps, and carry the same group, slots and save; a group has two tokens or more.  No token
    comes in the clock behind a group's last one.

    With skip_zeros tokens of the first layer, too, say with `now` and `before` whether they take a
    sign of this draw and of the previous one: the next such token of the group has the next sign.
    Theirs are saved at their first token: the window leaps over all inputs at once.

    Raising `start` for one clock loads the windows of all groups from `seed`, in 122 clocks per
    group and 122 more; `ready` is low meanwhile.  The groups of layers before `first_layer` keep
    what slot 0 holds: theirs go to slot 1, which nobody reads before it is saved to.

    `minus`: in the next clock `previous_signs` are all 1, for −1.0; while there are no tokens.

    `next_random` for one clock brings the next byte to `random`, ROUND_BITS + 1 clocks later.

    Cost: three registers of 61 bits, 6 to 8 four-input LUTs per lane and draw, one memory of 2
    windows per group.  Where only nodes are perturbed, a group's signs are the same for all its
    tokens: one window serves for both draws, one after the other, and both have the same LUTs.
    A leap is 61 parities more, most of four bits for a short layer, of some 30 for a long one.
    """

    LATENCY = 5
    SIGNS_LATENCY = 6

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.group_count = sum(config.groups)
        lit = {"now": In(1), "before": In(1)} if config.variant.skip_zeros else {}
        super().__init__(
            {
                "start": In(1),
                "seed": In(STATE_BITS),
                "first_layer": In(range(config.network.depth + 1)),
                "ready": Out(1),
                "nodes": In(1),
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "group": In(range(self.group_count)),
                "slot": In(1),
                "previous_slot": In(1),
                "save": In(1),
                "minus": In(1),
                "signs": Out(config.lanes),
                "previous_signs": Out(config.lanes),
                "random": Out(ROUND_BITS),
                "next_random": In(1),
                **lit,
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes, skips = self.config.lanes, self.config.variant.skip_zeros

        # No word that is needed is read in the clock in which it is written; without being told,
        # Yosys makes sure of the old word with 130 registers.
        m.submodules.windows = windows = Memory(
            shape=unsigned(STATE_BITS),
            depth=2 * self.group_count,
            init=[],
            attrs={"no_rw_check": True},
        )
        read = windows.read_port()
        write = windows.write_port()
        window, random = Signal(STATE_BITS), Signal(STATE_BITS)
        loading, copying, clock = Signal(), Signal(), Signal(range(STATE_BITS))
        target = Signal(range(self.group_count + 1))
        kept = Signal()
        layers = [k for k, count in enumerate(self.config.groups) for _ in range(count)]
        m.d.sync += kept.eq(Array([*layers, layers[-1]])[target] < self.first_layer)

        # Clock 2: the window of the previous draw is addressed; clock 3: that of this draw.
        begins = [self.valid & self.first]
        valid = [self.valid]
        for _ in range(5):
            begins.append(delayed(m, begins[-1], 1))
            valid.append(delayed(m, valid[-1], 1))
        address = Signal(1 + len(self.group))
        slot1 = delayed(m, self.slot, 1)
        slot2 = delayed(m, slot1, 1)
        group1, previous_slot1 = delayed(m, self.group, 1), delayed(m, self.previous_slot, 1)
        with m.If(begins[1]):
            m.d.sync += address[1:].eq(group1)
        with m.If(begins[1] | begins[2]):
            m.d.sync += address[0].eq(Mux(begins[1], previous_slot1, slot2))
        m.d.comb += read.addr.eq(address)

        # Clock 3: load or move on, so that in clock 4 the previous draw's window stands at this
        # token's bit; clock 4: the same for this draw's.  Both come from one read port, one
        # clock apart, so neither needs to be kept on its way.
        distance = spacing(self.config.network.neurons)
        masks = [mask(p * distance) for p in range(lanes)]
        incoming = Signal()
        moved = Cat(window[1:], incoming)
        m.d.comb += incoming.eq(following(window))
        # Kept as it enters the lanes' adders, with no gate between: without accumulators the share
        # is subtracted where the sign is 0.
        minus = Const(~0, lanes)
        flips = Const(0, lanes) if self.config.network.accumulators else minus
        signs_kept = Signal(lanes, reset_less=True)
        m.d.comb += self.previous_signs.eq(signs_kept ^ flips)
        if self.config.nodes_only:
            loads, moves = begins[3] | begins[4], loading
            signs = Cat(*parities(m, window, masks))
            with m.If(begins[4]):
                m.d.sync += signs_kept.eq(signs ^ flips)
            with m.If(begins[5]):
                m.d.sync += self.signs.eq(signs)
        else:
            moves_previous, moves_now = ~self.nodes, ~self.nodes
            if skips:
                moves_previous &= last_one(m, valid[3], self.before, 3)
                moves_now &= last_one(m, valid[4], self.now, 4)
            loads, moves = begins[4], loading | (valid[4] & moves_now)
            previous = Signal(STATE_BITS)
            with m.If(valid[3] & (begins[3] | moves_previous)):
                m.d.sync += previous.eq(
                    Mux(begins[3], read.data, Cat(previous[1:], following(previous)))
                )
            m.d.sync += signs_kept.eq(Cat(*parities(m, previous, masks)) ^ flips)
            m.d.sync += self.signs.eq(Cat(*parities(m, window, masks)))
        with m.If(self.minus):
            m.d.sync += signs_kept.eq(minus ^ flips)
        with m.If(loads | moves):
            m.d.sync += window.eq(Mux(loads, read.data, moved))

        # At the end of a sweep, the next draw's window.
        ended = [self.valid & self.last & self.save]
        if skips:
            of_first_layer = self.group < self.config.groups[0]
            ended[0] &= ~of_first_layer
        for _ in range(5):
            ended.append(delayed(m, ended[-1], 1))
        # A group may have two tokens only, so that two registers follow `address`.
        leaving, saved_to = Signal.like(address), Signal.like(address)
        with m.If(ended[2]):
            m.d.sync += leaving.eq(address)
        with m.If(loading | ended[4]):
            m.d.sync += saved_to.eq(Mux(loading, Cat(~kept, target), leaving))
        saves, saved = ended[5], moved
        if skips:
            # As soon as the window at the group's first sign is there.
            leaps = delayed(m, self.valid & self.first & self.save & of_first_layer, 4)
            with m.If(leaps):
                m.d.sync += saved_to.eq(address)
            leaps = delayed(m, leaps, 1)
            stride = self.config.network.layers[0] + 1
            ahead = Cat(*parities(m, window, [mask(stride + k) for k in range(STATE_BITS)]))
            saves, saved = saves | leaps, Mux(leaps & ~self.nodes, ahead, moved)

        # Start-up: `random` takes the seed and moves on, and through the mask of a group's size
        # shows the next group's bits, the first one's own.  `window` collects 61 of them, which
        # are written to the memory, and gives them to `random`: so it goes from group to group.
        # `random` ends up with the stream behind the last group.
        counts = [
            self.config.active(layer, group)
            for layer, groups in enumerate(self.config.groups)
            for group in range(groups)
        ]
        sizes = sorted(set(counts))
        # boards.flow.commands keeps these apart, or synthesis would make chains of them and what
        # follows. The way from here into the memory is long, so they are those of what `random`
        # will be.
        m.submodules.apart = apart = Module()
        bit, ahead, ahead_next = Signal(), Signal(len(sizes)), Signal(len(sizes))
        random_next = Cat(random[1:], bit)
        apart.d.comb += ahead_next.eq(
            Cat(*parities(apart, random_next, [mask(size * distance) for size in sizes]))
        )
        m.d.sync += ahead.eq(ahead_next)
        collected, full = Signal(), Signal()
        # Which of these is asked for is known a clock before: they are deep enough.
        following_target, takes = Signal.like(target), Signal(1 + len(sizes))
        asked = [1, *(2 << sizes.index(n) for n in counts)]
        m.d.comb += [
            following_target.eq(target + copying),
            collected.eq((Cat(random[0], ahead) & takes).xor()),
            full.eq(clock == STATE_BITS - 1),
        ]
        m.d.sync += takes.eq(Array(asked)[following_target])
        with m.If(self.start):
            m.d.sync += takes.eq(asked[0])
        with m.If(loading):
            m.d.comb += incoming.eq(collected)
            m.d.sync += clock.eq(clock + 1)
            with m.If(full):
                m.d.sync += [clock.eq(0), copying.eq(~copying), target.eq(following_target)]
                with m.If(copying & (target == self.group_count)):
                    m.d.sync += loading.eq(0)
        with m.If(self.start):
            m.d.sync += [loading.eq(1), copying.eq(0), clock.eq(0), target.eq(0)]
        drawing, drawn = Signal(), Signal(range(ROUND_BITS))
        with m.If(drawing):
            m.d.sync += [drawn.eq(drawn + 1), drawing.eq(drawn != ROUND_BITS - 1)]
        with m.If(self.next_random):
            m.d.sync += drawing.eq(1)
        m.d.comb += bit.eq(Mux(loading & copying, window[0], following(random)))
        with m.If(self.start | loading | drawing):
            m.d.sync += random.eq(Mux(self.start, self.seed, random_next))
        collects = loading & ~copying & full & (target != self.group_count)
        m.d.comb += [
            self.ready.eq(~loading),
            self.random.eq(random[:ROUND_BITS]),
            write.en.eq(saves | collects),
            write.addr.eq(Cat(~saved_to[0], saved_to[1:])),
            write.data.eq(saved),
        ]
        return m
