"""Updates that are made some steps late: golden_model.settings.Settings.update_delay."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from tests.golden_model.test_trainer import make
from tests.support.oracle import Oracle

NETWORK = Network((3, 4, 2), accumulators=False, tau_theta_max=1, cost_frac=14, sample_bits=1)
SETTINGS = Settings(delta_exp=5, eta_exp=4, update_delay=7)


def late_weights(network, settings, codes, labels, weights, order, pieces):
    """(weights behind each step's update, D of each step), the oracle being shown the weights of
    update_delay steps ago; within each piece of that many steps."""
    oracle = Oracle(network, settings, codes, labels, [w[0] for w in weights], 1, order)
    behind, deltas = [deepcopy(oracle.weights)], []
    for steps in pieces:
        first = len(behind) - 1
        for _ in range(steps):
            newest = len(behind) - 1
            oracle.weights = deepcopy(behind[max(first, newest - settings.update_delay)])
            before = deepcopy(oracle.weights)
            deltas.append(oracle.step())
            after = deepcopy(behind[-1])
            for layer, node, j in np.ndindex(len(after), 4, 5):
                if node < len(after[layer]) and j < len(after[layer][node]):
                    moved = oracle.weights[layer][node][j] - before[layer][node][j]
                    after[layer][node][j] += moved
            behind.append(after)
    return behind, deltas


@pytest.mark.parametrize("method", ["np", "wp"])
def test_each_step_sees_the_weights_of_update_delay_steps_ago(method):
    settings = replace(SETTINGS, method=method, tau_x=2)
    codes, labels, weights, orders = make(NETWORK, settings, [1])
    trainer = Trainer(NETWORK, settings, codes, labels, weights, [1], orders)
    pieces = (20, 3, 25)
    behind, deltas = late_weights(
        *(NETWORK, settings, codes, labels, weights, orders[0].tolist(), pieces)
    )
    found, step = [], 0
    for steps in pieces:
        for _ in range(steps):
            found.append(int(trainer.step().delta[0]))
            step += 1
            assert [w[0].tolist() for w in trainer.settled] == behind[step]
        assert [w[0].tolist() for w in trainer.weights] != behind[step]
        trainer.finish()
        assert [w[0].tolist() for w in trainer.weights] == behind[step]
    assert found == deltas
    assert not trainer.weight_saturations.any()


def test_a_delay_changes_what_is_learnt():
    codes, labels, weights, orders = make(NETWORK, SETTINGS, [1])
    late, at_once = (
        Trainer(NETWORK, s, codes, labels, weights, [1], orders)
        for s in (SETTINGS, replace(SETTINGS, update_delay=0))
    )
    for trainer in (late, at_once):
        trainer.train(60)
    assert any((a != b).any() for a, b in zip(late.weights, at_once.weights, strict=True))


def test_the_settled_weights_are_a_look_ahead_only():
    codes, labels, weights, orders = make(NETWORK, SETTINGS, [1, 2])
    weights[0][:, 0, 0] = NETWORK.weight_max
    looked, other = (
        Trainer(NETWORK, SETTINGS, codes, labels, weights, [1, 2], orders) for _ in range(2)
    )
    for _ in range(40):
        looked.step()
        assert looked.settled
        other.step()
    assert looked.weight_saturations.any()
    for name in ("weight_saturations", "activation_saturations", "cost_sum"):
        assert (getattr(looked, name) == getattr(other, name)).all()
    assert all((a == b).all() for a, b in zip(looked.weights, other.weights, strict=True))


def test_a_change_of_the_learning_rate_waits_for_the_updates_under_way():
    settings = replace(SETTINGS, halve_every=10)
    codes, labels, weights, orders = make(NETWORK, settings, [1])
    whole, pieces = (Trainer(NETWORK, settings, codes, labels, weights, [1], orders) for _ in "ab")
    whole.train(30)
    for until in (10, 20, 30):
        pieces.train(until)
    assert all((a == b).all() for a, b in zip(whole.weights, pieces.weights, strict=True))
    apart = Trainer(NETWORK, settings, codes, labels, weights, [1], orders)
    apart.train(15)
    apart.train(30)
    assert any((a != b).any() for a, b in zip(whole.weights, apart.weights, strict=True))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rounding": "residual"}, "use rounding = 'stochastic'"),
        ({"difference": "forward"}, "use difference = 'antithetic'"),
        ({"resident": 4}, "use resident = 0"),
        ({"update_delay": 1024}, "between 0 and 1023"),
        ({"update_delay": -1}, "between 0 and 1023"),
    ],
)
def test_what_does_not_go_with_late_updates_is_refused(values, says):
    with pytest.raises(UserError, match=says):
        replace(SETTINGS, **values)
