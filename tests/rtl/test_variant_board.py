"""Boards that are built for a variant of the method: they say so, and equal the golden model."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mgd.boards.simulated import board as simulated
from mgd.golden_model.errors import UserError
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.trainer import Trainer
from mgd.host.session.board import BoardSession
from mgd.host.task.task import Task
from mgd.rtl.core_kinds import config_for
from mgd.scripts.cli import main
from tests.rtl.test_spatial_core import fast_build
from tests.support.simulation import table_task

CASES = {
    "layers": ('scope = "layer"\nhalve_every = 8\n', ("--lanes", "3")),
    "epoch": ('sample_order = "epoch"\n', ("--lanes", "2")),
    "random": ('sample_order = "random"\n', ("--lanes", "3")),
    "sequential": ('perturbation = "sequential"\n', ("--lanes", "3")),
    "sine": ('perturbation = "sine"\ngate_zeros = true\ntau_p = 2\n', ("--lanes", "3")),
    "skips": ("skip_zeros = true\ntau_p = 2\n", ("--lanes", "3")),
    "highpass": ('difference = "highpass"\ntau_x = 4\n', ("--lanes", "3")),
    "nodes": (
        'method = "np"\nrounding = "stochastic"\naccumulate = "nodes"\ntau_x = 10\ntau_theta = 5\n',
        ("--lanes", "3"),
    ),
    "momentum": ("momentum_exp = 2\ndecay_exp = 6\ntau_theta = 3\n", ("--lanes", "3")),
}
OTHER = {
    "layers": "scope = 'network'",
    "epoch": "sample_order = 'cycle'",
    "random": "sample_order = 'cycle'",
    "sequential": "perturbation = 'random'",
    "sine": "perturbation = 'random'",
    "momentum": "momentum_exp = 0",
    "nodes": "accumulate = 'weights'",
    "highpass": "difference = 'forward'",
    "skips": "skip_zeros = false",
}


@pytest.fixture(params=CASES)
def case(request, tmp_path, monkeypatch) -> str:
    """The name of a case, whose task is in the working folder."""
    table_task(tmp_path)
    keys, _ = CASES[request.param]
    text = (tmp_path / "table.toml").read_text()
    for name in re.findall(r"^\w+ = ", keys, re.MULTILINE):
        text = re.sub(rf"^{name}.*\n", "", text, flags=re.MULTILINE)
    (tmp_path / "mine.toml").write_text(text.replace("[training]", f"[training]\n{keys}"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(simulated, "build", fast_build)
    return request.param


def test_verify(case):
    arguments = ["verify", "mine.toml", "--steps", "31", "--json", "v.json", *CASES[case][1]]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(Path("v.json").read_text())["mismatches"] == 0

    # The same board refuses what it was not built for.
    task = Task.load("mine.toml").with_overrides(lanes=3)
    plain = Task.load("table.toml").with_overrides(lanes=3).spec.settings
    if task.spec.settings.by_node:  # Its weights have no accumulators.
        plain = replace(task.spec.settings, accumulate="weights", tau_theta=1)
    config = config_for(task.core_layout())
    board = simulated.run(fast_build(config, 2 * 40 * config.record_stride))
    try:
        with BoardSession(board.port, task.spec.network, backend="sim") as session:
            assert session.layout.variant == config.variant
            session.load_samples(*task.datasets())
            with pytest.raises(UserError, match=f"{OTHER[case]}: this core was built for"):
                session.start(plain, 1)
            if task.spec.settings.continuous or task.spec.settings.by_node:
                _trains_in_pieces(session, task)
            else:
                _goes_on(session, task)
    finally:
        board.close()


def _goes_on(session: BoardSession, task: Task) -> None:
    """In the midst of a sample and a window, from what the board itself shows."""
    weights = initial_weights(task.spec.network, task.spec.seed, task.spec.init_gain)
    session.write_weights(weights)
    session.start(task.spec.settings, task.spec.seed)
    session.train(17)
    state = session.read_state()
    session.train(40)
    wanted = session.read_weights()
    session.start(task.spec.settings, task.spec.seed + 1)
    session.train(5)
    session.restore(task.spec.settings, task.spec.seed, state)
    session.train(40)
    for got, right in zip(session.read_weights(), wanted, strict=True):
        np.testing.assert_array_equal(got, right)


def _trains_in_pieces(session: BoardSession, task: Task) -> None:
    """What comes between two commands does not reach the filter or the sums of nodes, and no run
    goes on from its middle."""
    train, test = task.datasets()
    weights = initial_weights(task.spec.network, task.spec.seed, task.spec.init_gain)
    first = [w[None] for w in weights]
    args = task.spec.network, task.spec.settings, train.codes, train.labels, first
    for seed in (task.spec.seed, task.spec.seed + 1):
        trainer = Trainer(*args, [seed])
        session.write_weights(weights)
        session.start(task.spec.settings, seed)
        for until in (0, 1, 6, 7, 19):
            session.train(until)
            trainer.train(until)
            measured = session.evaluate("test")
            correct, cost = trainer.evaluate(test.codes, test.labels)
            assert (measured.correct, measured.cost_sum) == (correct[0], cost[0])
            for got, right in zip(session.read_weights(), trainer.weights, strict=True):
                np.testing.assert_array_equal(got, right[0])
    kept = "difference = 'highpass'" if task.spec.settings.continuous else "accumulate = 'nodes'"
    with pytest.raises(UserError, match=f"{kept}: a run cannot continue from"):
        session.read_state()
