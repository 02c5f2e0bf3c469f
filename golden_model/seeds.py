"""Everything that a seed decides, by splitmix64 (Steele, Lea and Flood 2014).

A seed is never used raw: seed 1 as the state of a shift register would give a sequence that
is nearly constant at first, and neighbouring seeds would give shifted copies.
"""

from __future__ import annotations

import math

import numpy as np

from mgd.golden_model.network import Network

GOLDEN_GAMMA = 0x9E3779B97F4A7C15
STATE_BITS = 61

PURPOSES = {
    "signs": 0,
    "weights": 1,
    "order": 2,
    "split": 3,
    "data": 4,
    "codes": 5,
    "gains": 6,
    "offsets": 7,
    "stuck": 8,
    "cost_noise": 9,
    "update_noise": 10,
}
"""The purposes of random words: each has its own sequence."""


def mix(words: np.ndarray) -> np.ndarray:
    """The output function of splitmix64, on uint64 arrays."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def words(count: int, seed: int, purpose: str, first: int = 0) -> np.ndarray:
    """`count` uint64 words from number n = `first` on.

    Word n is mix(key + (n+1)·γ), where key = mix(mix(seed + γ) + purpose).
    """
    one = np.array([(seed + GOLDEN_GAMMA) % 2**64], dtype=np.uint64)
    key = mix(mix(one) + np.uint64(PURPOSES[purpose]))
    steps = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    return mix(key + steps * np.uint64(GOLDEN_GAMMA))


def start_state(seed: int) -> int:
    """61-bit start state of the sign sequence: never 0."""
    state = int(words(1, seed, "signs")[0]) & ((1 << STATE_BITS) - 1)
    return state or 1


def permutation(n: int, seed: int, purpose: str = "order") -> np.ndarray:
    """A permutation of 0..n−1, int64: the indices in ascending order of their random words."""
    return np.argsort(words(n, seed, purpose), kind="stable").astype(np.int64)


def initial_weights(network: Network, seed: int, gain: float = 1.0) -> list[np.ndarray]:
    """Per layer an int64 array (nodes, fan_in + 1): uniform weights, zero biases.

    Weight number n in the order layer, node, input (biases counted too) is
    ⌊w_n·(2a+1)/2^32⌋ − a, w_n the upper half of random word n and a the largest weight of the
    layer: gain·sqrt(6/(fan_in + nodes)) rounded to the weight format (Glorot and Bengio 2010).
    """
    upper = words(network.parameters, seed, "weights") >> np.uint64(32)
    result, start = [], 0
    for fan_in, nodes in zip(network.layers, network.layers[1:], strict=False):
        limit = gain * math.sqrt(6.0 / (fan_in + nodes))
        a = min(math.floor(limit * 2**network.weight_frac + 0.5), network.weight_max)
        count = nodes * (fan_in + 1)
        scaled = (upper[start : start + count] * np.uint64(2 * a + 1)) >> np.uint64(32)
        layer = scaled.astype(np.int64).reshape(nodes, fan_in + 1) - a
        layer[:, fan_in] = 0
        result.append(layer)
        start += count
    return result
