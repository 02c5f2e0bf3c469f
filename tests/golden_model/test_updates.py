"""Update rules beside the written-out ones, and what each of them promises."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mgd.golden_model.network import Network
from mgd.golden_model.reference.network import float_inputs, float_weights
from mgd.golden_model.reference.trainer import FloatTrainer
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.golden_model.update.adam import Adam, averaging_exp, log2_of
from mgd.golden_model.update.error_feedback import ErrorFeedback
from tests.golden_model.test_family import same_run
from tests.golden_model.test_trainer import make, trainer

ENTROPY = Network(
    (4, 3, 3), cost="cross_entropy", cost_frac=15, pre_frac=11, accumulators=True,
    tau_theta_max=5000,
)  # fmt: skip
RELU = Network(
    (3, 4, 3, 2), "relu", "identity", sample_bits=2, accumulators=True, tau_theta_max=5000
)
RULES = {
    "momentum": {"momentum_exp": 3, "eta_exp": 6},
    "momentum, slow": {"momentum_exp": 1, "eta_exp": 8, "tau_theta": 3, "tau_p": 2},
    "decay": {"decay_exp": 9, "eta_exp": 7},
    "decay, coarse": {"decay_exp": 14, "eta_exp": 5},
    "momentum and decay": {"momentum_exp": 2, "decay_exp": 10, "eta_exp": 7, "tau_theta": 2},
    "halving": {"halve_every": 7, "eta_exp": 4},
    "warm-up": {"warmup_exp": 4, "warmup_every": 3, "eta_exp": 4},
    "both": {"warmup_exp": 3, "warmup_every": 4, "halve_every": 9, "momentum_exp": 2, "eta_exp": 5},
    "adam": {"optimizer": "adam", "eta_exp": 6},
    "adam, slow": {
        "optimizer": "adam", "eta_exp": 3, "tau_theta": 3, "adam_mean_exp": 1, "adam_square_exp": 2,
        "halve_every": 20,
    },
    "gates": {"gate_zeros": True, "eta_exp": 6},
    "gates, held": {"gate_zeros": True, "eta_exp": 5, "tau_theta": 4, "tau_x": 3},
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("difference", ["antithetic", "forward"])
@pytest.mark.parametrize("method", ["wp", "np"])
def test_equals_the_written_out_rules(method, difference, rule):
    settings = Settings(method, difference, "residual", input_shift=6, **RULES[rule])
    same_run(ENTROPY, settings)


@pytest.mark.parametrize("scope", ["network", "layer"])
@pytest.mark.parametrize("perturbation", ["random", "sine"])
@pytest.mark.parametrize(
    "rule", ["momentum", "momentum and decay", "both", "adam", "gates", "gates, held"]
)
@pytest.mark.parametrize("difference", ["antithetic", "forward"])
def test_with_the_rest_of_the_family(difference, rule, perturbation, scope):
    """relu: hidden inputs are often 0, in one pass or in both."""
    settings = Settings(
        "wp", difference, "residual", perturbation=perturbation, scope=scope, input_shift=12,
        **RULES[rule],
    )  # fmt: skip
    same_run(RELU, settings)


@pytest.mark.parametrize("fields", [{"halve_every": 7}, {"warmup_exp": 3, "warmup_every": 5}])
def test_schedules_without_accumulators(fields):
    same_run(ENTROPY, Settings("np", eta_exp=4, input_shift=6, **fields))
    same_run(RELU, Settings("wp", gate_zeros=True, eta_exp=6, input_shift=12, **fields))


@pytest.mark.parametrize("method", ["wp", "np"])
def test_momentum_loses_nothing(method):
    """While nothing clips: Σ contributions = 2^S·(W before − W now) + G, whatever k is."""
    settings = Settings(method, rounding="residual", eta_exp=9, input_shift=6, momentum_exp=4)
    t = trainer(ENTROPY, settings, [1, 2])
    held = trainer(ENTROPY, replace(settings, momentum_exp=0), [1, 2])
    held.updates = False
    before = [w.copy() for w in t.weights]
    for _ in range(60):
        for k, w in enumerate(t.weights):
            held.weights[k] = w.copy()
        held.step()
        t.step()
        for k, w in enumerate(t.weights):
            assert (
                held.accumulators[k] == (before[k] - w) * 2.0**t.shift + t.accumulators[k]
            ).all()
    assert any((w != b).any() for w, b in zip(t.weights, before, strict=True))


def test_momentum_is_an_exponential_average():
    """One contribution and then none: the weights take 2^-k of the rest every time."""
    network = ENTROPY
    settings = Settings(rounding="residual", momentum_exp=3, eta_exp=9)
    rule = ErrorFeedback(network, settings)
    shift = settings.shift(network)
    g = np.full((1, 1, 1), 1 << 40)
    taken = [rule.change(0, g, np.zeros(g.shape), shift, np.zeros(1))[0, 0, 0] for _ in range(30)]
    want = [(1 << 40) / 2**shift / 8 * (7 / 8) ** n for n in range(30)]
    assert np.allclose(taken, want, rtol=1e-6)


@pytest.mark.parametrize("momentum_exp", [0, 2])
def test_decay_is_exponential(momentum_exp):
    """No cost change: a weight loses its 2^-7 part every time, down to where a unit is half.
    Through momentum it arrives later, which compounds to 3 % here."""
    settings = Settings(rounding="residual", decay_exp=7, eta_exp=12, momentum_exp=momentum_exp)
    rule = ErrorFeedback(ENTROPY, settings)
    w, g = np.array([[[30000.0, -30000.0, 1.0]]]), np.zeros((1, 1, 3), dtype=np.int64)
    for _ in range(300):
        w -= rule.change(0, g, w, settings.shift(ENTROPY), np.zeros(1))
    want = 30000 * (1 - 2**-7) ** 300
    assert np.abs(w[0, 0] - [want, -want, 0]).max() < (2 if momentum_exp == 0 else 120)


def test_shift_at():
    settings = Settings(eta_exp=9, halve_every=100, warmup_exp=2, warmup_every=10)
    plain = settings.shift(ENTROPY)
    for step, slower in [(0, 2), (9, 2), (10, 1), (19, 1), (20, 0), (99, 0), (100, 1), (250, 2)]:
        assert settings.slowed(step) == slower
        assert settings.shift_at(step, ENTROPY) == plain + slower
    assert settings.shift_at(10**6, ENTROPY) == ENTROPY.shift_max
    finer = replace(settings, rounding="residual", momentum_exp=3)
    assert finer.shift_at(10**6, ENTROPY) == ENTROPY.shift_max - 3


def test_log2_of():
    values = np.array([1, 2, 3, 255, 256, 2**30, 2**31 - 1, 2**53 - 1, 2**54 - 1, 2**61 + 5])
    got = log2_of(values) / 2**14
    exact = np.array([math.log2(int(v)) for v in values])
    assert np.abs(got - exact).max() < 0.003
    powers = np.array([1 << k for k in range(62)])
    assert (log2_of(powers) == np.arange(62) << 14).all()
    assert (log2_of(powers - 1)[2:] <= log2_of(powers)[2:]).all()


def test_averages_count_the_first_values_in_full():
    assert [averaging_exp(n, 3) for n in (1, 2, 3, 4, 7, 8, 9, 1000)] == [0, 1, 1, 2, 2, 3, 3, 3]


def test_adam_is_a_step_of_its_learning_rate():
    """A steady gradient of any size: every step is 2^-eta_exp, that is 64 units of 2^-12."""
    settings = Settings(rounding="residual", optimizer="adam", eta_exp=6)
    for size in (1, 7, 1000, 10**6, 10**8, 10**12):
        rule = Adam(ENTROPY, settings, [np.zeros((1, 1, 2))])
        for random in (0, 128, 255):
            g = np.array([[[size, -size]]])
            steps = rule.change(0, g, np.zeros((1, 1, 2)), 6, np.array([random]))
            assert np.abs(steps[0, 0] - [64, -64]).max() <= 1
            assert (g == 0).all()


def test_adam_rounds_by_chance_and_never_moves_without_a_gradient():
    settings = Settings(rounding="residual", optimizer="adam", eta_exp=14)
    rule = Adam(ENTROPY, settings, [np.zeros((1, 1, 2))])
    total = np.zeros(2)
    for random in range(256):
        total += rule.change(
            0, np.array([[[500, 0]]]), np.zeros((1, 1, 2)), 14, np.array([random])
        )[0, 0]
    print(total)
    assert abs(total[0] - 64) <= 1, "2^-14 is a quarter of a unit; the tables are off by a little"
    assert total[1] == 0


FINE = Network(
    (4, 3, 2), "identity", "identity", weight_bits=18, pre_frac=14, cost_frac=16,
    sample_signed=True, accumulators=True, tau_theta_max=60000,
)  # fmt: skip


@pytest.mark.parametrize("rule", ["momentum", "momentum and decay", "both", "gates", "adam, slow"])
@pytest.mark.parametrize("method", ["wp", "np"])
def test_follows_the_float_trainer(method, rule):
    fields = {**RULES[rule]}
    fields["eta_exp"] = 6 if "adam" in rule else 9
    settings = Settings(method, rounding="residual", input_shift=6, **fields)
    codes, labels, weights, orders = make(FINE, settings, [1, 2])
    codes[:, 0] = 0
    fixed = Trainer(FINE, settings, codes, labels, weights, [1, 2], orders)
    start = float_weights(weights, FINE)
    exact = FloatTrainer(FINE, settings, float_inputs(codes, 6), labels, start, [1, 2], orders)
    fixed.train(90)
    exact.train(90)
    pairs = list(zip(float_weights(fixed.weights, FINE), exact.weights, start, strict=True))
    apart = max(np.abs(a - b).max() for a, b, _ in pairs)
    moved = max(np.abs(b - c).max() for _, b, c in pairs)
    print(f"weights {apart:.5f} apart, {moved:.5f} moved")
    assert apart < (0.1 if "adam" in rule else 0.02) * moved
    if rule == "gates" and method == "wp":
        assert (fixed.weights[0][:, :, 0] == weights[0][:, :, 0]).all()
        assert (exact.weights[0][:, :, 0] == start[0][:, :, 0]).all()


def test_gates_change_nothing_for_nodes():
    codes, labels, weights, orders = make(RELU, Settings(input_shift=12), [1])
    runs = []
    for gates in (False, True):
        settings = Settings("np", gate_zeros=gates, eta_exp=5, input_shift=12)
        t = Trainer(RELU, settings, codes, labels, weights, [1], orders)
        t.train(60)
        runs.append([w.tolist() for w in t.weights])
    assert runs[0] == runs[1]
