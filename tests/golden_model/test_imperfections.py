"""Imperfect hardware: each kind bit for bit, its statistics, and that it does nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.imperfections import ImperfectHardware, Imperfections, largest_noise, noise
from mgd.golden_model.network import Network
from mgd.golden_model.seeds import words
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from tests.golden_model.test_family import ENTROPY, NARROW, same_run
from tests.golden_model.test_trainer import make, state

KINDS = {
    "cost_noise": {"cost_noise": 0.02},
    "update_noise": {"update_noise": 0.01},
    "gain": {"gain": 0.2},
    "offset": {"offset": 0.3},
    "gain and offset": {"gain": 0.5, "offset": 0.1},
    "stuck": {"stuck": 0.3, "stuck_bits": 6},
    "stuck synapse": {"stuck_synapse": 0.3, "stuck_bits": 6},
    "coarse cost": {"cost_bits": 7},
    "all": {
        "cost_noise": 0.01, "update_noise": 0.002, "gain": 0.1, "offset": 0.05, "stuck": 0.1,
        "cost_bits": 9,
    },
}  # fmt: skip
PLANS = [
    Settings("np", eta_exp=4, input_shift=6),
    Settings("wp", "forward", "residual", eta_exp=5, tau_theta=3, tau_x=2, input_shift=6),
    Settings("np", "forward", "residual", eta_exp=4, scope="layer", tau_p=2, input_shift=6),
    Settings("wp", eta_exp=4, perturbation="walsh", trainable=(False, True), input_shift=6),
]


@pytest.mark.parametrize("plan", range(len(PLANS)))
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_written_out_rules(kind, plan):
    # The oracle draws word by word, which is slow.
    faults = Imperfections(**KINDS[kind])
    settings = PLANS[plan]
    if kind in ("update_noise", "stuck", "all") and settings.trainable:
        settings = replace(settings, trainable=())
    trainer = same_run(ENTROPY, settings, steps=12, faults=faults)
    codes, labels, weights, orders = make(ENTROPY, settings, [3, 4], gain=2.0)
    perfect = Trainer(ENTROPY, settings, codes, labels, weights, [3, 4], orders)
    perfect.train(12)
    assert state(trainer, 0) != state(perfect, 0), "else nothing was imperfect"


@pytest.mark.parametrize(
    ("limit", "eta_exp", "found"),
    [
        ("pre_bound", 8, {"gain": 8.0, "offset": 64.0}),
        ("delta_bound", 8, {"cost_noise": 64.0}),
        ("change_bound", 0, {"cost_noise": 64.0, "update_noise": 8.0}),
    ],
)
def test_limits_are_the_written_out_ones(monkeypatch, limit, eta_exp, found):
    faults, settings = Imperfections(**found), Settings("wp", eta_exp=eta_exp, input_shift=6)
    limited = same_run(ENTROPY, settings, steps=12, faults=faults)
    monkeypatch.setattr(ImperfectHardware, limit, 1 << 50)
    codes, labels, weights, orders = make(ENTROPY, settings, [3, 4], gain=2.0)
    free = Trainer(ENTROPY, settings, codes, labels, weights, [3, 4], orders, imperfections=faults)
    free.train(12)
    assert state(limited, 0) != state(free, 0), "else nothing was limited"


@pytest.mark.parametrize(("deviation", "frac"), [(0.25, 12), (0.003, 16), (3.0, 8)])
def test_noise_is_bell_shaped(deviation, frac):
    drawn = noise(words(100_000, 5, "cost_noise"), deviation, frac) * 2.0**-frac
    print(f"mean {drawn.mean():.5f}, deviation {drawn.std():.5f} of {deviation}")
    assert abs(drawn.mean()) < 4 * deviation / 100_000**0.5 + 2.0**-frac / 2
    assert drawn.std() == pytest.approx(deviation, rel=0.02)
    within = (np.abs(drawn) < deviation).mean()
    assert within == pytest.approx(0.683, abs=0.02)
    assert np.abs(drawn).max() <= largest_noise(deviation, frac) * 2.0**-frac <= 4.9 * deviation
    ends = np.array([0, 2**64 - 1], dtype=np.uint64)
    assert np.abs(noise(ends, deviation, frac)).max() == largest_noise(deviation, frac)


def test_share_of_stuck_bits():
    network = Network((40, 30, 10))
    hardware = ImperfectHardware(Imperfections(stuck=0.3), network, [1, 2])
    for value in (0, -1, 1234, -4000):
        got = hardware.stored(0, np.full((2, 30, 41), float(value))).astype(int)
        changed = np.array([(got ^ value) >> b & 1 for b in range(16)]).mean(axis=(1, 2, 3))
        print(f"{value}: {np.round(changed, 3).tolist()}")
        assert np.abs(changed[:8] - 0.15).max() < 0.03, "half of the stuck ones were right"
        assert (changed[8:] == 0).all()
    assert (got[0] != got[1]).any()
    assert (hardware.stored(0, got.astype(float)) == got).all(), "written again, it stays"
    synapse = ImperfectHardware(Imperfections(stuck_synapse=0.3), network, [1, 2])
    assert (synapse.used(0, np.full((2, 30, 41), -4000.0)) == got).all(), "the same bits"
    for nothing in (hardware.used, synapse.stored):
        assert (nothing(0, np.full((2, 30, 41), -4000.0)) == -4000).all()


def test_a_stuck_synapse_shows_in_the_evaluation_but_not_in_the_memory():
    settings = Settings(input_shift=6)
    codes, labels, weights, orders = make(NARROW, settings, [1])
    faults = Imperfections(stuck_synapse=1.0, stuck_bits=12)
    t = Trainer(NARROW, settings, codes, labels, weights, [1], orders, imperfections=faults)
    perfect = Trainer(NARROW, settings, codes, labels, weights, [1], orders)
    assert (t.evaluate(codes, labels)[1] != perfect.evaluate(codes, labels)[1]).all()
    assert all((a == b).all() for a, b in zip(t.weights, weights, strict=True))


def test_the_same_neurons_when_training_and_when_evaluated():
    settings = Settings(input_shift=6)
    codes, labels, weights, orders = make(NARROW, settings, [1, 2])
    faults = Imperfections(gain=0.5, offset=0.5)
    t = Trainer(NARROW, settings, codes, labels, weights, [1, 2], orders, imperfections=faults)
    perfect = Trainer(NARROW, settings, codes, labels, weights, [1, 2], orders)
    _, cost = t.evaluate(codes, labels)
    _, without = perfect.evaluate(codes, labels)
    assert (cost != without).all()
    # A baseline of training is a cost without perturbation: that of the evaluation.
    forward = replace(settings, difference="forward")
    measured = np.zeros(2, dtype=np.int64)
    held = Trainer(
        NARROW, forward, codes, labels, weights, [1, 2], orders, updates=False, imperfections=faults
    )
    for _ in range(len(labels)):
        measured += held.step().baseline
    assert (measured == cost).all()


def test_noise_is_not_in_the_evaluation():
    settings = Settings(input_shift=6)
    codes, labels, weights, orders = make(NARROW, settings, [1])
    noisy = Imperfections(cost_noise=1.0, update_noise=1.0, cost_bits=2)
    t = Trainer(NARROW, settings, codes, labels, weights, [1], orders, imperfections=noisy)
    perfect = Trainer(NARROW, settings, codes, labels, weights, [1], orders)
    for a, b in zip(t.evaluate(codes, labels), perfect.evaluate(codes, labels), strict=True):
        assert (a == b).all()


def test_nothing_wrong_is_no_hardware():
    settings = Settings(input_shift=6)
    codes, labels, weights, orders = make(NARROW, settings, [1])
    t = Trainer(
        NARROW, settings, codes, labels, weights, [1], orders, imperfections=Imperfections()
    )
    assert t.hardware is None
    assert not Imperfections(stuck_bits=3).any
    assert Imperfections(cost_bits=0).any


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"cost_noise": -0.1}, ["cost_noise = -0.1", "0 and 64"]),
        ({"stuck": 1.5}, ["stuck = 1.5", "0 and 1"]),
        ({"stuck": float("nan")}, ["stuck = nan"]),
        ({"stuck_bits": 18}, ["stuck_bits = 18", "0 and 17"]),
        ({"cost_bits": -1}, ["cost_bits = -1", "0 and 16"]),
        ({"stuck": 0.5, "stuck_bits": 16}, ["stuck_bits = 16", "15 bits beside its sign"]),
    ],
)
def test_refused(fields, parts):
    with pytest.raises(UserError) as caught:
        ImperfectHardware(Imperfections(**fields), NARROW, [1])
    for part in parts:
        assert part in str(caught.value)
