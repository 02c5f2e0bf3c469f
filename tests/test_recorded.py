"""Which recorded builds a task can run on."""

from __future__ import annotations

import pytest

from host.task import Task
from scripts.recorded import serves

FOLDED = {"board": "b", "task": "xor", "lanes": 2, "core_hz": 1e6}
SPATIAL = {**FOLDED, "lanes": None, "method": "wp", "tau_theta": 1, "difference": "forward"}


def task(**overrides: object) -> Task:
    return Task.load("xor").with_overrides(**overrides)


@pytest.mark.parametrize("method", ["wp", "np"])
def test_a_folded_core_serves_both_methods(method):
    assert serves(FOLDED, task(method=method))
    assert not serves(FOLDED, task(method=method, core="spatial"))
    assert not serves(FOLDED, Task.load("parity4"))


def test_what_is_fixed_must_be_the_tasks():
    fixed = {**FOLDED, "method": "np", "fixed": "method,tau_theta", "tau_theta": 4}
    assert serves(fixed, task(method="np", tau_theta=4))
    assert not serves(fixed, task(method="wp", tau_theta=4))
    assert not serves(fixed, task(method="np", tau_theta=5))


def test_a_spatial_core_serves_its_own_method_and_difference():
    asked = {"core": "spatial", "method": "wp", "difference": "forward"}
    assert serves(SPATIAL, task(**asked))
    assert serves(SPATIAL, task(**asked, tau_theta=7))
    assert not serves(SPATIAL, task(**{**asked, "method": "np"}))
    assert not serves(SPATIAL, task(**{**asked, "difference": "antithetic"}))
    assert not serves({**SPATIAL, "fixed": "tau_theta"}, task(**asked, tau_theta=7))
