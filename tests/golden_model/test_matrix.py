"""Settings of the whole family, drawn at random, beside the written-out rules.

Every combination that is not refused in one line must be equal bit for bit.  Cases are chosen so
that every pair of values of two settings occurs, and others at random; all print their number.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.imperfections import Imperfections
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from tests.golden_model.test_family import SEEDS, same_run
from tests.golden_model.test_trainer import make
from tests.support.oracle import NONE

CHOICES: dict[str, tuple[Any, ...]] = {
    "method": ("wp", "np"),
    "difference": ("antithetic", "forward", "highpass"),
    "rounding": ("stochastic", "residual"),
    "perturbation": ("random", "sequential", "walsh", "square", "sine"),
    "scope": ("network", "layer"),
    "trainable": ((), (True, False), (False, True)),
    "gate_zeros": (False, True),
    "skip_zeros": (False, True),
    "optimizer": ("sgd", "adam"),
    "momentum_exp": (0, 2),
    "decay_exp": (0, 9),
    "halve_every": (0, 5),
    "warmup_exp": (0, 2),
    "sample_order": ("cycle", "epoch", "random"),
    "accumulate": ("weights", "nodes"),
    "tau_x": (1, 3),
    "tau_p": (1, 2),
    "tau_theta": (1, 3),
    "hidden": ("tanh", "relu", "leaky_relu", "sigmoid", "hard_tanh", "identity"),
    "cost": ("mse", "cross_entropy", "hinge", "l1", "smoothed"),
    "faults": ("none", "some"),
}
OTHERS = 100
STEPS = 8
FAULTS = Imperfections(cost_noise=0.01, gain=0.1, offset=0.05, cost_bits=10)


def draw(number: int) -> tuple[dict[str, Any], Network, Settings] | None:
    """Case `number`: its choices, network and settings; None where it is refused."""
    random = np.random.default_rng(number)
    chosen = {key: values[random.integers(len(values))] for key, values in CHOICES.items()}
    fields = {key: chosen[key] for key in CHOICES if key not in ("hidden", "cost", "faults")}
    smoothed = chosen["cost"] == "smoothed"
    network = Network(
        (3, 3, 2),
        chosen["hidden"],
        "tanh",
        "cross_entropy" if smoothed else chosen["cost"],
        smoothing_exp=4 if smoothed else 0,
        cost_frac=13,
        sample_bits=3,
        accumulators=True,
        tau_theta_max=60_000,
    )
    try:
        settings = Settings(eta_exp=7, warmup_every=2, input_shift=11, **fields)
        settings.check(network)
    except UserError:
        return None
    return chosen, network, settings


def accepted() -> list[int]:
    """Numbers of OTHERS cases that are not refused, and of those that have a pair first."""
    found: list[int] = []
    seen: set[tuple] = set()
    for number in range(6000):
        case = draw(number)
        if case is not None:
            pairs = set(combinations(case[0].items(), 2))
            if len(found) < OTHERS or not pairs <= seen:
                found.append(number)
                seen |= pairs
    return found


ACCEPTED = accepted()


@pytest.mark.parametrize("number", ACCEPTED)
def test_case(number):
    case = draw(number)
    assert case is not None
    chosen, network, settings = case
    print(f"case {number}: {chosen}")
    same_run(network, settings, steps=STEPS, faults=FAULTS if chosen["faults"] == "some" else NONE)


@pytest.mark.parametrize("number", ACCEPTED)
def test_case_goes_on_from_its_middle(number):
    case = draw(number)
    assert case is not None
    chosen, network, settings = case
    print(f"case {number}: {chosen}")
    codes, labels, weights, orders = make(network, settings, SEEDS)

    def trainer(weights: list[np.ndarray]) -> Trainer:
        return Trainer(network, settings, codes, labels, weights, SEEDS, orders)

    whole = trainer(weights)
    first, second = STEPS + number % 7, 3 * STEPS
    whole.train(first)
    other = trainer(whole.weights)
    kept = {"optimizer": "adam", "difference": "highpass", "accumulate": "nodes"}
    if any(chosen[name] == value for name, value in kept.items()):
        with pytest.raises(UserError, match="cannot continue from its middle"):
            other.resume(first, whole.accumulators)
        return
    other.resume(first, whole.accumulators)
    for _ in range(first, second):
        assert whole.step().delta.tolist() == other.step().delta.tolist()
    for mine, its in zip(
        whole.weights + whole.accumulators, other.weights + other.accumulators, strict=True
    ):
        np.testing.assert_array_equal(mine, its)


def excluded(a: str, x: Any, b: str, y: Any) -> bool:
    """Pairs that are refused whatever the rest is."""
    pair = {a: x, b: y}
    needs = {"optimizer": "adam", "momentum_exp": 2, "decay_exp": 9, "perturbation": "sine"}
    if pair.get("accumulate") == "nodes":
        others = {"method": "wp", "rounding": "residual", "difference": "highpass"}
        others |= {key: value for key, value in needs.items() if key != "perturbation"}
        return any(pair.get(key) == value for key, value in others.items())
    if pair.get("rounding") == "stochastic":
        # Nodes sum up without accumulators, also fine values and several steps.
        needs = {key: value for key, value in needs.items() if key != "perturbation"}
        return any(pair.get(key) == value for key, value in needs.items())
    if pair.get("skip_zeros") and pair.get("perturbation", "random") != "random":
        return True
    if pair.get("optimizer") == "adam":
        return bool(pair.get("momentum_exp") or pair.get("decay_exp"))
    return pair.get("difference") == "highpass" and pair.get("scope") == "layer"


def test_every_pair_occurs():
    seen = set()
    for number in ACCEPTED:
        case = draw(number)
        assert case is not None
        seen |= set(combinations(case[0].items(), 2))
    for (a, xs), (b, ys) in combinations(CHOICES.items(), 2):
        for x, y in product(xs, ys):
            assert ((a, x), (b, y)) in seen or excluded(a, x, b, y), f"{a} = {x}, {b} = {y}"
