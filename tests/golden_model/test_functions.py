"""Further activations and costs: beside the written-out rules, the float ones, and their bounds."""

from __future__ import annotations

import numpy as np
import pytest

from mgd.golden_model.activations import activate
from mgd.golden_model.costs import classify
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ONE, Network
from mgd.golden_model.reference import network as reference
from mgd.golden_model.settings import Settings
from tests.golden_model.test_family import same_run
from tests.golden_model.test_trainer import apart_from_float

FURTHER = ["sigmoid", "leaky_relu", "hard_tanh"]
COSTS = {
    "hinge": {"cost": "hinge"},
    "l1": {"cost": "l1"},
    "l1, coarse": {"cost": "l1", "cost_frac": 10},
    "smoothed": {"cost": "cross_entropy", "smoothing_exp": 3, "cost_frac": 15, "pre_frac": 11},
}


@pytest.mark.parametrize("cost", [*COSTS, "mse"])
@pytest.mark.parametrize("kind", FURTHER)
@pytest.mark.parametrize("method", ["wp", "np"])
def test_equals_the_written_out_rules(method, kind, cost):
    network = Network((4, 3, 3), kind, kind, sample_bits=4, **COSTS.get(cost, {"cost": cost}))
    same_run(network, Settings(method, delta_exp=4, eta_exp=4, input_shift=10))


@pytest.mark.parametrize("cost", ["hinge", "l1", "l1, coarse"])
@pytest.mark.parametrize("difference", ["antithetic", "forward"])
def test_a_single_output(cost, difference):
    network = Network((3, 3, 1), accumulators=True, **COSTS[cost])
    settings = Settings("np", difference, "residual", delta_exp=4, eta_exp=5, input_shift=6)
    same_run(network, settings)


@pytest.mark.parametrize("kind", FURTHER)
@pytest.mark.parametrize("pre_frac", [8, 12, 14])
def test_activations_are_near_the_exact_ones(kind, pre_frac):
    z = np.arange(-(12 << pre_frac), 12 << pre_frac, 7)
    y, over = activate(kind, z, pre_frac)
    exact = reference.activation(kind, z * 2.0**-pre_frac)
    limited = np.clip(exact, -2, 32767 / ONE)
    print(f"{kind}: off by {np.abs(y / ONE - limited).max():.5f}")
    assert np.abs(y / ONE - limited).max() < (0.012 if kind == "sigmoid" else 2.0**-14)
    assert (over == (np.abs(exact - limited) > 2.0**-14)).all() or kind == "leaky_relu"
    assert over.any() == (kind == "leaky_relu")
    assert (np.diff(y) >= 0).all()
    if kind == "sigmoid":
        assert (y[z == 0] == ONE // 2).all()
        assert y.min() > 0
        assert y.max() < ONE


def outputs_of(network: Network, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    if network.reads_sums:
        z = random.integers(-40_000, 40_000, (count, network.outputs))
    else:
        z = random.integers(-32768, 32768, (count, network.outputs))
    return z, random.integers(0, network.classes, count)


@pytest.mark.parametrize("outputs", [1, 2, 3, 10])
@pytest.mark.parametrize("cost", COSTS)
def test_costs_are_near_the_exact_ones(cost, outputs):
    if cost == "smoothed" and outputs == 1:
        pytest.skip("refused: a softmax of one is 1")
    network = Network((2, outputs), **COSTS[cost])
    z, labels = outputs_of(network)
    got = network.cost_kind.exact(z, labels, network) * 2.0**-network.cost_frac
    unit = 2.0**-network.pre_frac if network.reads_sums else 1 / ONE
    exact = reference.cost(z * unit, labels, network)
    print(f"{cost}: off by {np.abs(got - exact).max():.5f} of {exact.max():.2f}")
    assert np.abs(got - exact).max() < (0.01 if cost == "smoothed" else 2.0**-network.cost_frac)
    assert got.min() >= 0
    if network.outputs > 1 and cost == "hinge":
        right = classify(z, network) == labels
        assert (got[right] < 1).all()
        assert (got[~right] >= 1).all()


@pytest.mark.parametrize("outputs", [1, 2, 10, 1000])
@pytest.mark.parametrize("cost", COSTS)
def test_costs_stay_within_their_bound(cost, outputs):
    """All outputs at the ends of their ranges: never above cost_bound, and near it."""
    if cost == "smoothed" and outputs == 1:
        pytest.skip("refused: a softmax of one is 1")
    network = Network((5, outputs), "identity", "identity", **COSTS[cost])
    if network.reads_sums:
        end = (network.sum_bound >> network.pre_shift) + 1
        z = np.full((2, outputs), end)
        z[0, 0], z[1, 1:] = -end, -end
    else:
        z = np.array([[-32768] * outputs, [32767] * outputs])
    worst = 0
    for label in range(min(network.classes, 3)):
        found = network.cost_kind.exact(z, np.array([label, label]), network)
        worst = max(worst, int(found.max()))
    print(f"{worst} of {network.cost_bound}")
    assert worst <= network.cost_bound
    assert worst > 0.4 * network.cost_bound


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("kind", [*FURTHER, "tanh"])
def test_gradient_is_the_finite_difference(cost, kind):
    network = Network((4, 5, 3), kind, kind, **COSTS[cost])
    random = np.random.default_rng(3)
    weights = [random.normal(0, 0.6, shape) for shape in ((5, 5), (3, 6))]
    x, labels = random.normal(0, 1, (6, 4)), random.integers(0, 3, 6)
    gradients, h = reference.gradient(weights, x, labels, network), 1e-6
    for layer, w in enumerate(weights):
        for i, j in np.ndindex(*w.shape):
            found = []
            for move in (h, -h):
                moved = [v.copy() for v in weights]
                moved[layer][i, j] += move
                outputs = reference.forward(moved, x, network).outputs
                found.append(reference.cost(outputs, labels, network))
            difference = (found[0] - found[1]) / (2 * h)
            assert np.abs(gradients[layer][:, i, j] - difference).max() < 1e-6
    assert any((g != 0).any() for g in gradients)


@pytest.mark.parametrize("cost", ["hinge", "l1"])
@pytest.mark.parametrize("kind", ["leaky_relu", "hard_tanh"])
def test_fixed_point_follows_the_float_run(cost, kind):
    network = Network(
        (4, 3, 2), kind, kind, weight_bits=18, pre_frac=14, cost_frac=16, sample_signed=True,
        **COSTS[cost],
    )  # fmt: skip
    settings = Settings("np", eta_exp=11, input_shift=6)
    apart, moved = apart_from_float(network, settings, 120)
    assert apart < 0.03 * moved


def test_digests_of_networks_that_were_there_before():
    """A field that came later does not change them; where it is used, it does."""
    plain = Network((2, 3, 2), cost="cross_entropy")
    smoothed = Network((2, 3, 2), cost="cross_entropy", smoothing_exp=4)
    assert plain.digest() != smoothed.digest()
    assert plain.digest().startswith("d86b2754d7eccc2a")
    assert (
        Network((2, 3, 2), cost="hinge", output="relu").digest()
        == Network((2, 3, 2), cost="hinge").digest()
    )


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"hidden": "gelu"}, ["hidden = 'gelu'", "sigmoid, leaky_relu, hard_tanh"]),
        ({"cost": "huber"}, ["cost = 'huber'", "hinge, l1"]),
        ({"cost": "hinge", "cost_frac": 10}, ["cost_frac = 10", "hinge"]),
        ({"smoothing_exp": 3}, ["smoothing_exp = 3 with cost = 'mse'", "cross_entropy"]),
        ({"smoothing_exp": 17, "cost": "cross_entropy"}, ["smoothing_exp = 17", "0 and 16"]),
    ],
)
def test_refused(fields, parts):
    with pytest.raises(UserError) as caught:
        Network((2, 3, 2), **fields)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
