"""Sample orders and continuous MGD beside the written-out rules, and what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mgd.golden_model.network import Network
from mgd.golden_model.samples.order import SampleOrder, shuffled
from mgd.golden_model.seeds import start_state
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.golden_model.update.highpass import HighPass
from tests.golden_model.test_family import ENTROPY, NARROW, same_run
from tests.golden_model.test_trainer import apart_from_float, trainer

NETWORK = Network((3, 2))
STATES = [start_state(seed) for seed in (1, 2, 3)]


@pytest.mark.parametrize("order", ["epoch", "random"])
@pytest.mark.parametrize(
    "plan",
    [
        {"method": "np", "eta_exp": 4},
        {"method": "wp", "difference": "forward", "tau_x": 3, "tau_p": 2, "eta_exp": 6},
        {"method": "np", "difference": "highpass", "eta_exp": 6, "tau_x": 2},
    ],
)
def test_sample_orders_equal_the_written_out_rules(order, plan):
    same_run(ENTROPY, Settings(sample_order=order, input_shift=6, **plan))


CONTINUOUS = {
    "plain": {"eta_exp": 7},
    "slow filter": {"highpass_exp": 5, "tau_x": 9, "eta_exp": 7},
    "integrator": {"rounding": "residual", "momentum_exp": 4, "tau_x": 5, "eta_exp": 7},
    "waves": {"rounding": "residual", "perturbation": "sine", "momentum_exp": 2, "eta_exp": 7},
    "square": {"perturbation": "square", "highpass_exp": 1, "tau_p": 3, "eta_exp": 7},
}


@pytest.mark.parametrize("plan", CONTINUOUS)
@pytest.mark.parametrize("method", ["wp", "np"])
@pytest.mark.parametrize("gates", [False, True])
def test_continuous_equals_the_written_out_rules(plan, method, gates):
    settings = Settings(
        method, "highpass", gate_zeros=gates, input_shift=6, **{"delta_exp": 5, **CONTINUOUS[plan]}
    )
    same_run(NARROW, settings)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 100, 1437])
def test_every_epoch_has_every_sample_once(count):
    order = SampleOrder("epoch", NETWORK, STATES, count)
    epochs = np.array([[order.take() for _ in range(count)] for _ in range(4)])
    assert (np.sort(epochs, axis=1) == np.arange(count)[None, :, None]).all()
    if count >= 16:
        assert len({tuple(epochs[e, :, s]) for e in range(4) for s in range(3)}) == 12


@pytest.mark.parametrize("count", [7, 64, 100])
def test_every_sample_comes_to_every_place(count):
    """Over many epochs each place sees each sample about as often as chance says; with a handful
    of samples, whose places have only 2 or 3 bits to mix, within a fifth of it."""
    keys = np.random.default_rng(3).integers(0, 2**32, (3000, 4))
    table = np.zeros((count, count))
    for row in keys:
        table[np.arange(count), shuffled(np.arange(count), row, count)] += 1
    expected = 3000 / count
    chi = ((table - expected) ** 2 / expected).sum() / (count - 1) ** 2
    print(f"{count}: chi square {chi:.2f} of its mean")
    assert chi < (1.2 if count > 16 else 5)
    assert count > 16 or np.abs(table / expected - 1).max() < 0.2
    assert table.min() > 0


def test_random_order_is_uniform_and_independent():
    order = SampleOrder("random", NETWORK, STATES, 10)
    drawn = np.array([order.take() for _ in range(20_000)])
    share = np.array([(drawn == k).mean(axis=0) for k in range(10)])
    assert np.abs(share - 0.1).max() < 0.01
    after = np.array([(drawn[1:] == drawn[:-1]).mean(axis=0)])
    assert np.abs(after - 0.1).max() < 0.01
    assert (drawn[:, 0] != drawn[:, 1]).any()


def test_cycle_is_what_it_always_was():
    order = SampleOrder("cycle", NETWORK, STATES, 3)
    assert [order.take() for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("exp", [1, 3, 6])
def test_filter_forgets_a_step_and_passes_what_is_quick(exp):
    a = 1 - 2.0**-exp
    slow = HighPass(exp)
    slow.delta(np.array([1000]))
    got = [int(slow.delta(np.array([5000]))[0]) for _ in range(40)]
    assert np.abs(got - 8000 * a ** np.arange(1, 41)).max() < 4
    quick = HighPass(exp)
    alternating = [int(quick.delta(np.array([4000 * (n % 2)]))[0]) for n in range(700)]
    # The transfer function at half the sampling rate: 2a/(1 + a).
    assert abs(alternating[-1] - alternating[-2]) == pytest.approx(8000 * 2 * a / (1 + a), rel=0.01)
    assert math.isclose(alternating[-1], -alternating[-2], abs_tol=40)


@pytest.mark.parametrize("method", ["wp", "np"])
def test_continuous_follows_the_float_trainer(method):
    network = Network(
        (4, 3, 2), "identity", "identity", weight_bits=18, pre_frac=14, cost_frac=16,
        sample_signed=True, accumulators=True, tau_theta_max=64,
    )  # fmt: skip
    settings = Settings(
        method, "highpass", "residual", momentum_exp=3, eta_exp=11, tau_x=8, input_shift=6,
        sample_order="epoch",
    )  # fmt: skip
    apart, moved = apart_from_float(network, settings, 120)
    assert apart < 0.02 * moved


def test_continuous_solves_xor():
    """20 seeds, samples held for 64 steps, an integrator over 64: most arrive."""
    network = Network((2, 2, 1), sample_bits=2, sample_signed=True, accumulators=True,
                      tau_theta_max=64)  # fmt: skip
    settings = Settings(
        "np", "highpass", "residual", momentum_exp=6, eta_exp=6, tau_x=16, input_shift=14
    )
    seeds = list(range(1, 21))
    t = trainer(network, settings, seeds)
    codes, labels = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]), np.array([0, 1, 1, 0])
    t = Trainer(network, settings, codes, labels, t.weights, seeds)
    solved = np.zeros(20, dtype=bool)
    for step in range(1000, 40_001, 1000):
        t.train(step)
        solved |= t.evaluate(codes, labels)[0] == 4
    print(f"{solved.sum()} of 20 seeds")
    assert solved.sum() >= 12
