"""What theory says of the gradient that perturbation measures, over many windows of τ steps.

With signs s that are independent fair coins, a small δ and one fixed sample, one step gives
ĝ_k = s_k·Σ_m s_m·g_m, of which the mean is g_k and the mean square ‖g‖².  For the mean G of τ
steps over K perturbed quantities (parameters, or the nodes' pre-activations) hence

    E[G] = g,   E‖G‖² = (1 + (K−1)/τ)·‖g‖²,   cos(G, g) ≈ sqrt(τ/(τ+K−1)),

and cos = 0.95 after 0.95²/(1−0.95²)·(K−1) = 9.26·(K−1) steps.  Node perturbation gives weights
G_ij = b̂_i·x_j, b̂ estimating b = ∂C/∂z: E‖G‖² = ‖g‖² + Σ_i ‖x_i‖²·(‖b‖² − b_i²)/τ.

The weights stay as they are, since no update is ever due, and the accumulators hold τ·G.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from mgd.golden_model.forward import evaluate, predict
from mgd.golden_model.network import ONE, TAU_MAX, Network
from mgd.golden_model.reference import network as reference
from mgd.golden_model.reference.network import float_inputs, float_weights
from mgd.golden_model.reference.trainer import FloatTrainer
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer

NEVER = TAU_MAX
NETWORK = Network(
    (8, 6, 4),
    cost="cross_entropy",
    weight_bits=16,
    pre_frac=14,
    cost_frac=16,
    accumulators=True,
    tau_theta_max=NEVER,
)
DELTA_EXP = 6
SEED = 11
LABEL = np.array([2])
CODES = np.random.default_rng(SEED).integers(0, 256, (1, 8))
WEIGHTS = initial_weights(NETWORK, SEED, 1.5)
COUNT = {"wp": NETWORK.parameters, "np": NETWORK.neurons}
"""K: 82 parameters or 10 nodes."""

MODELS = ["fixed", "float"]
METHODS = ["wp", "np"]
DIFFERENCES = ["antithetic", "forward"]


@lru_cache
def true_gradient(model: str, method: str) -> list[np.ndarray]:
    """∂C/∂W: by backpropagation for the float model.  The fixed point has corners: there it is
    what a perturbation ±δ of one weight alone measures or, for nodes, of one bias alone, times
    the inputs."""
    if model == "float":
        x = float_inputs(CODES, 6)[0]
        return reference.gradient(float_weights(WEIGHTS, NETWORK), x, LABEL[0], NETWORK)
    move = 1 << (NETWORK.weight_frac - DELTA_EXP)
    result = [np.zeros(w.shape) for w in WEIGHTS]
    for layer, w in enumerate(WEIGHTS):
        for at in np.ndindex(*w.shape):
            moved = [v.copy() for v in WEIGHTS]
            moved[layer][at] += move
            plus = evaluate(moved, CODES << 6, LABEL, NETWORK)[1]
            moved[layer][at] -= 2 * move
            minus = evaluate(moved, CODES << 6, LABEL, NETWORK)[1]
            change = (int(plus) - int(minus)) / 2 ** (NETWORK.cost_frac + 1)
            result[layer][at] = change * 2**DELTA_EXP
    if method == "np":
        inputs = layer_inputs(model)
        result = [np.outer(g[:, -1], x) for g, x in zip(result, inputs, strict=True)]
    return result


def layer_inputs(model: str) -> list[np.ndarray]:
    """What enters each layer without perturbation, in natural units, the bias input last."""
    x = float_inputs(CODES, 6)[0]
    if model == "float":
        return reference.forward(float_weights(WEIGHTS, NETWORK), x, NETWORK).inputs
    first = Network(NETWORK.layers[:2], pre_frac=NETWORK.pre_frac)
    hidden = predict(WEIGHTS[:1], CODES << 6, first)[0] / ONE
    return [np.append(x, 1.0), np.append(hidden, 1.0)]


def trainer(model: str, method: str, difference: str, seeds: list[int]):
    settings = Settings(
        method,
        difference,
        "residual",
        delta_exp=DELTA_EXP,
        tau_x=TAU_MAX,
        tau_theta=NEVER,
        input_shift=6,
    )
    weights = [np.tile(w, (len(seeds), 1, 1)) for w in WEIGHTS]
    if model == "fixed":
        return Trainer(NETWORK, settings, CODES, LABEL, weights, seeds)
    start = float_weights(weights, NETWORK)
    return FloatTrainer(NETWORK, settings, float_inputs(CODES, 6), LABEL, start, seeds)


def measured(t, steps: int) -> list[np.ndarray]:
    """G, the mean over `steps` steps in natural units, per layer (seeds, nodes, fan_in + 1)."""
    unit = 1.0
    if isinstance(t, Trainer):
        unit = 2.0 ** (DELTA_EXP - NETWORK.cost_frac - 1)
    return [g * unit / steps for g in t.accumulators]


def flat(layers: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([g.reshape(*g.shape[:-2], -1) for g in layers], axis=-1)


def biases(layers: list[np.ndarray]) -> np.ndarray:
    """The pre-activations' gradient: that of the biases, whose input is 1."""
    return np.concatenate([g[..., -1] for g in layers], axis=-1)


def cosine(estimate: np.ndarray, g: np.ndarray) -> np.ndarray:
    return (estimate @ g) / np.linalg.norm(estimate, axis=-1) / np.linalg.norm(g)


@lru_cache
def windows(model: str, method: str, difference: str, tau: int, count: int):
    """G of `count` windows of `tau` steps, from 256 seeds: per layer (count, ...)."""
    t = trainer(model, method, difference, list(range(SEED, SEED + 256)))
    pieces = []
    for number in range(1, count // 256 + 1):
        for g in t.accumulators:
            g[:] = 0
        while t.step_number < number * tau:
            t.step()
        pieces.append([g.copy() for g in measured(t, tau)])
    assert all((w == w[0]).all() for w in t.weights), "no weight has moved"
    return [np.concatenate(layers) for layers in zip(*pieces, strict=True)]


@pytest.mark.parametrize("method", METHODS)
def test_the_two_models_have_nearly_the_same_gradient(method):
    """The tanh table's segments have other slopes than tanh; the direction hardly changes.
    Measured: cos 0.999, length ratio 0.965."""
    fixed, exact = flat(true_gradient("fixed", method)), flat(true_gradient("float", method))
    ratio = np.linalg.norm(fixed) / np.linalg.norm(exact)
    print(f"cos {cosine(fixed, exact):.4f}, length ratio {ratio:.3f}")
    assert cosine(fixed, exact) > 0.995
    assert abs(ratio - 1) < 0.05


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_mean_is_the_gradient(model, method, difference):
    """Each component within 4.5 standard errors; all together as far off as chance says."""
    tau, count = 16, 2048
    got, g = windows(model, method, difference, tau, count), true_gradient(model, method)
    estimate = flat(got)
    error = estimate.std(axis=0) / count**0.5
    off = (estimate.mean(axis=0) - flat(g)) / error
    length = np.linalg.norm(flat(g))
    mean_error = np.linalg.norm(estimate.mean(axis=0) - flat(g)) / length
    print(f"max {np.abs(off).max():.2f} sigma, mean square {(off**2).mean():.2f}, ", end="")
    print(f"|mean - gradient| = {mean_error:.4f} of the gradient")
    assert np.abs(off).max() < 4.5
    # K independent components: the mean square is 1 within 5·sqrt(2/K).
    assert (off**2).mean() < 1 + 5 * (2 / COUNT[method]) ** 0.5
    assert mean_error < 0.1
    assert np.linalg.norm(flat(g)) > 0.3, "else the rounding of the cost would show"


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("tau", [4, 16])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_mean_square_and_cosine_of_windows(model, method, tau, difference):
    got, g = windows(model, method, difference, tau, 2048), true_gradient(model, method)
    pick = flat if method == "wp" else biases
    estimate, exact, k = pick(got), pick(g), COUNT[method]
    assert exact.shape == (k,)
    ratio = (estimate**2).sum(axis=1).mean() / (exact**2).sum()
    want = 1 + (k - 1) / tau
    mean_cosine = cosine(estimate, exact).mean()
    want_cosine = (tau / (tau + k - 1)) ** 0.5
    print(f"K = {k}: mean square {ratio / want:.3f} of {want:.3f}, ", end="")
    print(f"cos {mean_cosine:.3f} of {want_cosine:.3f}")
    assert abs(ratio / want - 1) < 0.05
    # sqrt(τ/(τ+K−1)) takes the mean of a quotient for the quotient of means; few nodes and a
    # short window show it.
    assert abs(mean_cosine - want_cosine) < (0.03 if tau == 16 else 0.07)


@pytest.mark.parametrize("tau", [4, 16])
@pytest.mark.parametrize("model", MODELS)
def test_mean_square_of_weights_under_node_perturbation(model, tau):
    """The weights' formula, with the inputs x_i of each node: not K = parameters."""
    got, g = windows(model, "np", "antithetic", tau, 2048), true_gradient(model, "np")
    b, inputs = biases(g), layer_inputs(model)
    squares = [np.full(n, (x**2).sum()) for n, x in zip((6, 4), inputs, strict=True)]
    extra = (np.concatenate(squares) * ((b**2).sum() - b**2)).sum() / tau
    want = (flat(g) ** 2).sum() + extra
    ratio = (flat(got) ** 2).sum(axis=1).mean() / want
    print(f"mean square {ratio:.3f} of theory")
    assert abs(ratio - 1) < 0.05


@pytest.mark.parametrize("tau", [1024, 4096])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_single_long_streams(model, method, tau):
    """‖G‖² of one stream scatters by 2·sqrt(2/τ): 9 % at τ = 1024, so ±20 % is 2.3 sigma, and
    5 % of the streams may be outside; at τ = 4096 none may."""
    t = trainer(model, method, "antithetic", list(range(1, 257 if tau == 1024 else 65)))
    t.train(tau)
    pick, k = (flat if method == "wp" else biases), COUNT[method]
    estimate, exact = pick(measured(t, tau)), pick(true_gradient(model, method))
    ratio = (estimate**2).sum(axis=1) / (exact**2).sum() / (1 + (k - 1) / tau)
    off = cosine(estimate, exact) - (tau / (tau + k - 1)) ** 0.5
    print(f"mean square {ratio.min():.3f} to {ratio.max():.3f} of theory, ", end="")
    print(f"cos {off.min():+.4f} to {off.max():+.4f}")
    assert (np.abs(ratio - 1) > 0.2).mean() <= (0.05 if tau == 1024 else 0)
    assert np.abs(ratio - 1).max() < 0.4
    assert np.abs(off).max() < 0.03


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_steps_to_cosine_095(model, method):
    """Where the mean cosine over 128 streams passes 0.95: 9.26·(K−1) steps for many parameters.

    Only noise across g turns G: of the noise (K−1)·‖g‖²/τ, the part (2 − 2·Σu⁴)·‖g‖²/τ lies along
    g, u = g/‖g‖.  So K−1 is K − 3 + 2·Σu⁴ to be exact, which shows for 10 nodes.
    """
    k, t = COUNT[method], trainer(model, method, "antithetic", list(range(1, 129)))
    pick = flat if method == "wp" else biases
    exact, passed = pick(true_gradient(model, method)), None
    while passed is None and t.step_number < 20 * k:
        t.step()
        if t.step_number > 4 * k:
            mean = cosine(pick(measured(t, t.step_number)), exact).mean()
            passed = t.step_number if mean >= 0.95 else None
    assert passed is not None
    u = exact / np.linalg.norm(exact)
    across = k - 3 + 2 * (u**4).sum()
    print(f"passed after {passed} steps = {passed / (k - 1):.2f}·(K−1) = ", end="")
    print(f"{passed / across:.2f}·(K−3+2·Σu⁴)")
    assert abs(passed / across / 9.26 - 1) < 0.05
    assert abs(passed / (k - 1) / 9.26 - 1) < (0.08 if method == "wp" else 0.2)
