"""What each family of perturbations promises: orthogonality, periods, amplitudes, numbering."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.learning import LEARNING
from mgd.golden_model.network import Network
from mgd.golden_model.perturbations import PERTURBATIONS, Numbering, number_quantities
from mgd.golden_model.perturbations.sequential import stride_and_start
from mgd.golden_model.perturbations.sine import SINE
from mgd.golden_model.perturbations.walsh import rows
from mgd.golden_model.settings import Settings, delta_exp_for

NETWORK = Network((4, 3, 2))
SEEDS = [1, 2, 77]


def numbered(
    network: Network, nodes: bool = False, by_layer: bool = False, trainable=()
) -> list[Numbering | None]:
    rule = LEARNING["np" if nodes else "wp"]
    return number_quantities(rule.perturbed_of(network.layers), by_layer, trainable)


def draws(
    name: str, count: int, nodes: bool = False, by_layer: bool = False, trainable=()
) -> np.ndarray:
    """(draws, seeds, quantities) in natural units, those of frozen layers left out."""
    numbering = numbered(NETWORK, nodes, by_layer, trainable)
    kind = PERTURBATIONS[name](NETWORK, numbering, SEEDS)
    rows = []
    for _ in range(count):
        values = [v.reshape(len(SEEDS), -1) for v in kind.draw() if v is not None]
        rows.append(np.concatenate(values, axis=1))
    return np.array(rows) * 2.0**-kind.frac


@pytest.mark.parametrize("nodes", [False, True])
@pytest.mark.parametrize("name", ["sequential", "walsh", "square", "sine"])
def test_values_of_a_period(name, nodes):
    """Over a period every quantity has its mean square; in the next one only signs change."""
    total = 5 if nodes else 23
    period = PERTURBATIONS[name].period(total)
    s = draws(name, 2 * period, nodes)
    assert s.shape == (2 * period, len(SEEDS), total)
    first, second = s[:period], s[period:]
    square = (first**2).mean(axis=0)
    # A sine of an even frequency meets only some of the 32 points, or only few of them.
    tolerance = 0.12 if name == "sine" else 1e-12
    assert np.abs(square - PERTURBATIONS[name].mean_square(total)).max() <= tolerance
    assert (second == (-first if name == "walsh" else first)).all()
    assert (s[:, 0] != s[:, 1]).any() | (s[:, 0] != s[:, 2]).any(), "seeds differ"


@pytest.mark.parametrize("nodes", [False, True])
@pytest.mark.parametrize(
    ("name", "most"), [("sequential", 0.0), ("walsh", 0.0), ("sine", 0.1), ("square", 0.5)]
)
def test_orthogonality(name, most, nodes):
    """Exact for sequential and Walsh codes.  Square waves share odd harmonics, f and 3f a third and
    more where a turn has few samples; those of the quantised sine are small."""
    total = 5 if nodes else 23
    period = PERTURBATIONS[name].period(total)
    s = draws(name, period, nodes).transpose(1, 0, 2)
    gram = np.matmul(s.transpose(0, 2, 1), s) / period / PERTURBATIONS[name].mean_square(total)
    worst = np.abs(gram - gram * np.eye(total)).max()
    print(f"{name}: largest correlation {worst:.3f}")
    assert worst <= most + 1e-12
    if name == "square" and not nodes:
        assert worst > 0.3, "else frequencies 1 and 3 are not what they should be"


@pytest.mark.parametrize("total", [1, 2, 9, 220, 2410])
def test_sequential_visits_everything_once(total):
    for seed in range(50):
        a, b = stride_and_start(total, seed)
        assert sorted((b + a * d) % total for d in range(total)) == list(range(total))
    starts = {stride_and_start(total, seed) for seed in range(50)}
    assert len(starts) > 30 or total < 10


@pytest.mark.parametrize("layers", [(1, 1), (2, 2, 1), (4, 3, 2), (15, 1), (64, 32, 10)])
def test_walsh_rows_are_distinct_and_never_constant(layers):
    network = Network(layers)
    numbering = numbered(network)
    got = np.concatenate([rows(n, 5).ravel() for n in numbering if n is not None])
    length = PERTURBATIONS["walsh"].period(network.parameters)
    assert length is not None
    assert length / 2 <= network.parameters < length
    assert len(set(got)) == network.parameters
    assert (got > length).all()
    assert (got < 2 * length).all()


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("nodes", [False, True])
def test_layers_alone_and_frozen_ones(name, nodes):
    """A layer that counts by itself is perturbed as if it were the only one that is trained."""
    alone = draws(name, 40, nodes, trainable=(False, True))
    both = draws(name, 40, nodes, by_layer=True)
    assert (both[..., -alone.shape[-1] :] == alone).all()


def test_numbering():
    whole = numbered(NETWORK)
    assert [n.numbers.ravel().tolist() for n in whole if n] == [
        list(range(15)),
        list(range(15, 23)),
    ]
    assert [n.total for n in whole if n] == [23, 23]
    nodes = numbered(NETWORK, nodes=True, by_layer=True)
    assert [n.numbers.tolist() for n in nodes if n] == [[[0], [1], [2]], [[0], [1]]]
    frozen = numbered(NETWORK, trainable=(False, True))
    assert frozen[0] is None
    assert frozen[1] is not None
    assert (frozen[1].first, frozen[1].total) == (0, 8)


def test_sine_table():
    assert SINE.tolist()[:9] == [0, 2, 3, 4, 6, 7, 7, 8, 8]
    assert (SINE[16:] == -SINE[:16]).all()
    assert np.abs(SINE / 8 - np.sin(np.arange(32) * math.pi / 16)).max() <= 1 / 16


@pytest.mark.parametrize(
    ("name", "delta"), [("sequential", 1.0), ("random", 1 / 16), ("walsh", 1 / 16), ("sine", None)]
)
def test_norm_is_the_length_of_the_perturbation(name, delta):
    """McCaughan et al. 2023: m per slot, m/√N for codes, m·√2/√N for sinusoids."""
    amplitude = PERTURBATIONS[name].amplitude(1.0, 256)
    assert amplitude == pytest.approx(delta or 2**0.5 / 16, rel=0.01)
    numbering = numbered(NETWORK)
    exp = delta_exp_for(0.25, name, numbering)
    root = PERTURBATIONS[name].mean_square(23) ** 0.5
    length = 2.0**-exp * root * 23**0.5
    assert 0.25 / 2**0.5 <= length <= 0.25 * 2**0.5


@pytest.mark.parametrize("norm", [5.0, 1e-4])
def test_norm_out_of_range(norm):
    numbering = numbered(NETWORK)
    with pytest.raises(
        UserError, match=r"norm = .* over 23 quantities .* between 2\^-12 and 2\^-1"
    ):
        delta_exp_for(norm, "random", numbering)


def test_settings_number_what_they_perturb():
    settings = Settings("np", scope="layer", trainable=(True, False))
    first, second = settings.numbering(NETWORK)
    assert first is not None
    assert (first.shape, first.total, second) == ((3, 1), 3, None)
