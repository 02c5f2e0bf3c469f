"""docs/mgd.md: each of its settings is accepted, and trains in the golden model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.seeds import initial_weights
from mgd.host.runs.training import run_training
from mgd.host.session.golden import GoldenSession
from mgd.host.task.names import find_task, read_task
from mgd.host.task.task import Task
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "mgd.md").read_text(encoding="utf-8")
METHODS = dict(re.findall(r"^```toml method=(\w+)\n(.*?)^```$", PAGE, re.M | re.S))


def task_with(keys: str) -> Task:
    """XOR with these keys of [training] in place of its own."""
    text = read_task(find_task("xor"))
    start = text.index("[training]")
    common = "steps = 400\neval_every = 200\n"
    return Task.parse(f"{text[:start]}[training]\n{common}{keys}", "docs/mgd.md", Path())


@pytest.mark.parametrize("name", METHODS)
def test_settings_train(name):
    task = task_with(METHODS[name])
    with GoldenSession(task.spec.network) as session:
        result = run_training(session, task)
    assert result.steps == 400
    start = initial_weights(task.spec.network, task.spec.seed, task.spec.init_gain)
    assert any((a != b).any() for a, b in zip(result.weights, start, strict=True))


def test_every_row_of_the_table_is_a_method():
    rows = re.findall(r"^\| ([^|]+) \| (\d+) of 40 \|", PAGE, re.M)
    named = [row.split(",")[0] for row, _ in rows]
    assert set(METHODS) <= {*named, "momentum"}
    assert set(named) <= {*METHODS, "momentum_exp = 3"}


def test_periods_that_are_told():
    assert PERTURBATIONS["walsh"].period(9) == 16
    assert PERTURBATIONS["sine"].period(9) == 32
    assert task_with(METHODS["codes"]).spec.network.parameters == 9
