"""Imperfect hardware: noise, mismatch and broken memory cells around an otherwise exact core.

Everything is integers from the seed's random words, so a run with imperfections can be repeated
bit for bit as well.  McCaughan et al. 2023 (APL Machine Learning 1, 026118) study the same kinds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from mgd.golden_model import rules
from mgd.golden_model.formats import round_half_up, saturate
from mgd.golden_model.network import Network
from mgd.golden_model.seeds import words

GAIN_FRAC = 12
"""Fraction bits of a neuron's gain."""
NORMAL_SHIFT = 16
NORMAL_MEAN = 8 * 255 // 2
NORMAL_DEVIATION = math.sqrt(8 * (256**2 - 1) / 12)
"""Standard deviation of the sum of eight random bytes."""


@dataclass(frozen=True)
class Imperfections:
    """The kinds of imperfections and their sizes.  0 (None for cost_bits): none.

    Raises UserError where a value is out of range.
    """

    cost_noise: float = 0.0
    """Standard deviation of the noise on every measured cost, in units of the cost."""
    update_noise: float = 0.0
    """Standard deviation of the noise on every weight at every change, as a weight."""
    gain: float = 0.0
    """Standard deviation of the neurons' gains, which are 1 on average."""
    offset: float = 0.0
    """Standard deviation of the neurons' offsets, added to the pre-activation."""
    stuck: float = 0.0
    """Part of the low `stuck_bits` bits of all weights that is stuck at 0 or 1."""
    stuck_synapse: float = 0.0
    """The same for the copy of a weight that the neurons see; the memory behind it is whole."""
    stuck_bits: int = 8
    cost_bits: int | None = None
    """Fraction bits that the measured cost is rounded to."""

    def __post_init__(self) -> None:
        rules.check(rules.IMPERFECTIONS, i=self)

    @property
    def any(self) -> bool:
        """Whether anything is wrong at all."""
        plain = Imperfections(stuck_bits=self.stuck_bits)
        return any(getattr(self, f.name) != getattr(plain, f.name) for f in fields(self))


def noise(random_words: np.ndarray, deviation: float, frac: int) -> np.ndarray:
    """Bell-shaped int64 noise with `frac` fraction bits, of the words' shape.

    (the sum of a word's eight bytes − 1020)·a, rounded half up by 16 bits, a an integer such that
    the standard deviation is `deviation`.  It never exceeds 4.88 deviations.
    """
    octets = np.ascontiguousarray(random_words).view(np.uint8)
    total = octets.reshape(*random_words.shape, 8).sum(axis=-1, dtype=np.int64)
    return round_half_up((total - NORMAL_MEAN) * _factor(deviation, frac), NORMAL_SHIFT)


def largest_noise(deviation: float, frac: int) -> int:
    """Bound of |noise()|."""
    return round_half_up(NORMAL_MEAN * _factor(deviation, frac), NORMAL_SHIFT)


def _factor(deviation: float, frac: int) -> int:
    return math.floor(deviation / NORMAL_DEVIATION * 2.0 ** (frac + NORMAL_SHIFT) + 0.5)


BrokenBits = tuple[list[np.ndarray], list[np.ndarray]]
"""Per layer (seeds, nodes, fan_in + 1): the bits that work, and those that are stuck at 1."""


class ImperfectHardware:
    """The imperfections of several pieces of hardware, one per seed.

    gains (GAIN_FRAC fraction bits) and offsets (pre_frac): per layer (seeds, nodes).  memory and
    synapse: the bits that are stuck in either copy of the weights.
    """

    def __init__(self, what: Imperfections, network: Network, seeds: Sequence[int]) -> None:
        rules.check(rules.STUCK_BITS, i=what, n=network)
        self.what = what
        self.network = network
        self._seeds = list(seeds)
        self._costs = self._changes = 0
        gains = self._per_neuron("gains", what.gain, GAIN_FRAC)
        self.gains = [(1 << GAIN_FRAC) + g for g in gains]
        self.offsets = self._per_neuron("offsets", what.offset, network.pre_frac)
        self.memory = self._broken_bits(what.stuck)
        self.synapse = self._broken_bits(what.stuck_synapse)

    # -- limits, which follow from a core's formats ---------------------------------------------

    @property
    def pre_bound(self) -> int:
        """Largest |pre-activation| of an imperfect neuron.  Every activation function is constant
        from ±16 on, and this is more: only a cost that reads pre-activations can tell."""
        return self.network.output_bound

    @property
    def delta_bound(self) -> int:
        """Largest |D|: that of exact costs."""
        return 2 * self.network.cost_bound

    @property
    def change_bound(self) -> int:
        """Largest |change| that noise is added to: the whole range of a weight."""
        return 1 << self.network.weight_bits

    @property
    def dropped_bits(self) -> int:
        """Fraction bits that the measured cost has lost."""
        coarse = self.what.cost_bits
        return 0 if coarse is None else max(self.network.cost_frac - coarse, 0)

    # -- methods of the trainer -----------------------------------------------------------------

    def neurons(self, layer: int, z: np.ndarray, axis: int) -> np.ndarray:
        """Pre-activations as the imperfect neurons have them; axis 0: seeds, `axis`: neurons."""
        if not self.what.gain and not self.what.offset:
            return z
        shape = [1] * z.ndim
        shape[0], shape[axis] = self.gains[layer].shape
        gain, offset = (a[layer].reshape(shape) for a in (self.gains, self.offsets))
        moved = round_half_up(z * gain, GAIN_FRAC) + offset
        return saturate(moved, -self.pre_bound, self.pre_bound)

    def costs(self, exact: np.ndarray) -> np.ndarray:
        """The measured values of training costs (passes, seeds); may be negative."""
        if self.what.cost_noise:
            exact = exact + self.cost_noise(len(exact))
        return round_half_up(exact, self.dropped_bits) << self.dropped_bits

    def cost_noise(self, count: int) -> np.ndarray:
        """The noise on the next `count` costs (count, seeds)."""
        drawn = self._words("cost_noise", count, self._costs)
        self._costs += count
        return noise(drawn, self.what.cost_noise, self.network.cost_frac).T

    def delta(self, exact: np.ndarray) -> np.ndarray:
        """The D that is broadcast, from the difference of measured costs."""
        return saturate(exact, -self.delta_bound, self.delta_bound)

    def disturbed(self, change: np.ndarray, added: np.ndarray) -> np.ndarray:
        """The decrease of the weights, from a layer's change and its part of change_noise()."""
        return saturate(change, -self.change_bound, self.change_bound) - added

    def change_noise(self) -> list[np.ndarray] | None:
        """The noise on the next change of the weights, per layer (seeds, nodes, fan_in + 1)."""
        if not self.what.update_noise:
            return None
        count = self.network.parameters
        drawn = self._words("update_noise", count, self._changes * count)
        self._changes += 1
        return self._layers(noise(drawn, self.what.update_noise, self.network.weight_frac))

    def stored(self, layer: int, weights: np.ndarray) -> np.ndarray:
        """The stored values of weights that were written to the memory, float64 integers."""
        return self._broken(self.memory, layer, weights) if self.what.stuck else weights

    def used(self, layer: int, weights: np.ndarray) -> np.ndarray:
        """The weights that the neurons use, of those in the memory, float64 integers."""
        return self._broken(self.synapse, layer, weights) if self.what.stuck_synapse else weights

    # -- drawn once ------------------------------------------------------------------------

    def _words(self, purpose: str, count: int, first: int = 0) -> np.ndarray:
        return np.array([words(count, seed, purpose, first) for seed in self._seeds])

    def _per_neuron(self, purpose: str, deviation: float, frac: int) -> list[np.ndarray]:
        drawn = noise(self._words(purpose, self.network.neurons), deviation, frac)
        return np.split(drawn, np.cumsum(self.network.layers[1:])[:-1], axis=1)

    def _broken(self, bits: BrokenBits, layer: int, weights: np.ndarray) -> np.ndarray:
        keep, ones = bits
        return ((weights.astype(np.int64) & keep[layer]) | ones[layer]).astype(np.float64)

    def _broken_bits(self, share: float) -> BrokenBits:
        bits, count = self.what.stuck_bits, self.network.parameters
        drawn = self._words("stuck", bits * count).reshape(len(self._seeds), count, bits)
        limit = math.floor(share * 2.0**32)
        stuck = (drawn >> np.uint64(32)) < limit
        places = 1 << np.arange(bits, dtype=np.int64)
        ones = (drawn & np.uint64(1)).astype(bool)
        return (
            self._layers(~(stuck * places).sum(axis=-1)),
            self._layers(((stuck & ones) * places).sum(axis=-1)),
        )

    def _layers(self, flat: np.ndarray) -> list[np.ndarray]:
        """(seeds, parameters) as a list of (seeds, nodes, fan_in + 1)."""
        result, start = [], 0
        for fan_in, nodes in zip(self.network.layers, self.network.layers[1:], strict=False):
            count = nodes * (fan_in + 1)
            part = flat[:, start : start + count]
            result.append(part.reshape(len(flat), nodes, fan_in + 1))
            start += count
        return result
