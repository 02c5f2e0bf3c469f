"""The family of perturbations, trained step by step beside the rules written out in integers."""

from __future__ import annotations

import pytest

from mgd.golden_model.imperfections import Imperfections
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from tests.golden_model.test_trainer import make
from tests.support.oracle import NONE, Oracle

STEPS = 45
SEEDS = [3, 4]
NARROW = Network((3, 3, 2, 1), accumulators=True, tau_theta_max=64)
ENTROPY = Network(
    (4, 3, 3), cost="cross_entropy", cost_frac=15, pre_frac=11, accumulators=True, tau_theta_max=64
)
PLANS = {
    "plain": {"eta_exp": 4},
    "residual": {"rounding": "residual", "eta_exp": 6},
    "held": {"rounding": "residual", "tau_x": 6, "tau_p": 2, "tau_theta": 3, "eta_exp": 3},
}
FAMILY = ["random", "sequential", "walsh", "square", "sine"]


def same_run(
    network: Network,
    settings: Settings,
    gain: float = 2.0,
    steps: int = STEPS,
    faults: Imperfections = NONE,
) -> Trainer:
    """Trainer and oracle side by side: every cost change, weight, accumulator and counter."""
    codes, labels, weights, orders = make(network, settings, SEEDS, gain=gain)
    many = Trainer(network, settings, codes, labels, weights, SEEDS, orders, imperfections=faults)
    oracles = []
    for k, seed in enumerate(SEEDS):
        mine = [w[k] for w in weights]
        order = orders[k].tolist()
        oracles.append(Oracle(network, settings, codes, labels, mine, seed, order, faults))
    for _ in range(steps):
        record = many.step()
        assert record.delta.T.tolist() == [oracle.step() for oracle in oracles]
    for k, o in enumerate(oracles):
        assert [w[k].tolist() for w in many.weights] == o.weights
        assert [g[k].tolist() for g in many.accumulators] == o.accumulators
        assert many.cost_sum[k] == o.cost_sum
        assert many.weight_saturations[k] == o.weight_saturations
        assert many.activation_saturations[k] == o.activation_saturations
    for layer, (w, start) in enumerate(zip(many.weights, weights, strict=True)):
        trained = not settings.trainable or settings.trainable[layer]
        assert (w != start).any() == trained, "else the test compares nothing"
    return many


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("difference", ["antithetic", "forward"])
@pytest.mark.parametrize("method", ["wp", "np"])
@pytest.mark.parametrize("scope", ["network", "layer"])
@pytest.mark.parametrize("family", FAMILY)
def test_equals_the_written_out_rules(family, scope, method, difference, plan):
    if family == "sine" and plan == "plain":
        pytest.skip("refused: tests/golden_model/test_settings.py")
    settings = Settings(
        method,
        difference,
        perturbation=family,
        scope=scope,
        input_shift=6,
        delta_exp=5,
        **PLANS[plan],
    )
    same_run(ENTROPY, settings)


@pytest.mark.parametrize("trainable", [(False, True, True), (True, False, True), (True, False, 0)])
@pytest.mark.parametrize("scope", ["network", "layer"])
@pytest.mark.parametrize("method", ["wp", "np"])
@pytest.mark.parametrize("family", FAMILY)
def test_frozen_layers(family, scope, method, trainable):
    trainable = tuple(map(bool, trainable))
    settings = Settings(
        method,
        rounding="residual",
        perturbation=family,
        scope=scope,
        trainable=trainable,
        input_shift=6,
        eta_exp=5,
    )
    same_run(NARROW, settings)
