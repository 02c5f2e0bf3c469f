"""Perturbation signs for P lanes from one shared register, replayed instead of stored.

All lanes look at one 61-bit window of the sign sequence.  Lane p needs the sequence p·D
positions further on, and that bit is the parity of the window under a constant mask, because
the sequence is linear.  A small memory keeps the window of each group of neurons at the start
of this draw and of the previous one; a sweep over the inputs moves it on by one bit a clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.network import ROUND_BITS
from golden_model.signs import STATE_BITS, TAPS, mask, spacing
from rtl.config import CoreConfig
from rtl.delay import delayed


def following(window, steps: int = 1) -> list:
    """The `steps` bits of the sequence behind the window."""
    assert steps + TAPS[-1] <= STATE_BITS
    return [Cat(window[n + tap] for tap in TAPS).xor() for n in range(steps)]


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

    Equals golden_model.signs / golden_model.trainer.SignSource.

    A token (one input of one group) enters with `valid`; `previous_signs` leave LATENCY clocks
    later and `signs` SIGNS_LATENCY clocks later.  Tokens of one group follow each other, with
    any gaps, and carry the same group, slots and save; a group has two tokens or more.

    Raising `start` for one clock loads the windows of all groups from `seed`, in 63 clocks per
    group and 61 more; `ready` is low meanwhile.  The groups of layers before `first_layer` keep
    what slot 0 holds: theirs go to slot 1, which nobody reads before it is saved to.

    Cost: three registers of 61 bits, 6 to 8 four-input LUTs per lane and draw, one memory of 2
    windows per group.
    """

    LATENCY = 5
    SIGNS_LATENCY = 6

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.group_count = sum(config.groups)
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
                "signs": Out(config.lanes),
                "previous_signs": Out(config.lanes),
                "random": Out(ROUND_BITS),
                "next_random": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self.config.lanes

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
        window, previous = Signal(STATE_BITS), Signal(STATE_BITS)
        loading, clock = Signal(), Signal(range(STATE_BITS + 2))
        target = Signal(range(self.group_count + 1))
        reload, kept = Signal(), Signal()
        layers = [k for k, count in enumerate(self.config.groups) for _ in range(count)]
        m.d.sync += kept.eq(Array([*layers, layers[-1]])[target] < self.first_layer)
        m.d.comb += reload.eq(clock == STATE_BITS + 1)

        # Clock 2: the window of the previous draw is addressed; clock 3: that of this draw.
        begins = [self.valid & self.first]
        valid = [self.valid]
        for _ in range(4):
            begins.append(delayed(m, begins[-1], 1))
            valid.append(delayed(m, valid[-1], 1))
        address = Signal(1 + len(self.group))
        slot1 = delayed(m, self.slot, 1)
        slot2 = delayed(m, slot1, 1)
        group1, previous_slot1 = delayed(m, self.group, 1), delayed(m, self.previous_slot, 1)
        with m.If(loading | begins[1]):
            m.d.sync += address[1:].eq(Mux(loading, target, group1))
        with m.If(loading | begins[1] | begins[2]):
            slot = Mux(begins[1], previous_slot1, slot2)
            m.d.sync += address[0].eq(Mux(loading, kept, slot))
        m.d.comb += read.addr.eq(address)

        # Clock 3: load or move on, so that in clock 4 the previous draw's window stands at this
        # token's bit; clock 4: the same for this draw's.  Both come from one read port, one
        # clock apart, so neither needs to be kept on its way.
        moves = [valid[k] & (begins[k] | ~self.nodes) for k in (3, 4)]
        incoming = Signal()
        m.d.comb += incoming.eq(following(window)[0])
        moved = Cat(window[1:], incoming)
        with m.If(moves[0] | loading):
            m.d.sync += previous.eq(
                Mux(begins[3] | reload, read.data, Cat(previous[1:], *following(previous)))
            )
        with m.If(moves[1] | loading):
            m.d.sync += window.eq(Mux(begins[4], read.data, moved))

        # Clocks 4 and 5: the signs, and at the end of the sweep the next draw's window.
        distance = spacing(self.config.network.neurons)
        masks = [mask(p * distance) for p in range(lanes + 1)]
        previous_parities = parities(m, previous, masks)
        m.d.sync += self.previous_signs.eq(Cat(*previous_parities[:lanes]))
        m.d.sync += self.signs.eq(Cat(*parities(m, window, masks[:lanes])))
        ended = [self.valid & self.last & self.save]
        for _ in range(5):
            ended.append(delayed(m, ended[-1], 1))
        # A group may have two tokens only, so that two registers follow `address`.
        leaving, saved_to = Signal.like(address), Signal.like(address)
        with m.If(ended[2]):
            m.d.sync += leaving.eq(address)
        with m.If(loading | ended[4]):
            m.d.sync += saved_to.eq(Mux(loading, Cat(~kept, target), leaving))

        # Start-up: `window` collects 61 bits a time and is written to the memory; from there it
        # gets into `previous`, which moves on and, through the mask of the group's size, shows
        # the next group's bits.  The first group's bits come out of `random`, which takes the
        # seed; it ends up with the bits behind the last group, taken eight at a time.
        random = Signal(STATE_BITS)
        counts = [
            self.config.active(layer, group)
            for layer, groups in enumerate(self.config.groups)
            for group in range(groups)
        ]
        collected, full, shifts = Signal(), Signal(), Signal()
        sources = [random.bit_select(clock[:3], 1), *(previous_parities[n] for n in counts)]
        m.d.comb += [
            collected.eq(Array(sources)[target]),
            full.eq(clock == STATE_BITS - 1),
            shifts.eq(clock[:3] == Mux(target == 0, ROUND_BITS - 1, (STATE_BITS - 1) % ROUND_BITS)),
        ]
        with m.If(loading):
            m.d.comb += incoming.eq(collected)
            m.d.sync += clock.eq(clock + 1)
            with m.If(reload):
                m.d.sync += [clock.eq(0), target.eq(target + 1)]
            with m.If(full & (target == self.group_count)):
                m.d.sync += loading.eq(0)
        with m.If(self.start):
            m.d.sync += [loading.eq(1), clock.eq(0), target.eq(0)]
        fresh = Mux(
            loading, Cat(window[-ROUND_BITS + 1 :], collected), Cat(*following(random, ROUND_BITS))
        )
        with m.If(self.start | (loading & shifts) | self.next_random):
            m.d.sync += random.eq(Mux(self.start, self.seed, Cat(random[ROUND_BITS:], fresh)))
        m.d.comb += [
            self.ready.eq(~loading),
            self.random.eq(random[:ROUND_BITS]),
            write.en.eq(ended[5] | (loading & full & (target != self.group_count))),
            write.addr.eq(Cat(~saved_to[0], saved_to[1:])),
            write.data.eq(moved),
        ]
        return m
