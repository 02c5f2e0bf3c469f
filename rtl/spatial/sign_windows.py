"""Perturbation signs in space: every neuron holds its own window of the sign sequence."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from mgd.golden_model.signs.sequence import (
    STATE_BITS,
    TAPS,
    BitReader,
    mask,
    spacing,
    stream_states,
)
from mgd.rtl.lib.unit import Unit
from mgd.rtl.spatial.config import SpatialConfig


def sequence_bits(m: Module, window, length: int) -> list:
    """The first `length` bits of the sequence that begins with the window."""
    bits = list(window)
    while len(bits) < length:
        bit = Signal(name=f"bit_{len(bits)}")
        m.d.comb += bit.eq(Cat(*(bits[len(bits) - STATE_BITS + tap] for tap in TAPS)).xor())
        bits.append(bit)
    return bits[:length]


class SignWindow(Unit):
    """One window that moves on by `leap` bits a clock: the signs of one neuron.

    signs: the first `leap` bits of the window, those of this draw; they are those of the next
    draw in the clock after `advance`.  While `load` is high the window takes `bit`, STATE_BITS of
    them in all, the first one first.
    Cost: STATE_BITS registers and about as many LUTs.
    """

    latency = 1
    """Clocks from `advance` to the next signs."""
    model = BitReader

    def __init__(self, leap: int) -> None:
        self.leap = leap
        super().__init__(
            {"load": In(1), "bit": In(1), "advance": In(1), "signs": Out(leap)},
        )

    def elaborate(self, platform):
        m = Module()
        # No reset: all bits are loaded before the first draw.
        window = Signal(STATE_BITS, reset_less=True)
        bits = sequence_bits(m, window, STATE_BITS + self.leap)
        with m.If(self.load):
            m.d.sync += window.eq(Cat(window[1:], self.bit))
        with m.Elif(self.advance):
            m.d.sync += window.eq(Cat(*bits[self.leap :]))
        m.d.comb += self.signs.eq(Cat(*bits[: self.leap]))
        return m


class WindowLoader(Unit):
    """Loads all windows from the seed, one after the other: those of the K neurons and that of
    the random bytes.

    After `start` the bits for neuron 0 leave on `bit` with load[0] high, and so on, in
    STATE_BITS clocks each; `busy` meanwhile.  The window of neuron i + 1 is spacing() positions
    behind that of neuron i: each of its bits is the parity of a window under a mask
    (golden_model.signs.sequence.mask).
    """

    latency = 1
    """Clocks from `start` to the first bit."""
    model = staticmethod(stream_states)

    def __init__(self, config: SpatialConfig) -> None:
        self.neurons = config.network.neurons
        super().__init__(
            {
                "start": In(1),
                "seed": In(STATE_BITS),
                "bit": Out(1),
                "load": Out(self.neurons + 1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        window, next_window = (
            Signal(STATE_BITS, name=name, reset_less=True) for name in ("window", "next_window")
        )
        count = Signal(range(STATE_BITS))
        # One bit is high, that of the neuron whose window leaves.  Behind the last one it is
        # shifted out, and `busy` falls.
        target = Signal(self.neurons + 1)
        (feedback,) = sequence_bits(m, window, STATE_BITS + 1)[STATE_BITS:]
        # The first bit of a window that is spacing() positions ahead; as this one moves on by a
        # bit, so does that one.
        leap = mask(spacing(self.neurons))
        ahead = Cat(*(window[k] for k in range(STATE_BITS) if leap >> k & 1)).xor()
        collected = Cat(next_window[1:], ahead)
        m.d.comb += [self.bit.eq(window[0]), self.load.eq(target), self.busy.eq(target.any())]
        # While the window moves on through its own STATE_BITS bits, the next one is collected.
        m.d.sync += next_window.eq(collected)
        with m.If(self.start):
            m.d.sync += [window.eq(self.seed), count.eq(0), target.eq(1)]
        with m.Elif(count == STATE_BITS - 1):
            m.d.sync += [window.eq(collected), count.eq(0), target.eq(target << 1)]
        with m.Else():
            m.d.sync += [window.eq(Cat(window[1:], feedback)), count.eq(count + 1)]
        return m


def sign_leap(config: SpatialConfig, fan_in: int) -> int:
    """Bits that a draw takes of a neuron's window."""
    return 1 if config.nodes else fan_in + 1
