"""Signs and random bytes, read from the neurons' parts of the sign sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgd.golden_model.network import ROUND_BITS, Network
from mgd.golden_model.signs.sequence import BitReader, jump, spacing, start_states_at, stream_states


class SignSource:
    """Signs and random bytes of consecutive draws, for several seeds.

    widths: bits that a draw takes of each neuron, per layer.  draws, bytes_taken: how many of each
    are over already.
    """

    BLOCK_BITS = 4096
    BLOCK_SIGNS = 1 << 17
    """Draws made at once: few calls for small networks, but no more than caches hold."""

    def __init__(
        self,
        network: Network,
        start_states: Sequence[int],
        widths: Sequence[int],
        draws: int = 0,
        bytes_taken: int = 0,
    ) -> None:
        self.network = network
        self.widths = list(widths)
        starts = [start_states_at(state, self.widths, draws, 0) for state in start_states]

        def windows(layer: int) -> np.ndarray:
            states = [stream_states(one[layer], network.neurons) for one in starts]
            return np.array(states, dtype=np.uint64)

        every = windows(0)
        self._layers: list[BitReader] = []
        first = 0
        for layer, size in enumerate(network.layers[1:]):
            own = windows(layer) if draws else every
            self._layers.append(BitReader(own[:, first : first + size]))
            first += size
        self._random = RandomBytes(network, start_states, bytes_taken)
        total = sum(a * b for a, b in zip(self.widths, network.layers[1:], strict=True))
        total *= len(start_states)
        self._block = max(1, min(self.BLOCK_BITS // max(self.widths), self.BLOCK_SIGNS // total))
        self._signs: list[np.ndarray] = []
        self._left = 0

    def draw(self) -> list[np.ndarray]:
        """Signs ±1 of the next draw, float64, per layer (seeds, nodes, width)."""
        if not self._left:
            self._signs = []
            for reader, width in zip(self._layers, self.widths, strict=True):
                bits = reader.take(self._block * width)
                bits = bits.reshape(*bits.shape[:-1], self._block, width)
                self._signs.append(
                    np.moveaxis((1 - 2 * bits.view(np.int8)).astype(np.float64), -2, 0)
                )
            self._left = self._block
        index = self._block - self._left
        self._left -= 1
        return [signs[index] for signs in self._signs]

    def random_bytes(self) -> np.ndarray:
        """RandomBytes.take() of the same seeds."""
        return self._random.take()


class RandomBytes:
    """The random bytes of consecutive steps: 8 bits of stretch K each.

    taken: how many are over already.
    """

    def __init__(self, network: Network, start_states: Sequence[int], taken: int = 0) -> None:
        offset = network.neurons * spacing(network.neurons) + ROUND_BITS * taken
        windows = [jump(state, offset) for state in start_states]
        self._reader = BitReader(np.array(windows, dtype=np.uint64))
        self._bytes = np.zeros((len(start_states), 0), dtype=np.int64)

    def take(self) -> np.ndarray:
        """The next byte per seed, int64 (seeds,): first bit = least significant."""
        if self._bytes.shape[1] == 0:
            bits = self._reader.take(1024 * ROUND_BITS)
            bits = bits.reshape(bits.shape[0], 1024, ROUND_BITS).astype(np.int64)
            self._bytes = (bits << np.arange(ROUND_BITS)).sum(axis=-1)
        byte, self._bytes = self._bytes[:, 0], self._bytes[:, 1:]
        return byte
