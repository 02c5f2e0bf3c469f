"""Run-time settings: what is refused, and the update shift."""

from __future__ import annotations

import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import TAU_MAX, Network
from mgd.golden_model.settings import Settings

REFUSED = [
    ({"method": "bp"}, ["method = 'bp'", "wp, np"]),
    ({"difference": "central"}, ["difference = 'central'", "antithetic, forward, highpass"]),
    ({"rounding": "floor"}, ["rounding = 'floor'", "stochastic, residual"]),
    ({"delta_exp": 0}, ["delta_exp = 0", "between 1 and 12"]),
    ({"delta_exp": 13}, ["delta_exp = 13", "between 1 and 12"]),
    ({"eta_exp": -1}, ["eta_exp = -1", "between 0 and 31"]),
    ({"eta_exp": 32}, ["eta_exp = 32", "between 0 and 31"]),
    ({"tau_x": 0}, ["tau_x = 0", "between 1 and 65535"]),
    ({"tau_x": 2**16}, ["tau_x = 65536", "between 1 and 65535"]),
    ({"tau_p": 0}, ["tau_p = 0", "between 1 and 65535"]),
    ({"tau_p": 2**16}, ["tau_p = 65536", "between 1 and 65535"]),
    ({"tau_theta": 0, "rounding": "residual"}, ["tau_theta = 0", "between 1 and 65535"]),
    ({"tau_theta": 2**16, "rounding": "residual"}, ["tau_theta = 65536", "65535"]),
    ({"input_shift": -1}, ["input_shift = -1", "between 0 and 14"]),
    ({"input_shift": 15}, ["input_shift = 15", "between 0 and 14"]),
    ({"perturbation": "hadamard"}, ["'hadamard'", "random", "walsh", "sine"]),
    ({"sample_order": "sorted"}, ["'sorted'", "cycle, epoch, random"]),
    ({"highpass_exp": 0}, ["highpass_exp = 0", "between 1 and 16"]),
    ({"difference": "highpass", "scope": "layer"}, ["'highpass'", "scope = 'layer'", "'network'"]),
    ({"scope": "node"}, ["scope = 'node'", "network, layer"]),
    ({"perturbation": "sine"}, ["'sine' with rounding = 'stochastic'", "rounding = 'residual'"]),
    (
        {"skip_zeros": True, "perturbation": "walsh"},
        ["skip_zeros = true with perturbation = 'walsh'", "leave skip_zeros out"],
    ),
    ({"optimizer": "rmsprop"}, ["'rmsprop'", "sgd, adam"]),
    ({"momentum_exp": 17}, ["momentum_exp = 17", "between 0 and 16"]),
    ({"warmup_every": 0}, ["warmup_every = 0", "between 1"]),
    ({"momentum_exp": 2}, ["momentum_exp = 2", "accumulator", "rounding = 'residual'"]),
    ({"optimizer": "adam"}, ["optimizer = 'adam'", "accumulator", "rounding = 'residual'"]),
    ({"decay_exp": 9}, ["decay_exp = 9", "accumulator", "rounding = 'residual'"]),
    (
        {"optimizer": "adam", "decay_exp": 9, "rounding": "residual"},
        ["decay_exp = 9 with optimizer = 'adam'", "leave decay_exp out"],
    ),
    ({"trainable": (False, False)}, ["trainable = [false, false]", "no layer", "at least one"]),
    ({"tau_theta": 2}, ["tau_theta = 2", "only at tau_theta = 1", "rounding = 'residual'"]),
]

RESIDUAL = {"rounding": "residual"}
DOES_NOT_SUIT = [
    ({"eta_exp": 31, "delta_exp": 3}, {}, ["eta_exp = 31", "delta_exp = 3", "29", "-4 and 24"]),
    ({"eta_exp": 0, "delta_exp": 8}, {}, ["eta_exp = 0", "of -7;", "between -4 and 24"]),
    ({"eta_exp": 9}, {"shift_max": 4}, ["eta_exp = 9", "of 5;", "between -4 and 4"]),
    ({"delta_exp": 9}, {}, ["delta_exp = 9", "cost_frac >= 13", "has 12"]),
    (RESIDUAL, {}, ["without accumulators", "accumulators = true", "[core]"]),
    (
        {**RESIDUAL, "tau_theta": 5},
        {"accumulators": True, "tau_theta_max": 4},
        ["tau_theta = 5", "tau_theta_max = 4", "raise tau_theta_max"],
    ),
    ({"trainable": (True, True)}, {}, ["trainable = [true, true]: 2 flags", "has 1 layers"]),
    (
        {**RESIDUAL, "perturbation": "sine", "delta_exp": 10},
        {"accumulators": True, "cost_frac": 14, "tau_theta_max": 8},
        ["delta_exp = 10", "3 fraction bits", "at most 9"],
    ),
    (
        {**RESIDUAL, "perturbation": "sine", "eta_exp": 26},
        {"accumulators": True, "tau_theta_max": 8},
        ["eta_exp = 26", "a shift of 25", "shift_max = 24"],
    ),
    (
        {**RESIDUAL, "perturbation": "sine", "tau_theta": 5},
        {"accumulators": True, "tau_theta_max": 39},
        ["tau_theta = 5", "tau_theta_max = 40", "not 39"],
    ),
    (
        {**RESIDUAL, "momentum_exp": 2, "eta_exp": 3},
        {"accumulators": True, "tau_theta_max": 100},
        ["eta_exp = 3", "update shift of -1", "momentum"],
    ),
    (
        {**RESIDUAL, "momentum_exp": 4, "tau_theta": 3},
        {"accumulators": True, "tau_theta_max": 47},
        ["tau_theta = 3", "tau_theta_max = 48", "not 47"],
    ),
    (
        {**RESIDUAL, "decay_exp": 2},
        {"accumulators": True},
        ["tau_theta = 1", "tau_theta_max = 2", "not 1"],
    ),
    ({"input_shift": 8}, {}, ["input_shift = 8", "0..255", "0..65280", "-32768..32767"]),
    (
        {"input_shift": 9},
        {"sample_signed": True},
        ["input_shift = 9", "-128..127", "-65536..65024", "lower input_shift"],
    ),
]


@pytest.mark.parametrize(("fields", "fragments"), REFUSED)
def test_refused_in_one_line(fields, fragments):
    with pytest.raises(UserError) as caught:
        Settings(**fields)
    check_message(caught, fragments)


@pytest.mark.parametrize(("fields", "network", "fragments"), DOES_NOT_SUIT)
def test_what_the_network_cannot_do_is_refused(fields, network, fragments):
    with pytest.raises(UserError) as caught:
        Settings(**fields).check(Network((3, 2), **network))
    check_message(caught, fragments)


def check_message(caught, fragments):
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message, message


@pytest.mark.parametrize(
    ("fields", "network"),
    [
        ({"eta_exp": 28, "delta_exp": 5}, {}),  # S = 24
        ({"eta_exp": 0, "delta_exp": 5}, {}),  # S = -4
        ({"delta_exp": 8}, {}),
        ({"delta_exp": 12}, {"cost_frac": 16}),
        ({"delta_exp": 1, "tau_x": TAU_MAX, "tau_p": TAU_MAX}, {}),
        ({**RESIDUAL, "tau_theta": 4}, {"accumulators": True, "tau_theta_max": 4}),
        (
            {**RESIDUAL, "perturbation": "sine", "tau_theta": 5, "delta_exp": 9, "eta_exp": 25},
            {"accumulators": True, "tau_theta_max": 40, "weight_bits": 18, "cost_frac": 13},
        ),
        (
            {**RESIDUAL, "momentum_exp": 4, "tau_theta": 3},
            {"accumulators": True, "tau_theta_max": 48},
        ),
        ({**RESIDUAL, "optimizer": "adam", "eta_exp": 0}, {"accumulators": True}),
        ({"halve_every": 1000, "warmup_exp": 3}, {}),
        ({"trainable": (True,)}, {}),
        ({"input_shift": 7}, {}),
        ({"input_shift": 8}, {"sample_signed": True}),
        ({"input_shift": 14}, {"sample_signed": True, "sample_bits": 2}),
    ],
)
def test_the_limits_themselves_are_accepted(fields, network):
    Settings(**fields).check(Network((3, 2), **network))


@pytest.mark.parametrize("weight_bits", [8, 16])
@pytest.mark.parametrize("cost_frac", [12, 16])
@pytest.mark.parametrize("delta_exp", [4, 6])
@pytest.mark.parametrize("eta_exp", [3, 13])
def test_shift_is_the_update_rule(weight_bits, cost_frac, delta_exp, eta_exp):
    """D·2^-S weight units is η·ΔC/δ with ΔC = D·2^-(cost_frac+1)."""
    network = Network((3, 2), weight_bits=weight_bits, cost_frac=cost_frac)
    settings = Settings(delta_exp=delta_exp, eta_exp=eta_exp)
    change = 2.0**-eta_exp * 2.0 ** -(cost_frac + 1) / 2.0**-delta_exp
    assert change * 2.0**network.weight_frac == 2.0 ** -settings.shift(network)


def test_flags():
    assert Settings(method="np").perturbs_nodes
    assert not Settings(method="wp").perturbs_nodes
    assert Settings().antithetic
    assert not Settings(difference="forward").antithetic
    assert Settings(rounding="residual").accumulates
    assert not Settings().accumulates


@pytest.mark.parametrize("halve_every", [0, 1, 5, 12])
@pytest.mark.parametrize("warmup", [{}, {"warmup_exp": 3, "warmup_every": 4}, {"warmup_exp": 9}])
@pytest.mark.parametrize("eta_exp", [9, 18])
def test_the_learning_rate_holds_until_it_changes(halve_every, warmup, eta_exp):
    network = Network((2, 2, 1))
    settings = Settings(eta_exp=eta_exp, halve_every=halve_every, **warmup)
    rates = [settings.shift_at(step, network) for step in range(400)]
    step, seen = 0, []
    while step is not None:
        until = settings.next_rate(step, network)
        assert until is None or until > step
        assert len(set(rates[step:until])) <= 1
        expected = eta_exp + rates[step] - settings.shift(network)
        assert settings.eta_exp_at(step, network) == expected
        seen.append(rates[step])
        step = until
    assert seen[-1] == rates[-1]
    assert len(seen) <= 2 * len(set(rates)) + 12
