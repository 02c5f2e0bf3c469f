"""The widths that a network derives hold the worst that weights, inputs and costs can do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mgd.golden_model.activations import activate
from mgd.golden_model.formats import floor_shift, stochastic_round
from mgd.golden_model.forward import output_values, pre_activation, weighted_sum, with_bias
from mgd.golden_model.network import (
    ACT_FRAC,
    ACT_MAX,
    ACT_MIN,
    DELTA_EXP_MAX,
    ONE,
    ROUND_BITS,
    SHIFT_MIN,
    Network,
    signed_bits,
)
from mgd.golden_model.perturbations.sine import SINE
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig

NETWORKS = {
    "digits": Network(layers=(64, 32, 10), cost="cross_entropy"),
    "xor": Network(layers=(2, 2, 1)),
    "smallest": Network(layers=(1, 1)),
    "narrow": Network(layers=(7, 5, 3), weight_bits=8, pre_frac=8, cost_frac=16),
    "wide": Network(
        layers=(49, 4, 4), weight_bits=18, pre_frac=14, cost_frac=14, cost="cross_entropy"
    ),
    "relu": Network(layers=(3, 40, 2), hidden="relu", output="identity", pre_frac=14),
    "targets": Network(layers=(3, 9), target_low=ACT_MIN, target_high=ACT_MAX, cost_frac=8),
    "accumulators": Network(
        layers=(5, 3), accumulators=True, tau_theta_max=1000, shift_max=32, cost_frac=16
    ),
}
every_network = pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS.keys())


def fits(value: int, bits: int) -> bool:
    return -(1 << (bits - 1)) <= value < 1 << (bits - 1)


def extreme_sums(net: Network, layer: int) -> list[tuple[int, int, int]]:
    """(W·x in weight units, Σs·x, factor): all that one neuron of `layer` can reach."""
    n = net.layers[layer]
    scale = net.grid_frac - net.weight_frac
    found = []
    first = ACT_MIN if net.input_bound(layer) == -ACT_MIN else -ONE
    for x0 in (first, -first - (first == ACT_MIN)):
        x = with_bias(np.full(n, x0))
        for aligned in (1, -1):
            # Every weight at the end that has the sign of its input, or the other one.
            weights = np.where((x > 0) == (aligned > 0), net.weight_max, net.weight_min)
            base = int(weighted_sum(weights[None].astype(float), x, net)[0])
            for factor in (1, -1):
                found.append((base >> scale, int(np.abs(x).sum()) * aligned, factor))
                found.append((base >> scale, -int(np.abs(x).sum()) * aligned, factor))
    return found


@every_network
def test_sums_and_pre_activations_fit(net):
    scale = net.grid_frac - net.weight_frac
    largest = 0
    for layer in range(net.depth):
        for base, sign_sum, factor in extreme_sums(net, layer):
            assert fits(base, net.acc_bits)
            assert fits(sign_sum, net.sign_sum_bits)
            for delta_exp in (1, DELTA_EXP_MAX):
                total = (base << scale) + factor * (sign_sum << (net.grid_frac - delta_exp))
                assert fits(total, net.sum_bits)
                assert abs(total) <= net.sum_bound
                # What the collector shifts right, before it does.
                assert fits(sign_sum << net.grid_frac, net.sign_sum_bits + net.grid_frac)
                z = int(
                    pre_activation(
                        np.array(base << scale), np.array(sign_sum), factor, delta_exp, net
                    )
                )
                assert fits(z, net.pre_bits)
                largest = max(largest, abs(z))
    # Not one bit more than needed, so that a bound that is too small is found out above.
    assert not fits(-2 * largest - 2, net.pre_bits)


@every_network
def test_costs_fit(net):
    if net.cost == "cross_entropy":
        ends = (-net.output_bound, net.output_bound)
    else:
        ends = (ACT_MIN, ACT_MAX)
    largest = 0
    for label in range(net.classes):
        for inside in ends:
            for outside in ends:
                y = np.full(net.outputs, outside)
                y[label % net.outputs] = inside
                cost = int(net.cost_kind.exact(y, np.array(label), net))
                assert 0 <= cost <= net.cost_bound
                largest = max(largest, cost)
    assert net.cost_bound < 1 << net.cost_bits
    assert largest * 2 >= net.cost_bound, "the bound should be one that can be nearly met"
    for delta in (largest, -largest, 2 * largest, -2 * largest):
        assert fits(delta, net.delta_cost_bits)


@every_network
def test_outputs_of_extreme_weights_cost_no_more_than_the_bound(net):
    """The same through the golden forward pass, layer by layer."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        x = with_bias(rng.choice([ACT_MIN, ACT_MAX, 0], size=net.layers[0]))
        z = x
        for layer in range(net.depth):
            shape = (net.layers[layer + 1], net.layers[layer] + 1)
            weights = rng.choice([net.weight_min, net.weight_max], size=shape).astype(float)
            sign_sum = rng.choice([-1, 1], size=shape) @ x
            z = pre_activation(weighted_sum(weights, x, net), sign_sum, 1, 1, net)
            assert all(fits(int(v), net.pre_bits) for v in z)
            if layer < net.depth - 1:
                x = with_bias(activate(net.hidden, z, net.pre_frac)[0])
                assert np.abs(x).max() <= net.input_bound(layer + 1)
        y, _ = output_values(z, net)
        for label in range(net.classes):
            cost = int(net.cost_kind.exact(y, np.array(label), net))
            assert 0 <= cost <= net.cost_bound


@every_network
def test_shares_and_accumulators_fit(net):
    config = CoreConfig(net, 1)
    bound = 2 * net.cost_bound
    contributions = []
    for delta in (bound, -bound):
        for x in (ACT_MIN, ACT_MAX, ONE):
            assert fits(delta * x, net.product_bits)
            for byte in (0, (1 << ROUND_BITS) - 1):
                contributions.append(stochastic_round(delta * x, ACT_FRAC, byte, ROUND_BITS))
    assert all(fits(v, net.contribution_bits) for v in contributions)
    # A share that the width limits must still clip every weight, wherever it stands.
    limit = (1 << (config.share_bits - 1)) - 1
    assert net.weight_max - limit < net.weight_min
    assert net.weight_min + limit > net.weight_max
    if net.accumulators:
        assert all(fits(v, config.share_bits) for v in contributions)
        for shift in {SHIFT_MIN, 0, net.shift_max}:
            for share in (min(contributions), max(contributions)):
                total = (1 << max(shift, 0)) - 1 if share > 0 else 0
                for _ in range(net.tau_theta_max):
                    total += share
                assert fits(total, net.gradient_bits)
                whole = floor_shift(total, shift)
                assert fits(whole, net.gradient_bits - SHIFT_MIN)


@every_network
def test_values_of_a_sine_fit(net):
    """Largest level times the worst share and the worst inputs of a neuron, all in one phase."""
    most = int(max(SINE))
    config = CoreConfig(
        replace(net, accumulators=True), 1, variant=BuildOptions(perturbation="sine")
    )
    worst = 4 * net.cost_bound + 1
    inputs = max(net.layers[k] * net.input_bound(k) + ONE for k in range(net.depth))
    for sign in (-1, 1):
        assert fits(sign * most * worst, config.lane_share_bits)
        assert fits(sign * most * inputs, config.sign_sum_bits)


@pytest.mark.parametrize(
    ("low", "high", "bits"),
    [(0, 0, 1), (-1, 0, 1), (-1, 1, 2), (-2, 1, 2), (0, 2, 3), (-128, 127, 8), (-129, 0, 9)],
)
def test_signed_bits(low, high, bits):
    assert signed_bits(low, high) == bits
    assert fits(low, bits)
    assert fits(high, bits)
