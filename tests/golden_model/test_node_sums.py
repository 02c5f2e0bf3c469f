"""accumulate = "nodes": a sum per node while a sample stays, one outer product at its end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.imperfections import Imperfections
from mgd.golden_model.network import ACT_MAX, ACT_MIN, ONE, Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.golden_model.update.per_node import node_error
from tests.golden_model.test_family import same_run
from tests.golden_model.test_trainer import apart_from_float, make, trainer

NETWORKS = {
    "tanh-mse": Network((3, 3, 2, 1)),
    "entropy": Network((4, 3, 3), cost="cross_entropy", cost_frac=15, pre_frac=11),
    "8-bit": Network((4, 3, 3), cost="cross_entropy", weight_bits=8),
    "relu-18-bit": Network((3, 4, 2), "relu", "identity", weight_bits=18, cost_frac=16),
}
FORM = {"accumulate": "nodes", "input_shift": 6}
PLANS = {
    "every step": {"eta_exp": 4},
    "one update a sample": {"tau_x": 4, "tau_theta": 4, "eta_exp": 6},
    "several updates a sample": {"tau_x": 6, "tau_theta": 3, "eta_exp": 5},
    "held draws": {"tau_x": 6, "tau_theta": 6, "tau_p": 4, "eta_exp": 5},
    "left shift": {"tau_x": 2, "tau_theta": 2, "eta_exp": 0, "delta_exp": 4},
    "slower and slower": {"tau_x": 2, "tau_theta": 2, "eta_exp": 4, "halve_every": 7},
    "one layer at a time": {"tau_x": 3, "tau_theta": 3, "eta_exp": 5, "scope": "layer"},
    "sine": {"tau_x": 5, "tau_theta": 5, "eta_exp": 5, "perturbation": "sine"},
    "walsh": {"tau_x": 8, "tau_theta": 8, "eta_exp": 5, "perturbation": "walsh"},
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("difference", ["antithetic", "forward"])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_written_out_rules(name, difference, plan):
    same_run(NETWORKS[name], Settings("np", difference, **FORM, **PLANS[plan]))


def test_a_layer_that_is_not_trained_and_imperfect_hardware():
    faults = Imperfections(cost_noise=0.01, update_noise=0.01, gain=0.1, stuck_synapse=0.1)
    settings = Settings("np", tau_x=3, tau_theta=3, eta_exp=5, trainable=(False, True), **FORM)
    same_run(NETWORKS["entropy"], settings, faults=faults)


@pytest.mark.parametrize("difference", ["antithetic", "forward"])
def test_an_update_is_one_outer_product(difference):
    """Of exact sums, and of the inputs in the last step's C⁺ pass, or in C0's."""
    net = NETWORKS["entropy"]
    settings = Settings("np", difference, tau_x=5, tau_theta=5, eta_exp=6, **FORM)
    t = trainer(net, settings, [1, 2])
    shift = t.shift + net.weight_frac - 14
    assert shift > 0
    for _ in range(12):
        before = [w.copy() for w in t.weights]
        sums = [np.zeros(w.shape[:2]) for w in before]
        for step in range(5):
            assert all((w == b).all() for w, b in zip(t.weights, before, strict=True)), step
            record = t.step()
            for total, values in zip(sums, t.trace.draw, strict=True):
                total += record.delta[:, None] * values[..., 0]
        pairs = zip(
            before, t.weights, t.trace.update_terms, sums, t.trace.layer_inputs, strict=True
        )
        for old, new, error, total, x in pairs:
            assert np.abs(error - total * 2.0**-shift).max() < 1
            exact = error[:, :, None] * x[:, None, :] * 2.0 ** (net.weight_frac - 28)
            assert np.abs(old - new - exact).max() < 1
        assert (t.trace.layer_inputs[1][:, -1] == ONE).all()
    assert t.weight_saturations.sum() == 0


def test_needs_no_accumulators_and_keeps_none():
    net = NETWORKS["tanh-mse"]
    assert net.gradient_bits == 0
    t = trainer(net, Settings("np", tau_x=4, tau_theta=4, eta_exp=5, **FORM), [1])
    t.train(41)
    assert all((g == 0).all() for g in t.accumulators)


def test_both_roundings_keep_the_mean():
    """Over all 256 bytes the mean of the products is right, though one byte rounds twice."""
    random, frac = np.arange(256), 12
    chosen = np.random.default_rng(1)
    worst = worst_of_one_byte = 0.0
    for _ in range(300):
        total, x = int(chosen.integers(-3000, 3000)), int(chosen.integers(0, ONE + 1))
        down, products = 6, 28 - frac
        error = node_error(np.array(total), down, random)
        change = (error * x * 256 + (random << products)) >> (products + 8)
        exact = total * 2.0**-down * x * 2.0**-products
        worst = max(worst, abs(change.mean() - exact))
        plain = ((total << 8) + (random << down)) >> (down + 8)
        change = (plain * x * 256 + (random << products)) >> (products + 8)
        worst_of_one_byte = max(worst_of_one_byte, abs(change.mean() - exact))
    print(worst, worst_of_one_byte)
    assert worst < 0.02
    assert worst_of_one_byte > 2 * worst, "else the reversal is of no use"


def test_a_nodes_error_ends_at_the_activation_format():
    random = np.array([0, 255])
    huge = np.array([1 << 40, -(1 << 40)])
    for shift in (-14, -1, 0, 5):
        assert node_error(huge, shift, random).tolist() == [ACT_MAX, ACT_MIN]
    assert node_error(np.array([3, -3]), -2, random).tolist() == [12, -12]
    assert node_error(np.array([7, 7]), 2, random).tolist() == [1, 2]


def test_inputs_that_are_skipped_change_nothing():
    net = NETWORKS["entropy"]
    settings = Settings("np", tau_x=4, tau_theta=4, eta_exp=5, **FORM)
    codes, labels, weights, orders = make(net, settings, [1])
    codes[::2, 1:] = 0
    runs = []
    for skips in (False, True):
        chosen = replace(settings, skip_zeros=skips, gate_zeros=skips)
        t = Trainer(net, chosen, codes, labels, weights, [1], orders)
        t.train(40)
        runs.append([w.tolist() for w in t.weights])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("scope", ["network", "layer"])
@pytest.mark.parametrize("difference", ["antithetic", "forward"])
def test_follows_the_float_trainer(difference, scope):
    net = Network(
        (4, 3, 2), "identity", "identity", weight_bits=18, pre_frac=14, cost_frac=16,
        sample_signed=True,
    )  # fmt: skip
    settings = Settings(
        "np", difference, tau_x=6, tau_theta=3, tau_p=2, eta_exp=8, scope=scope, **FORM
    )
    apart, moved = apart_from_float(net, settings, 90)
    assert apart < 0.005 * moved


GOOD = {"method": "np", "tau_x": 8, "tau_theta": 4, "accumulate": "nodes"}
REFUSED = [
    ({"method": "wp"}, "method = 'wp' .* use method = 'np', or use accumulate = 'weights'"),
    ({"rounding": "residual"}, "rounding = 'residual' .* use rounding = 'stochastic'"),
    ({"difference": "highpass"}, "difference = 'highpass' .* the samples before; use"),
    ({"update_delay": 3}, "update_delay = 3 .* schedule = 'sequential'"),
    ({"optimizer": "adam"}, "optimizer = 'adam' .* leave optimizer out, or use accumulate"),
    ({"momentum_exp": 2}, "momentum_exp = 2 .* leave momentum_exp out"),
    ({"decay_exp": 9}, "decay_exp = 9 .* leave decay_exp out"),
    ({"tau_x": 6}, "tau_x = 6 .* tau_theta = 4 .* use a multiple of 4"),
    ({"tau_x": 1}, "tau_x = 1 .* one sample"),
    ({"accumulate": "all"}, "accumulate = 'all': must be one of weights, nodes"),
]


@pytest.mark.parametrize(("fields", "text"), REFUSED)
def test_refused(fields, text):
    Settings(**GOOD)
    with pytest.raises(UserError, match=text) as error:
        Settings(**{**GOOD, **fields})
    assert "\n" not in str(error.value)


def test_a_run_does_not_go_on_from_its_middle():
    with pytest.raises(UserError, match=r"accumulate = 'nodes': .* the sums of the nodes"):
        Settings("np", accumulate="nodes").check_resumable()
