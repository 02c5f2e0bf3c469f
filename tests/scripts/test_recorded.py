"""Which recorded builds a task can run on."""

from __future__ import annotations

import pytest

from mgd.host.task.task import Task
from mgd.scripts.bench.boards import case_of, core_text
from mgd.scripts.common.recorded import serves

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


def test_schedules_are_told_apart():
    pipelined = {**SPATIAL, "difference": "antithetic", "schedule": "pipelined"}
    waiting = {**pipelined, "schedule": None}
    asked = {"core": "spatial", "method": "wp"}
    for late, row, other in (("pipelined", pipelined, waiting), ("sequential", waiting, pipelined)):
        assert serves(row, task(**asked, schedule=late))
        assert not serves(other, task(**asked, schedule=late))
    # A record of before there were schedules.
    del waiting["schedule"]
    assert serves(waiting, task(**asked))
    assert case_of(waiting).loaded().spec.schedule == "sequential"
    assert case_of(pipelined).loaded().core_layout().pipelined
    assert core_text(pipelined) == "spatial, wp antithetic, pipelined"
    assert core_text(waiting) == "spatial, wp antithetic, tau_theta 1"


def test_a_spatial_core_serves_its_own_method_and_difference():
    asked = {"core": "spatial", "method": "wp", "difference": "forward"}
    assert serves(SPATIAL, task(**asked))
    assert serves(SPATIAL, task(**asked, tau_theta=7))
    assert not serves(SPATIAL, task(**{**asked, "method": "np"}))
    assert not serves(SPATIAL, task(**{**asked, "difference": "antithetic"}))
    assert not serves({**SPATIAL, "fixed": "tau_theta"}, task(**asked, tau_theta=7))
