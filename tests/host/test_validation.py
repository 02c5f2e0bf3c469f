"""The validation part decides when to stop and which weights are kept; the test part does not."""

from __future__ import annotations

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.host.runs.checkpoint import Checkpoint, load, save
from mgd.host.runs.predict import outputs_of, predictions
from mgd.host.runs.progress import Best, CurvePoint
from mgd.host.runs.training import Checkpointer, run_training
from mgd.host.session.golden import GoldenSession
from mgd.host.task.task import Task

TEXT = """
[task]
name = "t"
[data]
source = "t.csv"
[network]
layers = [2, 6, 3]
cost = "cross_entropy"
[training]
steps = 1500
eval_every = 100
np = { eta_exp = 3 }
[core]
lanes = 2
"""


class Watched(GoldenSession):
    """Notes which samples are evaluated."""

    def __init__(self, network):
        super().__init__(network)
        self.evaluated: list[str] = []

    def evaluate(self, on="test"):
        self.evaluated.append(on)
        return super().evaluate(on)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    centres = np.array([[0, 0], [1.5, 0], [0, 1.5]])
    lines = ["a,b,kind"]
    for n in range(240):
        x = centres[n % 3] + random.normal(size=2)
        lines.append(f"{x[0]},{x[1]},{'rst'[n % 3]}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def task_of(folder, change=("", "")) -> Task:
    (folder / "t.toml").write_text(TEXT.replace(*change))
    return Task.load(folder / "t.toml")


def accuracy(task, weights, on) -> float:
    samples = getattr(task.prepared, on)
    outputs = outputs_of(weights, samples.codes, task.spec.network, task.spec.settings.input_shift)
    found = predictions(outputs, task.spec.network, task.prepared.class_names)
    return float((found.answers == samples.labels).mean())


def test_the_test_part_is_looked_at_once_and_the_best_weights_are_kept(folder):
    task = task_of(folder)
    session = Watched(task.spec.network)
    result = run_training(session, task)
    assert session.evaluated.count("test") == 1
    assert session.evaluated[-1] == "test"
    assert result.steps == 1500
    trained = [point for point in result.curve if point.step]
    best = max(trained, key=lambda p: (p.test_accuracy, -p.test_cost))
    last = trained[-1]
    assert (best.test_accuracy, -best.test_cost) > (last.test_accuracy, -last.test_cost)
    assert result.kept_step == best.step
    assert accuracy(task, result.weights, "validation") == best.test_accuracy
    assert result.accuracy == result.test.accuracy == accuracy(task, result.weights, "test")


def test_the_last_weights_where_that_is_asked(folder):
    task = task_of(folder, ("[training]", '[training]\nkeep = "last"'))
    result = run_training(GoldenSession(task.spec.network), task)
    assert result.kept_step is None
    assert accuracy(task, result.weights, "validation") == result.curve[-1].test_accuracy
    assert task.config_digest() != task_of(folder).config_digest()


def test_the_target_is_that_of_the_validation_part(folder):
    task = task_of(folder, ("[training]", "[training]\ntarget = 0.7"))
    session = Watched(task.spec.network)
    result = run_training(session, task)
    assert result.target_reached_at_step == result.curve[-1].step < 1500
    assert result.curve[-1].test_accuracy >= 0.7
    assert session.evaluated.count("test") == 1


def test_built_in_tasks_have_no_validation_part():
    for name in ("xor", "digits", "nist7x7_easy"):
        assert Task.load(name).prepared.validation is None
    with pytest.raises(UserError, match="validation_fraction"):
        Task.parse(
            'task = { name = "x" }\ndata = { source = "xor", validation_fraction = 0.5 }\n'
            "network = { layers = [2, 2, 1] }\n",
            "x.toml",
            ".",
        )


def test_a_resumed_run_keeps_the_same_weights(folder, tmp_path):
    task = task_of(folder)
    whole = run_training(GoldenSession(task.spec.network), task)
    assert whole.kept_step is not None
    kept = []
    run_training(
        GoldenSession(task.spec.network), task, checkpointer=Checkpointer(700, kept.append)
    )
    after = next(p for p in kept if p.state.step == 1400)
    assert after.best is not None
    assert after.best.step <= 1400
    path = tmp_path / "checkpoint"
    save(path, Checkpoint.of(task, "golden", 700, after))
    progress = load(path).progress
    resumed = run_training(GoldenSession(task.spec.network), task, progress=progress)
    assert resumed.kept_step == whole.kept_step
    assert resumed.accuracy == whole.accuracy
    for a, b in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_better():
    best = Best(10, 0.8, 0.5, [])
    assert best.beaten_by(CurvePoint(20, None, 0.9, 9.0, 0))
    assert best.beaten_by(CurvePoint(20, None, 0.8, 0.4, 0))
    assert not best.beaten_by(CurvePoint(20, None, 0.8, 0.5, 0))
    assert not best.beaten_by(CurvePoint(20, None, 0.7, 0.1, 0))
