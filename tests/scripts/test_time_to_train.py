"""`mgd bench time-to-train`: its steps are those of one TRAIN command, its clocks the cores'."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import mgd.scripts.bench.time_to_train as bench
from mgd.golden_model.seeds import initial_weights, permutation
from mgd.golden_model.trainer import Trainer
from mgd.host.task.task import Task
from mgd.rtl.core_kinds import config_for
from mgd.rtl.spatial.timing import Timing
from mgd.scripts.bench.time_to_train_plot import draw
from mgd.scripts.cli import main

CASE = bench.Case("nist7x7_easy", 20, 3_000)
PIPELINED = bench.WAYS[-1]


def trainer_of(task: Task, seed: int) -> Trainer:
    train, _ = task.datasets()
    weights = [w[None] for w in initial_weights(task.spec.network, seed, task.spec.init_gain)]
    order = permutation(len(train), seed)[None]
    return Trainer(
        task.spec.network, task.spec.settings, train.codes, train.labels, weights, [seed], order
    )


@pytest.mark.parametrize("way", bench.WAYS, ids=lambda way: way.name)
def test_steps_are_those_of_a_run_in_one_piece(way):
    """The first evaluation at the target, each of a run that ended there and began anew."""
    task = bench.loaded(CASE, "np", way)
    _, test = task.datasets()
    target, seeds = 0.9, 2
    (found,) = bench.steps_to_targets(task, (target,), CASE.every, CASE.limit, seeds)
    assert np.isfinite(found).all()
    for seed, steps in enumerate(found, 1):
        accuracies = []
        for end in (steps - CASE.every, steps):
            trainer = trainer_of(task, seed)
            trainer.train(int(end))
            correct, _ = trainer.evaluate(test.codes, test.labels)
            accuracies.append(correct[0] / len(test))
        assert accuracies[0] < target <= accuracies[1]


def test_late_updates_are_not_made_at_an_evaluation():
    """Ending the piece at every evaluation would give other steps."""
    task = bench.loaded(CASE, "np", PIPELINED)
    whole, pieces = trainer_of(task, 1), trainer_of(task, 1)
    whole.train(200)
    for step in range(20, 201, 20):
        pieces.train(step)
    assert any((a != b).any() for a, b in zip(whole.weights, pieces.weights, strict=True))


def test_clocks_and_the_way_of_the_last_update():
    steps = np.array([[100.0, 140.0], [np.inf, np.inf]])
    rows = {}
    for way in bench.WAYS:
        task = bench.loaded(CASE, "np", way)
        rows[way.name] = row = bench.core_row(CASE, way, task, steps)
        assert (row["solved"], row["steps"]) == ([1.0, 0.0], [120.0, None])
    late = rows[PIPELINED.name]
    task = bench.loaded(CASE, "np", PIPELINED)
    config = config_for(task.core_layout())
    assert late["clocks_per_step"] == 1
    assert late["clocks"] == [120 + Timing.of(config).weights, None]  # type: ignore[arg-type]
    assert late["update_delay"] == task.spec.settings.update_delay > 0
    for name in ("folded", "spatial"):
        row = rows[name]
        assert row["clocks"] == [120 * row["clocks_per_step"], None]
        assert row["update_delay"] == 0
    assert rows["spatial"]["clocks_per_step"] > 30


def test_each_core_has_the_best_of_what_was_tried(monkeypatch, tmp_path):
    """Steps that depend on window and rate alone: the row has the fewest clocks of them."""
    asked = []

    def steps(task, targets, every, limit, seeds):
        settings = task.spec.settings
        asked.append((settings.update_delay > 0, settings.tau_theta, settings.eta_exp))
        base = 1000 + 10 * settings.tau_theta + 100 * abs(settings.eta_exp - 7)
        return np.full((len(targets), seeds), float(base))

    monkeypatch.setattr(bench, "steps_to_targets", steps)
    monkeypatch.setattr(bench, "machine_rows", lambda case, method, row: [{**row, "by": "here"}])
    builds = [("a-board", 1e8)]
    monkeypatch.setattr(
        bench, "recorded_clocks", lambda task: builds if task.spec.schedule == "pipelined" else []
    )
    rows = bench.measure(CASE, "np", 2, (1, 50))
    assert [row["by"] for row in rows] == ["folded", "spatial", "spatial, pipelined", "here"]
    assert [row["tau_theta"] for row in rows] == [1, 50, 1, 1]
    assert {row["eta_exp"] for row in rows} == {7}
    # Steps of the sequential cores are the same: nothing was asked for twice.
    assert len(set(asked)) == len(asked) == 4 * (2 + 1)
    late = rows[2]
    assert late["seconds"][-1] == late["clocks"][-1] / 1e8
    assert "spatial, pipelined, a-board" in bench.line(late)
    assert "eta_exp  7" in bench.line(late)
    image = tmp_path / "bars.png"
    draw(rows, image)
    assert image.stat().st_size > 5_000


def test_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "CASES", (bench.Case("xor", 20, 60),))
    monkeypatch.setattr(bench, "WINDOWS", (1,))
    monkeypatch.setattr(bench, "RATE_STEPS", 100)
    file = tmp_path / "t.json"
    arguments = ["bench", "time-to-train", "--seeds", "2", "--method", "np", "--json", str(file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads(file.read_text())["rows"]
    assert {"folded", "spatial", "spatial, pipelined", "golden model"} <= {r["by"] for r in rows}
    assert len(result.output.splitlines()) >= len(rows)
