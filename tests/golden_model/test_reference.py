"""The float64 reference: gradients against finite differences, and against the fixed point."""

from __future__ import annotations

import numpy as np
import pytest

from mgd.golden_model.network import ONE, Network
from mgd.golden_model.reference import network as reference
from mgd.golden_model.reference.network import float_inputs, float_weights
from mgd.golden_model.reference.trainer import FloatTrainer
from mgd.golden_model.seeds import initial_weights, permutation
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.task.task import Task

NETWORKS = [
    Network((4, 3, 2), "tanh", "tanh"),
    Network((4, 3, 1), "relu", "identity", target_low=0),
    Network((4, 5, 3, 3), "identity", "relu"),
    Network((4, 5, 3, 3), "tanh", cost="cross_entropy"),
    Network((4, 5, 2), "relu", cost="cross_entropy"),
]


def random_weights(network: Network, *leading: int) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    pairs = zip(network.layers, network.layers[1:], strict=False)
    return [random.normal(0, 0.6, (*leading, n, f + 1)) for f, n in pairs]


def random_samples(network: Network, count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    return random.normal(0, 1, (count, 4)), random.integers(0, network.classes, count)


def costs(weights, x, labels, network, perturbation=None):
    outputs = reference.forward(weights, x, network, perturbation).outputs
    return reference.cost(outputs, labels, network)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n.hidden}-{n.output}-{n.cost}")
def test_gradient_is_the_finite_difference(network):
    """Central differences, h = 1e-5: the error is of the order of h² = 1e-10."""
    weights, (x, labels) = random_weights(network), random_samples(network, 6)
    gradients, h = reference.gradient(weights, x, labels, network), 1e-5
    for layer, w in enumerate(weights):
        assert gradients[layer].shape == (6, *w.shape)
        for i, j in np.ndindex(*w.shape):
            keep = w[i, j]
            w[i, j] = keep + h
            plus = costs(weights, x, labels, network)
            w[i, j] = keep - h
            difference = (plus - costs(weights, x, labels, network)) / (2 * h)
            w[i, j] = keep
            assert np.abs(gradients[layer][:, i, j] - difference).max() < 1e-7
    assert all((g != 0).any() for g in gradients)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n.hidden}-{n.output}-{n.cost}")
def test_node_gradient_is_the_finite_difference(network):
    weights, (x, labels) = random_weights(network), random_samples(network, 6)
    _, errors = reference.node_gradient(weights, x, labels, network)
    h = 1e-5
    for layer, nodes in enumerate(network.layers[1:]):
        for i in range(nodes):
            move = [np.zeros(n) for n in network.layers[1:]]
            move[layer][i] = h
            plus = costs(weights, x, labels, network, move)
            move[layer][i] = -h
            difference = (plus - costs(weights, x, labels, network, move)) / (2 * h)
            assert np.abs(errors[layer][:, i] - difference).max() < 1e-7


def test_leading_axes_are_independent():
    """Seeds with a sample each give what each gives alone."""
    network = NETWORKS[3]
    weights, (x, labels) = random_weights(network, 6), random_samples(network, 6)
    together = reference.gradient(weights, x, labels, network)
    for k in range(6):
        alone = reference.gradient([w[k] for w in weights], x[k], labels[k], network)
        for a, b in zip(together, alone, strict=True):
            assert np.allclose(a[k], b, rtol=0, atol=1e-13)


def test_cost_and_classification_by_hand():
    entropy = Network((2, 3), cost="cross_entropy")
    z = np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 0.0], [5000.0, 0.0, -5000.0]])
    got = reference.cost(z, np.array([2, 1, 2]), entropy)
    assert np.allclose(got, [np.log2(3), np.log2(8 + 2 + 1) - 1, 10000])
    assert reference.classify(z, entropy).tolist() == [0, 0, 0]
    mse = Network((2, 1), target_low=0, target_high=ONE)
    y = np.array([[0.25], [0.5]])
    assert np.allclose(reference.cost(y, np.array([0, 1]), mse), [0.0625, 0.25])
    assert reference.classify(y, mse).tolist() == [0, 1]


def test_evaluate():
    network = NETWORKS[3]
    weights, (x, labels) = random_weights(network, 2), random_samples(network, 30)
    accuracy, mean = reference.evaluate(weights, x, labels, network)
    for k in (0, 1):
        outputs = reference.forward([w[k] for w in weights], x, network).outputs
        assert accuracy[k] == (outputs.argmax(axis=1) == labels).mean()
        assert np.isclose(mean[k], reference.cost(outputs, labels, network).mean())


def test_sgd_steps_by_hand():
    network = NETWORKS[0]
    weights, (x, labels) = random_weights(network), random_samples(network, 3)
    before, by_hand = [w.copy() for w in weights], [w.copy() for w in weights]
    for index in (0, 1, 2, 0):
        gradients = reference.gradient(by_hand, x[index], labels[index], network)
        by_hand = [w - 0.1 * g for w, g in zip(by_hand, gradients, strict=True)]
    final, curve = reference.backpropagation_sgd(network, x, labels, weights, 0.1, 4, every=2)
    assert all((a == b).all() for a, b in zip(final, by_hand, strict=True))
    assert all((a == b).all() for a, b in zip(weights, before, strict=True))
    assert [step for step, _, _ in curve] == [0, 2, 4]
    assert curve[0][2] == costs(before, x, labels, network).mean()
    assert curve[-1][2] == costs(final, x, labels, network).mean()


def test_sgd_learns_xor():
    """Measured: 15 of 20 seeds within 2,000 samples; the others end in local minima."""
    network = Network((2, 2, 1), sample_bits=2, sample_signed=True)
    x, labels = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1.0]]), np.array([0, 1, 1, 0])
    solved = 0
    for seed in range(1, 21):
        start = float_weights(initial_weights(network, seed), network)
        curve = reference.backpropagation_sgd(network, x, labels, start, 0.1, 2000, 20)[1]
        solved += any(accuracy == 1.0 for _, accuracy, _ in curve)
    print(f"{solved} of 20 seeds")
    assert solved >= 13


def test_sgd_learns_digits():
    """Measured: 95 % after 2,000 samples, 0.989 after 15,000."""
    task = Task.load("digits")
    network, (train, test) = task.spec.network, task.datasets()
    shift = task.spec.settings.input_shift
    _, curve = reference.backpropagation_sgd(
        network,
        float_inputs(train.codes, shift),
        train.labels,
        float_weights(initial_weights(network, 1), network),
        0.1,
        15_000,
        1000,
        (float_inputs(test.codes, shift), test.labels),
    )
    reached = next(step for step, accuracy, _ in curve if accuracy >= 0.95)
    print(f"95 % after {reached} samples, {curve[-1][1]:.3f} after {curve[-1][0]}")
    assert reached <= 6000
    assert curve[-1][1] >= 0.955


FINE = {"weight_bits": 18, "pre_frac": 14, "cost_frac": 16, "sample_signed": True}
LINEAR = Network((4, 3, 2), "identity", "identity", accumulators=True, tau_theta_max=64, **FINE)
RECTIFIED = Network((4, 6, 2), "relu", "identity", accumulators=True, tau_theta_max=64, **FINE)
PLANS = [
    {"eta_exp": 8},
    {"eta_exp": 9, "tau_x": 3, "tau_p": 2},
    {"rounding": "residual", "eta_exp": 8},
    {"rounding": "residual", "eta_exp": 8, "tau_x": 3, "tau_p": 4, "tau_theta": 8},
    {"rounding": "residual", "eta_exp": 8, "scope": "layer", "perturbation": "walsh"},
    {"rounding": "residual", "eta_exp": 6, "perturbation": "sequential"},
    {"rounding": "residual", "eta_exp": 8, "perturbation": "sine", "tau_x": 3, "tau_p": 2},
    {"eta_exp": 8, "perturbation": "square", "scope": "layer", "trainable": (False, True)},
]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("network", [LINEAR, RECTIFIED], ids=["linear", "relu"])
@pytest.mark.parametrize("difference", ["antithetic", "forward"])
@pytest.mark.parametrize("method", ["wp", "np"])
def test_fixed_point_follows_the_float_run(network, plan, method, difference):
    """Without tables (no tanh, no cross-entropy) runs with the same signs differ by rounding
    only."""
    settings = Settings(method=method, difference=difference, delta_exp=5, input_shift=6, **plan)
    seeds, random = [1, 2], np.random.default_rng(5)
    codes, labels = random.integers(-128, 128, (5, 4)), random.integers(0, 2, 5)
    layers = zip(*(initial_weights(network, s) for s in seeds), strict=True)
    weights = [np.array(layer) for layer in layers]
    orders = np.array([permutation(5, s) for s in seeds])
    fixed = Trainer(network, settings, codes, labels, weights, seeds, orders)
    start = float_weights(weights, network)
    exact = FloatTrainer(network, settings, float_inputs(codes, 6), labels, start, seeds, orders)
    worst = largest = 0.0
    for _ in range(120):
        delta = fixed.step().delta * 2.0 ** -(network.cost_frac + 1)
        change = exact.step()
        worst = max(worst, np.abs(delta - change).max())
        largest = max(largest, np.abs(change).max())
    pairs = list(zip(float_weights(fixed.weights, network), exact.weights, start, strict=True))
    apart = max(np.abs(a - b).max() for a, b, _ in pairs)
    moved = max(np.abs(b - c).max() for _, b, c in pairs)
    print(f"ΔC apart {worst:.5f} of {largest:.5f}, weights {apart:.5f} of {moved:.5f}")
    assert worst < 0.02 * largest
    assert apart < 0.02 * moved
    assert fixed.activation_saturations.sum() == 0


@pytest.mark.parametrize("difference", ["antithetic", "forward"])
@pytest.mark.parametrize("method", ["wp", "np"])
def test_a_small_perturbation_measures_the_slope_along_it(method, difference):
    """ΔC/δ = Σ s·∂C/∂θ, and G is that times s (times x_j for nodes)."""
    network = NETWORKS[3]
    settings = Settings(
        method, difference, "residual", delta_exp=12, tau_theta=10, tau_x=10, tau_p=10
    )
    weights, (x, labels) = random_weights(network, 2), random_samples(network, 1)
    t = FloatTrainer(network, settings, x, labels, weights, [1, 2])
    change = t.step() * 2.0**12
    result, errors = reference.node_gradient(weights, x[[0, 0]], labels[[0, 0]], network)
    slope = np.zeros(2)
    for error, inputs, signs in zip(errors, result.inputs, t.draw, strict=True):
        each = error[..., None] * (inputs[:, None, :] if method == "wp" else 1.0)
        slope += (each * signs).sum(axis=(1, 2))
    tolerance = 1e-6 if difference == "antithetic" else 2e-3
    assert np.abs(change - slope).max() < tolerance
    for g, inputs, signs in zip(t.accumulators, result.inputs, t.draw, strict=True):
        x_j = inputs[:, None, :] if method == "np" else 1.0
        assert np.abs(g - change[:, None, None] * signs * x_j).max() < 1e-3
    assert all((a == b).all() for a, b in zip(t.weights, weights, strict=True))
    before = [w.copy() for w in t.weights]
    t.train(9)
    sums = [g.copy() for g in t.accumulators]
    t.step()
    assert all((g == 0).all() for g in t.accumulators)
    for w, b, g in zip(t.weights, before, sums, strict=True):
        assert np.allclose(b - w, g * 10 / 9 * 2.0**-9, atol=1e-5)
