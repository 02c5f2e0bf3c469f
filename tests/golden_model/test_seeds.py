"""What a seed decides: splitmix64, start states, permutations and initial weights."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mgd.golden_model import seeds
from mgd.golden_model.network import Network
from mgd.golden_model.seeds import GOLDEN_GAMMA, PURPOSES, initial_weights, mix, permutation, words

ALL = (1 << 64) - 1


class SplitMix64:
    """The published C generator (Steele, Lea and Flood 2014; Vigna's splitmix64.c)."""

    def __init__(self, state: int) -> None:
        self.state = state & ALL

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & ALL
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & ALL
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ALL
        return z ^ (z >> 31)


PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]
"""First outputs for seed 1234567, as quoted widely."""


def test_published_vector():
    generator = SplitMix64(1234567)
    assert [generator.next() for _ in range(5)] == PUBLISHED
    states = 1234567 + np.arange(1, 6, dtype=np.uint64) * np.uint64(GOLDEN_GAMMA)
    assert mix(states).tolist() == PUBLISHED


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
def test_words_are_splitmix64_from_a_key(seed, purpose):
    def mixed(value: int) -> int:
        return SplitMix64(value - 0x9E3779B97F4A7C15).next()

    number = {"signs": 0, "weights": 1, "order": 2, "split": 3, "data": 4, "codes": 5, "gains": 6,
              "offsets": 7, "stuck": 8, "cost_noise": 9, "update_noise": 10}[purpose]  # fmt: skip
    generator = SplitMix64(mixed((mixed(seed + 0x9E3779B97F4A7C15) + number) & ALL))
    assert words(20, seed, purpose).tolist() == [generator.next() for _ in range(20)]


def test_purposes_and_seeds_do_not_share_words():
    everything = np.concatenate([words(200, s, p) for s in range(50) for p in PURPOSES])
    assert len(set(everything.tolist())) == len(everything)


def test_start_state_is_61_bits_and_never_zero(monkeypatch):
    for seed in range(200):
        assert seeds.start_state(seed) == int(words(1, seed, "signs")[0]) & (2**61 - 1)
    for useless in (0, 1 << 61, 7 << 61):
        monkeypatch.setattr(seeds, "words", lambda *_, w=useless: np.array([w], dtype=np.uint64))
        assert seeds.start_state(0) == 1


def test_permutation():
    for n in (1, 2, 10, 1437):
        order = permutation(n, 5)
        assert sorted(order.tolist()) == list(range(n))
        assert order.tolist() == sorted(range(n), key=words(n, 5, "order").tolist().__getitem__)
    assert permutation(50, 1).tolist() != permutation(50, 2).tolist()
    assert permutation(50, 1, "split").tolist() != permutation(50, 1).tolist()


@pytest.mark.parametrize("weight_bits", [8, 16, 18])
@pytest.mark.parametrize("gain", [0.5, 1.0, 50.0])
def test_initial_weights(weight_bits, gain):
    network = Network((30, 20, 10), weight_bits=weight_bits)
    layers = initial_weights(network, 3, gain)
    upper = [w >> 32 for w in words(network.parameters, 3, "weights").tolist()]
    for weights, fan_in, nodes in zip(layers, (30, 20), (20, 10), strict=True):
        limit = gain * math.sqrt(6 / (fan_in + nodes)) * 2 ** (weight_bits - 4)
        a = min(math.floor(limit + 0.5), 2 ** (weight_bits - 1) - 1)
        assert weights.shape == (nodes, fan_in + 1)
        for row in weights.tolist():
            want = [(upper.pop(0) * (2 * a + 1) >> 32) - a for _ in range(fan_in + 1)]
            assert row == [*want[:-1], 0], "the bias is zero, its word is skipped"
        inner = weights[:, :-1]
        assert -a <= inner.min() < -0.9 * a
        assert 0.9 * a < inner.max() <= a
        assert abs(inner.mean()) < 4 * a / math.sqrt(3 * inner.size)
    assert not upper


def test_initial_weights_differ_between_seeds():
    network = Network((30, 20, 10))
    assert (initial_weights(network, 1)[0] != initial_weights(network, 2)[0]).mean() > 0.9
