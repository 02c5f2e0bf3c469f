"""Phases for frequency multiplexing: one frequency a quantity, random phases."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from mgd.golden_model.network import Network
from mgd.golden_model.perturbations.base import Numbering, Perturbation
from mgd.golden_model.seeds import start_state
from mgd.golden_model.signs.sequence import BitReader, stream_states

LEAST_BITS = 5
"""A sine has 32 points a turn, so a phase has as many bits or more."""


def phase_bits(total: int) -> int:
    """p: a phase is p bits, and N frequencies 1 … N lie below half of 2^p draws' sampling."""
    return max(LEAST_BITS, total.bit_length() + 1)


class Waves(Perturbation):
    """Quantity k has the phase (d·(k+1) + φ_k) mod 2^p in draw d.

    φ_k are p bits of the neuron's stretch of the sign sequence from its start on, the first the
    least significant: bits j·p … j·p+p−1 for input j, so that a sweep reads them in order.
    """

    def __init__(
        self, network: Network, numbering: list[Numbering | None], seeds: Sequence[int]
    ) -> None:
        windows = np.array(
            [stream_states(start_state(seed), network.neurons) for seed in seeds], dtype=np.uint64
        )
        self._numbering, self._number = numbering, 0
        self._phases: list[np.ndarray] = []
        first = 0
        for layer, n in enumerate(numbering):
            size = network.layers[layer + 1]
            if n is None:
                self._phases.append(np.zeros(0))
            else:
                p = phase_bits(n.total)
                bits = BitReader(windows[:, first : first + size]).take(p * n.shape[1])
                bits = bits.reshape(len(seeds), *n.shape, p).astype(np.int64)
                self._phases.append((bits << np.arange(p)).sum(axis=-1))
            first += size

    def skip(self, draws: int) -> None:
        self._number += draws

    def draw(self) -> list[np.ndarray | None]:
        number = self._number
        self._number += 1
        result: list[np.ndarray | None] = []
        for n, start in zip(self._numbering, self._phases, strict=True):
            if n is None:
                result.append(None)
                continue
            p = phase_bits(n.total)
            phase = (number % (1 << p) * (n.numbers + 1) + start) & ((1 << p) - 1)
            result.append(self.wave(phase, p).astype(np.float64))
        return result

    @abstractmethod
    def wave(self, phase: np.ndarray, bits: int) -> np.ndarray:
        """Integers with `frac` fraction bits at phase / 2^bits of a turn."""

    @classmethod
    def period(cls, total: int) -> int | None:
        return 1 << phase_bits(total)
