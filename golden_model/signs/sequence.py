"""Perturbation signs: one maximal-length sequence, of which every neuron has a part of its own.

The sequence b is s[n+61] = s[n] ⊕ s[n+1] ⊕ s[n+15] ⊕ s[n+16] (the LFSR with taps 61, 60, 46,
45).  Its period 2^61 − 1 is prime.  Neuron i of K reads it from position i·D on; the last
stretch, K, is for stochastic rounding.  Draw d of neuron i uses

* weight perturbation: bits d·(fan_in+1) + j for input j (the bias is input fan_in),
* node perturbation: bit d.

Sign bit 0 means +1.  Hence a sign depends on neuron, input and draw only, never on how a core
is built: every number of lanes gives the same training run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

STATE_BITS = 61
TAPS = (0, 1, 15, 16)
"""s[n + 61] is the sum of s[n + tap]."""
_FEEDBACK = sum(1 << tap for tap in TAPS)
_POLYNOMIAL = 1 << STATE_BITS | _FEEDBACK


def multiply(a: int, b: int) -> int:
    """Product of two polynomials over GF(2) modulo the sequence's polynomial."""
    result = 0
    while b:
        if b & 1:
            result ^= a
        b >>= 1
        a <<= 1
        if a >> STATE_BITS:
            a ^= _POLYNOMIAL
    return result


@lru_cache(maxsize=4096)
def mask(offset: int) -> int:
    """61-bit mask m with s[n + offset] = parity(m & window(n)), window(n) = s[n..n+60].

    It is x^offset modulo the sequence's polynomial; bit k of the mask goes with s[n + k].
    """
    result, power = 1, 2
    while offset:
        if offset & 1:
            result = multiply(result, power)
        power = multiply(power, power)
        offset >>= 1
    return result


def spacing(neurons: int) -> int:
    """D, the distance between the stretches of neighbouring neurons: 2^(60 − ⌈log2(K+1)⌉)."""
    return 1 << (60 - neurons.bit_length())


def advance(state: int, steps: int = 1) -> int:
    """The 61-bit window `steps` positions further on, one position at a time."""
    for _ in range(steps):
        feedback = (state & _FEEDBACK).bit_count() & 1
        state = state >> 1 | feedback << (STATE_BITS - 1)
    return state


def jump(state: int, offset: int) -> int:
    """The 61-bit window `offset` positions further on, for any offset."""
    m, result = mask(offset), 0
    for k in range(STATE_BITS):
        result |= ((state & m).bit_count() & 1) << k
        state = advance(state)
    return result


def stream_states(start_state: int, neurons: int) -> list[int]:
    """Windows at the start of the K + 1 stretches."""
    states, distance = [start_state], spacing(neurons)
    for _ in range(neurons):
        states.append(jump(states[-1], distance))
    return states


def start_states_at(
    start_state: int, widths: Sequence[int], draws: int, random_bits: int
) -> list[int]:
    """Start states of the sequence that continue a run: one per layer, then rounding's.

    Used instead of `start_state`, each gives the layer's neurons draw number `draws` first, and
    the last one gives part K from its bit `random_bits` on.  widths: bits that a draw takes
    of each neuron, per layer.
    """
    return [jump(start_state, draws * width) for width in widths] + [jump(start_state, random_bits)]


def _extended(known: np.ndarray, length: int) -> np.ndarray:
    """`known` continued to `length` items or more along its last axis, 61 or more at first.

    The items are bits of the sequence or, since squaring a polynomial over GF(2) spreads its
    exponents, any others for which the recurrence holds, such as its 64-bit words.
    """
    while known.shape[-1] < length:
        # With 61·2^k known items it holds with every distance times 2^k: more at once.
        scale = 1 << ((known.shape[-1] // STATE_BITS).bit_length() - 1)
        fresh = (STATE_BITS - TAPS[-1]) * scale
        base = known.shape[-1] - STATE_BITS * scale
        new = known[..., base : base + fresh].copy()
        for tap in TAPS[1:]:
            new ^= known[..., base + tap * scale : base + tap * scale + fresh]
        known = np.concatenate([known, new], axis=-1)
    return known


class BitReader:
    """Reads many stretches of the sequence in parallel, some bits at a time."""

    WORD = 64

    def __init__(self, windows: np.ndarray) -> None:
        """windows: 61-bit start windows, any shape, uint64."""
        shifts = np.arange(STATE_BITS, dtype=np.uint64)
        bits = ((windows[..., None] >> shifts) & np.uint64(1)).astype(np.uint8)
        bits = _extended(bits, STATE_BITS * self.WORD)[..., : STATE_BITS * self.WORD]
        packed = np.packbits(bits, axis=-1, bitorder="little")
        self._words = packed.view("<u8")
        self._position = 0

    def take(self, count: int) -> np.ndarray:
        """The next `count` bits of each stretch, shape windows.shape + (count,), uint8."""
        first, end = self._position // self.WORD, self._position + count
        self._words = _extended(self._words, -(-end // self.WORD))
        part = np.ascontiguousarray(self._words[..., first : -(-end // self.WORD)])
        bits = np.unpackbits(part.view(np.uint8), axis=-1, bitorder="little")
        bits = bits[..., self._position - first * self.WORD : end - first * self.WORD]
        # Words that were read go, all but those that the recurrence needs.
        gone = min(end // self.WORD, self._words.shape[-1] - STATE_BITS)
        self._words = self._words[..., gone:]
        self._position = end - gone * self.WORD
        return bits
