"""Activations and costs against their float functions, with error bounds from theory.

The chord of f over a width h is off by at most h²/8·max|f''|; one more unit of 2^-14 is for the
rounding of table values and of the interpolation.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from mgd.golden_model.activations import activate, tanh
from mgd.golden_model.costs import KINDS, classify, targets
from mgd.golden_model.costs.cross_entropy import exp2_negative, log2
from mgd.golden_model.network import ACT_MAX, ACT_MIN, ONE, Network
from mgd.golden_model.reference import network as reference
from mgd.golden_model.tables import EXP2, LOG2, TABLE_FRAC, TANH, PiecewiseLinear

UNIT = 2.0**-TABLE_FRAC
TANH_ERROR = 0.5**2 / 8 * 4 / 27**0.5 + UNIT  # max|tanh''| = 4/sqrt(27); 0.0241
TANH_TAIL = 1 - math.tanh(4.0) + UNIT
EXP2_ERROR = 0.125**2 / 8 * math.log(2) ** 2 + UNIT  # 0.00100
LOG2_ERROR = 0.125**2 / 8 / math.log(2) + UNIT  # 0.00288

MSE = Network((3, 2))
ENTROPY = Network((3, 10), cost="cross_entropy", cost_frac=14)


@pytest.mark.parametrize(
    ("table", "function", "low", "high", "segments"),
    [
        (TANH, math.tanh, -4, 4, 16),
        (EXP2, lambda x: 2.0**-x, 0, 1, 8),
        (LOG2, lambda x: math.log2(1 + x), 0, 1, 8),
    ],
)
def test_table_values_are_the_nearest_to_the_function(table, function, low, high, segments):
    assert table.segments == segments == 1 << table.segment_bits
    points = np.linspace(low, high, segments + 1)
    errors = [v - function(p) * 2**TABLE_FRAC for v, p in zip(table.values, points, strict=True)]
    assert max(map(abs, errors)) <= 0.5


def test_interpolation_is_exact_and_rounded_once():
    table = PiecewiseLinear((5, -9, 100, 101, 7))
    bits = 7
    got = table(np.arange(1 << bits), bits)
    for position in range(1 << bits):
        index, offset = divmod(position, 32)
        left, right = table.values[index], table.values[index + 1]
        exact = left + math.floor(Fraction((right - left) * offset, 32) + Fraction(1, 2))
        assert got[position] == exact


@pytest.mark.parametrize("pre_frac", [8, 12, 14])
def test_tanh(pre_frac):
    z = np.arange(-7 << pre_frac, 7 << pre_frac)
    y = tanh(z, pre_frac)
    inside = np.abs(z) < 4 << pre_frac
    error = np.abs(y * UNIT - np.tanh(z * 2.0**-pre_frac))
    print(f"tanh error inside {error[inside].max():.5f}, outside {error[~inside].max():.5f}")
    assert error[inside].max() < TANH_ERROR
    assert error[~inside].max() < TANH_TAIL
    step = np.diff(y)
    steepest = max(np.diff(TANH.values)) / (1 << (pre_frac - 1))
    assert step.min() >= 0, "monotonic"
    assert step.max() <= math.floor(steepest) + 1, "continuous"
    # Odd, but for the half that rounds up: exactly so at the table's points.
    assert np.abs(y[1:] + y[:0:-1]).max() <= 1
    assert y[7 << pre_frac] == 0
    assert (y[: 3 << pre_frac] == TANH.values[0]).all()
    assert (y[11 << pre_frac :] == TANH.values[-1]).all()


@pytest.mark.parametrize("pre_frac", [8, 12, 14])
def test_relu_and_identity_saturate_and_say_so(pre_frac):
    z = np.arange(-3 << pre_frac, 3 << pre_frac)
    for kind in ("relu", "identity"):
        y, over = activate(kind, z, pre_frac)
        exact = reference.activation(kind, z * 2.0**-pre_frac) * ONE
        assert (y == np.clip(exact, ACT_MIN, ACT_MAX)).all()
        assert (over == ((exact > ACT_MAX) | (exact < ACT_MIN))).all()
        assert over.any()
    assert not activate("tanh", z, pre_frac)[1].any()


@pytest.mark.parametrize("pre_frac", [8, 12, 14])
def test_exp2(pre_frac):
    d = np.arange(18 << pre_frac)
    y = exp2_negative(d, pre_frac)
    error = np.abs(y * UNIT - 2.0 ** -(d * 2.0**-pre_frac))
    print(f"2^-d error {error.max():.6f}")
    assert error.max() < EXP2_ERROR
    assert np.diff(y).max() <= 0, "monotonic"
    assert y[0] == 1 << TABLE_FRAC
    assert np.diff(y).min() >= -(1 << max(0, TABLE_FRAC - pre_frac)), "continuous"
    assert (y[15 << pre_frac :] == 0).all()
    assert (exp2_negative(np.array([1 << 40]), pre_frac) == 0).all()


def test_log2():
    s = np.arange(1 << TABLE_FRAC, 20 << TABLE_FRAC)
    width = int(s[-1]).bit_length()
    y = log2(s, width)
    error = np.abs(y * UNIT - np.log2(s * UNIT))
    print(f"log2 error {error.max():.6f}")
    assert error.max() < LOG2_ERROR
    assert y[0] == 0
    assert np.diff(y).min() >= 0, "monotonic"
    assert np.diff(y).max() <= 2, "continuous"
    assert (log2(s, width + 5) == y).all(), "the width is only room"


def test_targets():
    network = Network((1, 3), target_low=-5, target_high=7)
    assert targets(np.array([2, 0]), network).tolist() == [[-5, -5, 7], [7, -5, -5]]
    single = Network((1, 1), target_low=-5, target_high=7)
    assert targets(np.array([1, 0]), single).tolist() == [[7], [-5]]


@pytest.mark.parametrize("cost_frac", [8, 12, 16])
@pytest.mark.parametrize("low", [-ONE, 0])
def test_mse(cost_frac, low):
    network = Network((3, 2), target_low=low, cost_frac=cost_frac)
    random = np.random.default_rng(1)
    y = random.integers(ACT_MIN, ACT_MAX + 1, (4000, 2))
    y[:4] = [[ACT_MIN, ACT_MIN], [ACT_MAX, ACT_MAX], [ACT_MIN, ACT_MAX], [ONE, low]]
    labels = random.integers(0, 2, 4000)
    labels[:4] = 0
    got = KINDS["mse"].exact(y, labels, network)
    exact = reference.cost(y / ONE, labels, network) * 2**cost_frac
    assert np.abs(got - exact).max() <= 0.5 + 1e-6
    assert (got[exact % 1 == 0.5] > exact[exact % 1 == 0.5]).all(), "half rounds up"
    assert got[3] == 0
    assert got.min() >= 0
    assert got.max() <= network.cost_bound


def test_mse_bound_is_reached():
    """A bound that is far too large would waste width, one too small would clip."""
    for low, high, worst in ((-ONE, ONE, [ACT_MIN, ACT_MAX]), (-ONE, 0, [ACT_MIN, ACT_MAX])):
        network = Network((3, 2), target_low=low, target_high=high)
        y = np.array([[a, b] for a in worst for b in worst])
        highest = max(
            int(KINDS["mse"].exact(y, np.full(4, label), network).max()) for label in (0, 1)
        )
        assert highest <= network.cost_bound
        assert highest >= network.cost_bound // 2


@pytest.mark.parametrize(("pre_frac", "cost_frac"), [(8, 8), (12, 12), (12, 16), (14, 14)])
@pytest.mark.parametrize("outputs", [2, 4, 10])
def test_cross_entropy(pre_frac, cost_frac, outputs):
    network = Network((3, outputs), cost="cross_entropy", pre_frac=pre_frac, cost_frac=cost_frac)
    random = np.random.default_rng(2)
    limit = (network.output_bound,) * 2
    near = random.integers(-3 << pre_frac, 3 << pre_frac, (3000, outputs))
    far = random.integers(-limit[0], limit[1] + 1, (3000, outputs))
    z = np.concatenate([near, far, np.zeros((1, outputs), dtype=np.int64)])
    labels = random.integers(0, outputs, len(z))
    got = KINDS["cross_entropy"].exact(z, labels, network)
    exact = reference.cost(z * 2.0**-pre_frac, labels, network)
    # A term is off by its chord and by less than a unit where it is shifted right.
    sum_error = (EXP2_ERROR + outputs * UNIT) / math.log(2)
    bound = sum_error + LOG2_ERROR + 2.0**-cost_frac
    error = np.abs(got * 2.0**-cost_frac - exact).max()
    print(f"cross-entropy error {error:.5f}, bound {bound:.5f}")
    assert error < bound
    assert got.min() >= 0
    assert got.max() <= network.cost_bound


def test_cross_entropy_at_its_ends():
    """All equal: log2 n.  The label far above the others: 0.  Far below: the bound holds."""
    for outputs in (2, 3, 8, 10):
        network = Network((3, outputs), cost="cross_entropy")
        top = network.output_bound
        zero = np.zeros(1, dtype=np.int64)
        z = np.zeros((1, outputs), dtype=np.int64)
        equal = int(KINDS["cross_entropy"].exact(z, zero, network)[0])
        assert abs(equal / 2**12 - math.log2(outputs)) < LOG2_ERROR + 2.0**-12
        z[0, 0] = top
        assert KINDS["cross_entropy"].exact(z, zero, network)[0] == 0
        z[0], z[0, 0] = top, -top
        worst = int(KINDS["cross_entropy"].exact(z, zero, network)[0])
        assert 2 * top <= worst <= network.cost_bound
        assert network.cost_bound < 2 * worst


def test_classify():
    assert classify(np.array([[3, 9, 9], [5, 5, 5], [-2, -9, -1]]), ENTROPY).tolist() == [
        1,
        0,
        2,
    ]
    single = Network((2, 1), target_low=-3, target_high=6)  # middle 1.5, rounded half up to 2
    outputs = np.array([[1], [2], [-7], [9]])
    assert classify(outputs, single).tolist() == [0, 1, 0, 1]
    assert classify(np.array([[-1], [0]]), Network((2, 1))).tolist() == [0, 1]
