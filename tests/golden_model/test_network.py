"""Networks: refused shapes, the counts, and widths that hold the worst case."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.forward import pre_activation, predict, weighted_sum, with_bias
from mgd.golden_model.network import ACT_FRAC, ACT_MAX, ACT_MIN, ONE, TAU_MAX, Network, signed_bits

REFUSED = [
    ({"layers": ()}, ["layers = []", "at least", "[2, 2, 1]"]),
    ({"layers": (3,)}, ["layers = [3]", "at least an input and an output", "[2, 2, 1]"]),
    ({"layers": (2, 0, 1)}, ["layer of 0 nodes", "1 to 4096"]),
    ({"layers": (2, 4097, 1)}, ["layer of 4097 nodes", "1 to 4096"]),
    ({"layers": (-1, 1)}, ["layer of -1 nodes", "1 to 4096"]),
    ({"hidden": "gelu"}, ["hidden = 'gelu'", "tanh, relu, identity"]),
    ({"output": "softmax"}, ["output = 'softmax'", "tanh, relu, identity"]),
    ({"cost": "mae"}, ["cost = 'mae'", "mse, cross_entropy"]),
    ({"cost": "cross_entropy", "layers": (2, 1)}, ["one output node", "always 1", "'mse'"]),
    (
        {"targets": "value", "cost": "hinge", "layers": (2, 2)},
        ["a regression with cost = 'hinge'", "'mse' or 'l1'"],
    ),
    ({"weight_bits": 7}, ["weight_bits = 7", "between 8 and 18"]),
    ({"weight_bits": 19}, ["weight_bits = 19", "between 8 and 18"]),
    ({"pre_frac": 7}, ["pre_frac = 7", "between 8 and 14"]),
    ({"pre_frac": 15}, ["pre_frac = 15", "between 8 and 14"]),
    ({"cost_frac": 7}, ["cost_frac = 7", "between 8 and 16"]),
    ({"cost_frac": 17}, ["cost_frac = 17", "between 8 and 16"]),
    ({"sample_bits": 0}, ["sample_bits = 0", "between 1 and 16"]),
    ({"sample_bits": 17}, ["sample_bits = 17", "between 1 and 16"]),
    ({"tau_theta_max": 0}, ["tau_theta_max = 0", "between 1 and 65535"]),
    ({"tau_theta_max": 2**16, "accumulators": True}, ["65536", "between 1 and 65535"]),
    ({"shift_max": -1}, ["shift_max = -1", "between 0 and 32"]),
    ({"shift_max": 33}, ["shift_max = 33", "between 0 and 32"]),
    (
        {"cost": "cross_entropy", "cost_frac": 11},
        ["cost_frac = 11", "pre_frac = 12", "lose", "raise cost_frac"],
    ),
    ({"target_low": ACT_MIN - 1}, ["target_low = -32769", "-32768 to 32767"]),
    ({"target_high": ACT_MAX + 1}, ["target_high = 32768", "-32768 to 32767"]),
    (
        {"target_low": 8192, "target_high": 8192},
        ["target_low = 0.5", "below target_high = 0.5", "the label's node"],
    ),
    ({"tau_theta_max": 2}, ["tau_theta_max = 2", "without accumulators", "accumulators = true"]),
]


@pytest.mark.parametrize(("fields", "fragments"), REFUSED)
def test_refused_in_one_line(fields, fragments):
    with pytest.raises(UserError) as caught:
        Network(**{"layers": (2, 2), **fields})
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(
    "fields",
    [
        {"layers": (1, 1)},
        {"layers": (4096, 2)},
        {"weight_bits": 8, "pre_frac": 8, "cost_frac": 8, "sample_bits": 1, "shift_max": 0},
        {"weight_bits": 18, "pre_frac": 14, "cost_frac": 16, "sample_bits": 16, "shift_max": 32},
        {"cost": "cross_entropy", "cost_frac": 12},
        {"cost_frac": 11},
        {"target_low": ACT_MIN, "target_high": ACT_MAX},
        {"accumulators": True, "tau_theta_max": TAU_MAX},
    ],
)
def test_the_limits_themselves_are_accepted(fields):
    Network(**{"layers": (2, 2), **fields})


def test_counts():
    network = Network((64, 32, 10))
    assert (network.depth, network.neurons, network.parameters) == (2, 42, 2410)
    assert (network.outputs, network.classes, network.label_bits) == (10, 10, 4)
    assert network.describe() == "64-32-10"
    single = Network((2, 2, 1))
    assert (single.neurons, single.parameters) == (3, 9)
    assert (single.outputs, single.classes, single.label_bits) == (1, 2, 1)


def test_digest_names_every_field_that_matters():
    base = {"layers": (2, 2, 2)}
    changes = {
        "layers": (2, 3, 2),
        "hidden": "relu",
        "output": "identity",
        "cost": "cross_entropy",
        "weight_bits": 15,
        "pre_frac": 11,
        "cost_frac": 13,
        "sample_bits": 7,
        "sample_signed": True,
        "target_low": 0,
        "target_high": ONE - 1,
        "accumulators": True,
        "shift_max": 23,
    }
    digests = {Network(**{**base, name: v}).digest() for name, v in changes.items()}
    digests.add(Network((2, 2, 2), accumulators=True, tau_theta_max=2).digest())
    digests.add(Network((2, 2, 2)).digest())
    assert len(digests) == len(changes) + 2
    assert Network((2, 2, 2)).digest() == Network((2, 2, 2)).digest()


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (
            {"layers": (2, 2, 2), "cost": "cross_entropy"},
            {"output": "relu", "target_low": 0, "target_high": 9},
        ),
        ({"layers": (2, 2)}, {"hidden": "relu"}),
    ],
)
def test_digest_leaves_out_what_nothing_reads(base, changes):
    digest = Network(**base).digest()
    for name, value in changes.items():
        assert Network(**{**base, name: value}).digest() == digest
    assert Network(**{**base, "weight_bits": 15}).digest() != digest


def test_signed_bits():
    for low in range(-40, 41):
        for high in range(max(low, 0), 41):
            bits = signed_bits(low, high)
            assert -(1 << (bits - 1)) <= low
            assert high < 1 << (bits - 1)
            if bits > 1:
                assert low < -(1 << (bits - 2)) or high >= 1 << (bits - 2), "no bit too many"


@pytest.mark.parametrize(
    ("bits", "signed", "per_word", "low", "high"),
    [
        (1, False, 16, 0, 1),
        (1, True, 16, -1, 0),
        (2, True, 8, -2, 1),
        (3, False, 5, 0, 7),
        (5, False, 3, 0, 31),
        (8, True, 2, -128, 127),
        (9, False, 1, 0, 511),
        (16, True, 1, -32768, 32767),
    ],
)
def test_sample_format(bits, signed, per_word, low, high):
    network = Network((7, 2), sample_bits=bits, sample_signed=signed)
    assert network.codes_per_word == per_word
    assert (network.code_min, network.code_max) == (low, high)
    assert network.sample_words == 1 + -(-7 // per_word)


WIDTHS = list(product((8, 12, 16, 18), (8, 12, 14), ("tanh", "relu"), ((5, 3, 2), (2, 9, 4))))


def fits(value: int, bits: int) -> bool:
    return -(1 << (bits - 1)) <= value < 1 << (bits - 1)


@pytest.mark.parametrize(("weight_bits", "pre_frac", "hidden", "layers"), WIDTHS)
def test_sums_fit_and_no_bit_is_wasted(weight_bits, pre_frac, hidden, layers):
    """The worst neuron, in Python integers: largest weights, inputs and perturbation, d = 1."""
    network = Network(layers, hidden, weight_bits=weight_bits, pre_frac=pre_frac)
    worst_sum = worst_plain = worst_signs = 0
    for layer, fan_in in enumerate(layers[:-1]):
        largest = ONE if layer and hidden == "tanh" else -ACT_MIN
        scale = network.grid_frac - network.weight_frac
        plain = -network.weight_min * (fan_in * largest + ONE)
        signs = fan_in * largest + ONE
        assert network.input_bound(layer) == largest
        worst_plain = max(worst_plain, plain)
        worst_signs = max(worst_signs, signs)
        worst_sum = max(worst_sum, (plain << scale) + (signs << (network.grid_frac - 1)))
    assert network.grid_frac == max(12, weight_bits - 4)
    assert network.acc_frac == ACT_FRAC + network.grid_frac
    assert network.sum_bound == worst_sum
    for bound, bits in (
        (worst_plain, network.acc_bits),
        (worst_signs, network.sign_sum_bits),
        (worst_sum, network.sum_bits),
        ((worst_sum >> network.pre_shift) + 1, network.pre_bits),
    ):
        assert fits(bound, bits)
        assert fits(-bound, bits)
        assert not fits(bound, bits - 2)
    z = pre_activation(np.array([worst_sum, -worst_sum]), 0, 0, 5, network)
    assert np.abs(z).max() <= (worst_sum >> network.pre_shift) + 1


@pytest.mark.parametrize("cost", ["mse", "cross_entropy"])
@pytest.mark.parametrize("tau", [1, 100])
def test_cost_and_gradient_widths(cost, tau):
    network = Network(
        (5, 3, 2), cost=cost, accumulators=True, tau_theta_max=tau, shift_max=10, cost_frac=12
    )
    bound = network.cost_bound
    assert bound < 1 << network.cost_bits <= 2 * bound
    for largest, bits in (
        (2 * bound, network.delta_cost_bits),
        (2 * bound * -ACT_MIN, network.product_bits),
        (4 * bound + 1, network.contribution_bits),
        ((1 << 10) + tau * (4 * bound + 1), network.gradient_bits),
    ):
        assert fits(largest, bits)
        assert fits(-largest, bits)
        assert not fits(largest, bits - 2)
    assert Network((5, 3, 2), cost=cost).gradient_bits == 0


@pytest.mark.parametrize("weight_bits", [8, 16, 18])
def test_blas_is_exact_at_the_worst_case(weight_bits):
    """4,096 inputs, all at the format's end: floating-point sums equal Python's integers."""
    network = Network((4096, 4), weight_bits=weight_bits)
    random = np.random.default_rng(3)
    low, high = network.weight_min, network.weight_max
    weights = random.integers(low, high + 1, (2, 4, 4097))
    weights[0, 0], weights[0, 1] = low, high
    x = random.integers(ACT_MIN, ACT_MAX + 1, (2, 4096))
    x[0] = ACT_MIN
    inputs = with_bias(x)
    assert (inputs[:, -1] == ONE).all()
    scale = 1 << (network.grid_frac - network.weight_frac)
    exact = [
        [scale * sum(a * b for a, b in zip(row, v, strict=True)) for row in w]
        for w, v in zip(weights.tolist(), inputs.tolist(), strict=True)
    ]
    assert weighted_sum(weights.astype(np.float64), inputs, network).tolist() == exact
    assert max(abs(v) for row in exact for v in row) <= network.sum_bound
    raw = Network((4096, 4), cost="cross_entropy", weight_bits=weight_bits)
    z = predict([weights], x, raw)
    half = 1 << (network.pre_shift - 1)
    for seed in (0, 1):
        want = [(v + half) >> network.pre_shift for v in exact[seed]]
        assert z[seed, seed].tolist() == want
