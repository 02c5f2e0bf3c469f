"""Perturbation signs for P lanes from one shared register, replayed instead of stored.

All lanes read one 61-bit window of the sign sequence.  Lane p needs the sequence p·spacing()
positions further on, and that bit is the parity of the window under a constant mask, because
the sequence is linear.  A small memory holds the window of each group of neurons at the start
of this draw and of the previous one; a sweep over the inputs moves it on by one bit a clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ROUND_BITS
from mgd.golden_model.signs.sequence import STATE_BITS, TAPS, mask, spacing
from mgd.golden_model.signs.source import SignSource
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.unit import Unit


def next_bit(window):
    """The bit of the sequence behind the window."""
    return Cat(window[tap] for tap in TAPS).xor()


def previous_token_flag(m: Module, valid, flag, clocks: int):
    """`flag` of the last token before this one; `valid` comes `clocks` clocks behind it."""
    flag, held = delayed(m, flag, clocks), Signal()
    with m.If(valid):
        m.d.sync += held.eq(flag)
    return held


def history(m: Module, signal, clocks: int) -> list:
    """`signal` as it was 0 to `clocks` clocks ago."""
    signals = [signal]
    for _ in range(clocks):
        signals.append(delayed(m, signals[-1], 1))
    return signals


def parities(m: Module, window, masks: Sequence[int]) -> list:
    """Parity of the window under each mask.

    Three masks at a time share the parities of the bits that two or all of them have in common:
    that takes 18 four-input LUTs for three masks of 30 bits, where each by itself takes 10.
    """
    result = []
    for start in range(0, len(masks), 3):
        chunk = masks[start : start + 3]
        shared: list[list] = [[] for _ in chunk]
        for subset in range(1, 1 << len(chunk)):
            bits = [
                window[k]
                for k in range(STATE_BITS)
                if sum((one >> k & 1) << n for n, one in enumerate(chunk)) == subset
            ]
            if bits:
                part = Signal(name=f"part_{start}_{subset}")
                m.d.comb += part.eq(Cat(*bits).xor())
                for n in range(len(chunk)):
                    if subset >> n & 1:
                        shared[n].append(part)
        result += [Cat(*parts).xor() for parts in shared]
    return result


class StartUp:
    """Loads the windows of all groups from the seed, one group after the other.

    `random` takes the seed.  A group's bits are those of `random` itself for the first group, and
    for each later one its parities under the mask that leaps over the neurons of the group before.
    A group has two phases of STATE_BITS clocks: in the first one the generator's window collects
    the group's bits, and the last of them writes it to the memory; in the second one (`copying`)
    the window is shifted into `random`, which then begins where the group does.  Behind the last
    group one more collection leaves the stream of the random bytes in `random`.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.group_count = count = sum(config.groups)
        self.random = Signal(STATE_BITS)
        self.loading, self.copying = Signal(), Signal()
        self.group = Signal(range(count + 1))
        """Number of the group whose bits are collected; group_count: the random bytes."""
        self.collected = Signal()
        """The bit that enters the generator's window."""
        self.writes = Signal()
        """The window is complete, and is written to the memory at the end of this clock."""
        self.held = Signal()
        """The group's layer is before first_layer, whose windows stay.  It follows `group` by a
        clock, which is no matter: 61 clocks pass until it is used."""

    def elaborate_into(self, m: Module, start, seed, first_layer, window, drawing) -> None:
        """start, seed, first_layer: the generator's ports; drawing: `random` moves on."""
        layers = [k for k, count in enumerate(self.config.groups) for _ in range(count)]
        m.d.sync += self.held.eq(Array([*layers, layers[-1]])[self.group] < first_layer)
        random, loading, copying = self.random, self.loading, self.copying
        bit, random_next = Signal(), Signal(STATE_BITS)
        m.d.comb += random_next.eq(Cat(random[1:], bit))
        next_group, clock, full = Signal.like(self.group), Signal(range(STATE_BITS)), Signal()
        m.d.comb += [
            next_group.eq(self.group + copying),
            self.collected.eq(self._group_bit(m, random_next, next_group, start)),
            full.eq(clock == STATE_BITS - 1),
            self.writes.eq(loading & ~copying & full & (self.group != self.group_count)),
            bit.eq(Mux(loading & copying, window[0], next_bit(random))),
        ]
        with m.If(loading):
            m.d.sync += clock.eq(clock + 1)
            with m.If(full):
                m.d.sync += [clock.eq(0), copying.eq(~copying), self.group.eq(next_group)]
                with m.If(copying & (self.group == self.group_count)):
                    m.d.sync += loading.eq(0)
        with m.If(start):
            m.d.sync += [loading.eq(1), copying.eq(0), clock.eq(0), self.group.eq(0)]
        with m.If(start | loading | drawing):
            m.d.sync += random.eq(Mux(start, seed, random_next))

    def _group_bit(self, m: Module, random_next, next_group, start):
        """The bit of the group that is collected."""
        cfg = self.config
        counts = [
            cfg.active(layer, group)
            for layer, groups in enumerate(cfg.groups)
            for group in range(groups)
        ]
        sizes = sorted(set(counts))
        distance = spacing(cfg.network.neurons)
        # boards.families.ice40 keeps this module apart, or synthesis would make chains of the
        # parities and the logic behind them.  A register follows, because the path from here into
        # the memory is long: so the parities are those of the next value of `random`.
        m.submodules.apart = apart = Module()
        ahead, ahead_next = Signal(len(sizes)), Signal(len(sizes))
        apart.d.comb += ahead_next.eq(
            Cat(*parities(apart, random_next, [mask(size * distance) for size in sizes]))
        )
        m.d.sync += ahead.eq(ahead_next)
        # Which bit it is, one-hot, is known a clock before: a register, because parities and
        # choice are deep enough without the table.
        select = Signal(1 + len(sizes))
        selects = [1, *(2 << sizes.index(n) for n in counts)]
        m.d.sync += select.eq(Array(selects)[next_group])
        with m.If(start):
            m.d.sync += select.eq(selects[0])
        return (Cat(self.random[0], ahead) & select).xor()


class SignGenerator(Unit):
    """Signs of this draw and of the previous one for a sweep of tokens.

    A token (one input of one group) enters with `valid`; `previous_signs` leave `latency` clocks
    later and `signs` signs_latency clocks later.  Tokens of one group follow each other, with
    any gaps, and carry the same group, slots and save; a group has two tokens or more.  No token
    comes in the clock behind a group's last one.

    With skip_zeros a token also has `uses_current` and `uses_previous`: whether it takes a sign of
    this draw and of the previous one; the next such token of the group has the next sign.  The
    first layer's windows are saved at a group's first token: they leap over all inputs at once.

    Raising `start` for one clock loads the windows of all groups from `seed`, in 122 clocks per
    group and 122 more; `ready` is low meanwhile.  The groups of layers before `first_layer` keep
    what slot 0 holds: theirs go to slot 1, which is not read before it is saved to.

    `all_minus`, only while there are no tokens: in the next clock `previous_signs` are all 1, for
    −1.0.

    `next_random` for one clock brings the next byte to `random`, ROUND_BITS + 1 clocks later.

    Cost: three registers of 61 bits, 6 to 8 four-input LUTs per lane and draw, one memory of 2
    windows per group.  Where only nodes are perturbed, a group's signs are the same for all its
    tokens: one window serves for both draws, one after the other, and both have the same LUTs.
    A leap is 61 parities more, most of four bits for a short layer, of some 30 for a long one.
    """

    latency = 5
    signs_latency = 6
    model = SignSource

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.group_count = sum(config.groups)
        uses = {"uses_current": In(1), "uses_previous": In(1)} if config.variant.skip_zeros else {}
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
                "all_minus": In(1),
                "signs": Out(config.lanes),
                "previous_signs": Out(config.lanes),
                "random": Out(ROUND_BITS),
                "next_random": In(1),
                **uses,
            }
        )

    def elaborate(self, platform):
        m = Module()
        startup = StartUp(self.config)
        # No word that is needed is read in the clock in which it is written; without the attribute
        # Yosys makes sure of the old word with 130 registers.
        m.submodules.windows = windows = Memory(
            shape=unsigned(STATE_BITS),
            depth=2 * self.group_count,
            init=[],
            attrs={"no_rw_check": True},
        )
        read, write = windows.read_port(), windows.write_port()
        # The window of this draw; in start-up that of the group that is loaded.
        window, incoming = Signal(STATE_BITS), Signal()
        m.d.comb += incoming.eq(next_bit(window))
        with m.If(startup.loading):
            m.d.comb += incoming.eq(startup.collected)
        moved = Cat(window[1:], incoming)

        firsts, valids = history(m, self.valid & self.first, 5), history(m, self.valid, 5)
        address = self._address(m, firsts)
        m.d.comb += read.addr.eq(address)
        self._sweep(m, firsts, valids, read.data, window, moved, startup.loading)
        saves, target, saved = self._save(m, address, window, moved, startup)
        m.d.comb += [
            write.en.eq(saves | startup.writes),
            # The slot that is not in use.
            write.addr.eq(Cat(~target[0], target[1:])),
            write.data.eq(saved),
        ]
        drawing = self._random_byte(m)
        startup.elaborate_into(m, self.start, self.seed, self.first_layer, window, drawing)
        m.d.comb += [
            self.ready.eq(~startup.loading),
            self.random.eq(startup.random[:ROUND_BITS]),
        ]
        return m

    def _address(self, m: Module, firsts: list):
        """Address of a group's windows: in clock 2 of its first token that of the previous draw,
        from clock 3 on that of this draw."""
        address = Signal(1 + len(self.group))
        slot = delayed(m, self.slot, 2)
        group, previous_slot = delayed(m, self.group, 1), delayed(m, self.previous_slot, 1)
        with m.If(firsts[1]):
            m.d.sync += address[1:].eq(group)
        with m.If(firsts[1] | firsts[2]):
            m.d.sync += address[0].eq(Mux(firsts[1], previous_slot, slot))
        return address

    def _sweep(self, m: Module, firsts, valids, read_data, window, moved, loading) -> None:
        """The windows go along with the tokens, and the signs are their parities.

        Clock 3: load or move on, so that in clock 4 the previous draw's window stands at this
        token's bit; clock 4: the same for this draw's.  Both come from one read port, one clock
        apart, so neither waits in a register.
        """
        distance, lanes = spacing(self.config.network.neurons), self.config.lanes
        masks = [mask(p * distance) for p in range(lanes)]
        # Held as it enters the lanes' adders, with no gate between: without accumulators the
        # update is subtracted where the sign is 0.
        all_minus = Const(~0, lanes)
        flips = Const(0, lanes) if self.config.network.accumulators else all_minus
        signs_held = Signal(lanes, reset_less=True)
        m.d.comb += self.previous_signs.eq(signs_held ^ flips)
        if self.config.nodes_only:
            # All tokens of a group have its signs: the one window serves the previous draw in
            # clock 4 and this one in clock 5, and never moves.
            loads, moves = firsts[3] | firsts[4], loading
            signs = Cat(*parities(m, window, masks))
            with m.If(firsts[4]):
                m.d.sync += signs_held.eq(signs ^ flips)
            with m.If(firsts[5]):
                m.d.sync += self.signs.eq(signs)
        else:
            moves_previous, moves_current = ~self.nodes, ~self.nodes
            if self.config.variant.skip_zeros:
                # A token that takes no sign leaves the window for the next one.
                moves_previous &= previous_token_flag(m, valids[3], self.uses_previous, 3)
                moves_current &= previous_token_flag(m, valids[4], self.uses_current, 4)
            loads, moves = firsts[4], loading | (valids[4] & moves_current)
            previous = Signal(STATE_BITS)
            with m.If(valids[3] & (firsts[3] | moves_previous)):
                m.d.sync += previous.eq(
                    Mux(firsts[3], read_data, Cat(previous[1:], next_bit(previous)))
                )
            m.d.sync += signs_held.eq(Cat(*parities(m, previous, masks)) ^ flips)
            m.d.sync += self.signs.eq(Cat(*parities(m, window, masks)))
        with m.If(self.all_minus):
            m.d.sync += signs_held.eq(all_minus ^ flips)
        with m.If(loads | moves):
            m.d.sync += window.eq(Mux(loads, read_data, moved))

    def _save(self, m: Module, address, window, moved, startup: StartUp):
        """At the end of a group's sweep, the next draw's window.  Returns when it is saved, the
        address that is not overwritten, and the window."""
        skips = self.config.variant.skip_zeros
        ends = self.valid & self.last & self.save
        of_first_layer = self.group < self.config.groups[0]
        if skips:
            ends &= ~of_first_layer
        ends = history(m, ends, 5)
        # A group may have as few as two tokens, so the next group's address may be there before
        # this group's window is complete: two registers follow `address`.
        ending, target = Signal.like(address), Signal.like(address)
        with m.If(ends[2]):
            m.d.sync += ending.eq(address)
        with m.If(startup.loading | ends[4]):
            loaded = Cat(~startup.held, startup.group)
            m.d.sync += target.eq(Mux(startup.loading, loaded, ending))
        if not skips:
            return ends[5], target, moved
        # The first layer's tokens are not all inputs, so its windows leap over all of them at
        # once, as soon as the window at the group's first sign is there.
        leaps = delayed(m, self.valid & self.first & self.save & of_first_layer, 4)
        with m.If(leaps):
            m.d.sync += target.eq(address)
        leaps = delayed(m, leaps, 1)
        stride = self.config.network.layers[0] + 1
        ahead = Cat(*parities(m, window, [mask(stride + k) for k in range(STATE_BITS)]))
        return ends[5] | leaps, target, Mux(leaps & ~self.nodes, ahead, moved)

    def _random_byte(self, m: Module):
        """High for the ROUND_BITS clocks behind `next_random`: `random` moves on by a byte."""
        drawing, drawn = Signal(), Signal(range(ROUND_BITS))
        with m.If(drawing):
            m.d.sync += [drawn.eq(drawn + 1), drawing.eq(drawn != ROUND_BITS - 1)]
        with m.If(self.next_random):
            m.d.sync += drawing.eq(1)
        return drawing
