"""The sign sequence: primitive polynomial, leaps, streams and their statistics."""

from __future__ import annotations

import numpy as np
import pytest

from mgd.golden_model.learning import LEARNING
from mgd.golden_model.network import Network
from mgd.golden_model.seeds import start_state
from mgd.golden_model.signs import sequence as signs
from mgd.golden_model.signs.sequence import (
    BitReader,
    advance,
    jump,
    mask,
    multiply,
    spacing,
    stream_states,
)
from mgd.golden_model.trainer import SignSource

PERIOD = 2**61 - 1
"""A Mersenne prime."""
POLYNOMIAL = 1 << 61 | 1 << 16 | 1 << 15 | 1 << 1 | 1
SEED = 20


def sequence(state: int, count: int) -> list[int]:
    """The recurrence written out: s[n+61] = s[n] + s[n+1] + s[n+15] + s[n+16]."""
    bits = [state >> k & 1 for k in range(61)]
    while len(bits) < count:
        n = len(bits) - 61
        bits.append(bits[n] ^ bits[n + 1] ^ bits[n + 15] ^ bits[n + 16])
    return bits[:count]


def window(bits: list[int], n: int) -> int:
    return sum(bits[n + k] << k for k in range(61))


def product(a: int, b: int) -> int:
    """Polynomial product over GF(2), reduced by long division at the end."""
    result = 0
    for k in range(61):
        if b >> k & 1:
            result ^= a << k
    for k in range(result.bit_length() - 1, 60, -1):
        if result >> k & 1:
            result ^= POLYNOMIAL << (k - 61)
    return result


def test_taps_are_the_published_lfsr():
    """Taps 61, 60, 46, 45 are x^61 + x^60 + x^46 + x^45 + 1 or, read backwards, ours."""
    published = sum(1 << tap for tap in (61, 60, 46, 45, 0))
    assert int(f"{published:062b}"[::-1], 2) == POLYNOMIAL
    assert sum(1 << tap for tap in signs.TAPS) | 1 << signs.STATE_BITS == POLYNOMIAL


def test_multiply():
    random = np.random.default_rng(1)
    for a, b in random.integers(1, 1 << 61, (50, 2)).tolist():
        assert multiply(a, b) == multiply(b, a) == product(a, b)


def test_the_polynomial_is_primitive():
    """x^(2^61) = x makes every irreducible factor's degree divide 61, that is 1 or 61; no
    factor has degree 1, since 0 and 1 are no roots; so the polynomial is irreducible.  The order
    of x divides the prime 2^61 − 1 and is not 1, so it is 2^61 − 1."""
    power = 2  # x
    for _ in range(61):
        power = product(power, power)
    assert power == 2
    assert POLYNOMIAL & 1, "0 is no root"
    assert POLYNOMIAL.bit_count() % 2, "1 is no root"
    # Lucas-Lehmer: 2^61 − 1 is prime.
    s = 4
    for _ in range(59):
        s = (s * s - 2) % PERIOD
    assert s == 0
    assert mask(PERIOD) == 1
    assert mask(1) == 2
    assert jump(12345, PERIOD) == 12345


def test_advance_follows_the_recurrence():
    state = start_state(SEED)
    bits = sequence(state, 500)
    for n in (0, 1, 60, 61, 300, 439):
        assert advance(state, n) == window(bits, n)


def test_mask_is_a_bit_further_on():
    state = start_state(SEED)
    bits = sequence(state, 700)
    for offset in [*range(130), 600, 638]:
        for n in (0, 1, 17):
            assert (mask(offset) & window(bits, n)).bit_count() & 1 == bits[n + offset]


def test_jump_is_many_advances():
    state = start_state(SEED)
    for offset in (0, 1, 2, 60, 61, 62, 1000):
        assert jump(state, offset) == advance(state, offset)


@pytest.mark.parametrize("a", [1 << 40, 987654321987654321])
@pytest.mark.parametrize("b", [3, 1 << 57])
def test_jumps_add_up(a, b):
    state = start_state(SEED)
    assert jump(jump(state, a), b) == jump(state, a + b)
    assert jump(jump(state, a), PERIOD - a) == state


def test_streams_are_disjoint():
    """Spacing as documented; all K + 1 stretches fit the period without wrapping around."""
    for neurons in [*range(1, 70), 127, 128, 255, 256, 4095, 4096, 100_000]:
        log2_up = next(k for k in range(61) if 1 << k >= neurons + 1)
        assert spacing(neurons) == 2 ** (60 - log2_up)
        assert (neurons + 1) * spacing(neurons) <= PERIOD
        # Room for a year of draws of 4,097 bits at 1 MHz, even at 4,096 neurons.
        assert neurons > 4096 or spacing(neurons) > 4097 * 10**6 * 86400 * 365 // 1000


def test_streams_start_at_multiples_of_the_spacing():
    state = start_state(SEED)
    states = stream_states(state, 5)
    assert states == [jump(state, i * spacing(5)) for i in range(6)]
    assert len(set(states)) == 6


@pytest.mark.parametrize("pieces", [[1] * 200, [7, 61, 62, 1, 500], [3000, 5, 9000], [61]])
def test_bit_reader(pieces):
    states = [start_state(seed) for seed in (1, 2)]
    reader = BitReader(np.array([states], dtype=np.uint64))
    taken = np.concatenate([reader.take(count) for count in pieces], axis=-1)
    assert taken.shape == (1, 2, sum(pieces))
    for row, state in zip(taken[0], states, strict=True):
        assert row.tolist() == sequence(state, max(61, sum(pieces)))[: sum(pieces)]


def widths_of(network, nodes: bool) -> list[int]:
    return LEARNING["np" if nodes else "wp"].widths_of(network.layers)


@pytest.mark.parametrize("nodes", [False, True])
def test_every_sign_is_at_its_place(nodes, monkeypatch):
    """Sign of (neuron i, input j, draw d): bit d·width + j of stretch i, 0 meaning +1."""
    monkeypatch.setattr(SignSource, "BLOCK_BITS", 50)  # several blocks
    network, starts = Network((9, 5, 3)), [start_state(s) for s in (1, 77)]
    source = SignSource(network, starts, widths_of(network, nodes))
    draws = [source.draw() for _ in range(60)]
    neuron = 0
    for layer, (fan_in, size) in enumerate(((9, 5), (5, 3))):
        width = 1 if nodes else fan_in + 1
        assert draws[0][layer].shape == (2, size, width)
        for i in range(size):
            for seed, start in enumerate(starts):
                bits = sequence(jump(start, neuron * spacing(8)), 60 * width)
                want = 1.0 - 2.0 * np.array(bits).reshape(60, width)
                assert (np.array([d[layer][seed, i] for d in draws]) == want).all()
            neuron += 1


def test_random_bytes_are_stretch_k():
    network, starts = Network((2, 2, 1)), [start_state(s) for s in (1, 2)]
    source = SignSource(network, starts, widths_of(network, True))
    got = np.array([source.random_bytes() for _ in range(2100)]).T
    for row, start in zip(got, starts, strict=True):
        bits = np.array(sequence(jump(start, 3 * spacing(3)), 2100 * 8)).reshape(2100, 8)
        assert row.tolist() == (bits << np.arange(8)).sum(axis=1).tolist()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("nodes", [False, True])
def test_signs_are_balanced_and_uncorrelated(seed, nodes):
    """Against what fair coins give, over N draws: means and pair products within 5 sigma, the
    mean square of the pair products 1/N."""
    network, count = Network((20, 8, 6)), 8192
    source = SignSource(network, [start_state(seed)], widths_of(network, nodes))
    draws = np.array([np.concatenate([s.ravel() for s in source.draw()]) for _ in range(count)])
    assert draws.shape[1] == (network.neurons if nodes else network.parameters)
    sigma = count**-0.5
    assert np.abs(draws.mean(axis=0)).max() < 5 * sigma
    pairs = (draws.T @ draws / count)[np.triu_indices(draws.shape[1], 1)]
    later = draws[1:].T @ draws[:-1] / count  # each with each of the draw before
    print(f"seed {seed}: max pair {np.abs(pairs).max() / sigma:.2f} sigma, ", end="")
    print(f"mean square {(pairs**2).mean() * count:.3f}")
    assert np.abs(pairs).max() < 5 * sigma
    assert np.abs(later).max() < 5 * sigma
    spread = 5 * (2 / len(pairs)) ** 0.5
    assert abs((pairs**2).mean() * count - 1) < spread
