"""The next training sample: in turn, shuffled for every epoch, or drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgd.golden_model.network import Network
from mgd.golden_model.samples.window import SampleWindow
from mgd.golden_model.signs.sequence import BitReader, jump, spacing

CYCLE, EPOCH, RANDOM = ORDERS = ("cycle", "epoch", "random")
WORD_BITS = 32
KEYS = 4
"""Random words for the permutation of an epoch."""


def shuffled(places: np.ndarray, keys: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the samples at `places` of an epoch: a permutation of 0 … count−1.

    keys: four numbers (a, b, c, e) below 2^32.  With m bits that hold count − 1, places go
    through x ← (a|1)·x + b, x ← x ⊕ (x >> ⌈m/2⌉), x ← (c|1)·x + e, x ← x ⊕ (x >> ⌈m/2⌉), all
    modulo 2^m, again and again until they are below count.
    """
    bits = (count - 1).bit_length()
    low, half = (1 << bits) - 1, (bits + 1) // 2
    a, b, c, e = (int(key) for key in keys)

    def once(x: np.ndarray) -> np.ndarray:
        x = ((a | 1) % (low + 1) * x + b) & low
        x ^= x >> half
        x = ((c | 1) % (low + 1) * x + e) & low
        return x ^ (x >> half)

    # With one sample or none of its bits, a shift by 0 would undo the mixing.
    if bits < 2:
        return (places + b) % count
    result = once(places.astype(np.int64))
    while (outside := result >= count).any():
        result[outside] = once(result[outside])
    return result


def words_window(network: Network, start: int, words: int = 0) -> int:
    """The 61-bit window from which the random words are read, from number `words` on.

    start: the seed's start state (golden_model.seeds.start_state).
    """
    distance = spacing(network.neurons)
    return jump(start, network.neurons * distance + distance // 2 + WORD_BITS * words)


class SampleOrder:
    """Places of consecutive samples in the order of the memory, for several seeds.

    Random words are 32 bits of the sign sequence each, from the middle of stretch K on.
    window: with the order "cycle", the resident part of the set; None: all of it.
    """

    def __init__(
        self,
        kind: str,
        network: Network,
        start_states: Sequence[int],
        count: int,
        window: SampleWindow | None = None,
    ) -> None:
        if window is not None:
            window.check(count)
        self.kind, self.count, self.window = kind, count, window
        self._number = 0
        self._epoch = np.zeros((len(start_states), 0), dtype=np.int64)
        self._network, self._start_states = network, list(start_states)
        self._read_from(0)

    def take(self) -> np.ndarray | int:
        """The next place: one for all seeds, or (seeds,)."""
        place = self._number % self.count
        self._number += 1
        if self.window is not None:
            return int(self.window.places(np.array(self._number - 1), self.count))
        if self.kind == CYCLE:
            return place
        if self.kind == RANDOM:
            return (self._words(1)[:, 0] * self.count) >> WORD_BITS
        if place == 0:
            keys = self._words(KEYS)
            places = np.arange(self.count)
            self._epoch = np.array([shuffled(places, row, self.count) for row in keys])
        return self._epoch[:, place]

    def skip(self, samples: int) -> None:
        """Of a new order: continue as if so many had been used."""
        if self.kind == EPOCH:
            # Restart the current epoch at its beginning.
            epochs, left = divmod(samples, self.count)
            self._read_from(KEYS * epochs)
            self._number = epochs * self.count
            for _ in range(left):
                self.take()
            return
        self._number = samples
        self._read_from(samples)

    def _read_from(self, words: int) -> None:
        """Begin behind so many random words."""
        windows = [words_window(self._network, s, words) for s in self._start_states]
        self._reader = BitReader(np.array(windows, dtype=np.uint64))

    def _words(self, count: int) -> np.ndarray:
        """(seeds, count) numbers of 32 bits, the first bit the least significant."""
        bits = self._reader.take(count * WORD_BITS).astype(np.int64)
        bits = bits.reshape(len(bits), count, WORD_BITS)
        return (bits << np.arange(WORD_BITS)).sum(axis=-1)
