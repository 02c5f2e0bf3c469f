"""Refusals of tasks beyond single keys: every row refuses something."""

from __future__ import annotations

import tomllib

import pytest

from mgd.golden_model.rules import check
from mgd.host.task import rules
from mgd.host.task.asked import Asked
from mgd.host.task.file import Overrides, TaskFile
from mgd.host.task.pipelining import check_checkpoints
from mgd.host.task.resolve import resolve
from mgd.host.task.task import Task
from mgd.protocol.core_kinds import layout_for
from tests.support.rows import check_rows

XOR = Task.load("xor")
LATE = {"core": "spatial", "schedule": "pipelined"}
SMALL = """
[task]
name = "small"
[data]
source = "xor"
[network]
layers = [2, 2, 1]
"""


def asked(text: str = SMALL, **overrides):
    """The run of this task with these overrides."""
    file = TaskFile.model_validate(tomllib.loads(text))
    return lambda: resolve(Asked(file, Overrides(**overrides)))


def too_many_weights():
    run = asked(SMALL.replace("[2, 2, 1]", "[2, 4096, 4096, 1]"))()
    check(rules.CORE, run=run, core=layout_for(run))


def test_every_row_refuses_in_one_line_with_a_cure():
    cases = [
        asked(f"{SMALL}[training]\ndelta_exp = 5\n", norm=0.2),
        asked(schedule="pipelined"),
        asked(**LATE, tau_theta=2),
        asked(**LATE, perturbation="sine"),
        asked(**LATE, optimizer="adam"),
        asked(**LATE, momentum_exp=2),
        asked(**LATE, decay_exp=2),
        asked(f"{SMALL}[numbers]\nweight_bits = 12\n", **LATE),
        asked(f"{SMALL}[core]\naccumulators = true\n", **LATE),
        asked(f"{SMALL}[core]\ntau_theta_max = 5\n", **LATE),
        asked(core="spatial", lanes=2),
        too_many_weights,
        lambda: check_checkpoints(XOR.with_overrides(**LATE, tau_x=3, eval_every=20).spec, 30),
    ]
    check_rows(rules.GROUPS, cases)


@pytest.mark.parametrize("every", [60, 120])
def test_periods_that_can_be_kept(every):
    check_checkpoints(XOR.with_overrides(**LATE, tau_x=3, eval_every=20).spec, every)
