"""`mgd train --checkpoint-every` and `mgd resume`: a run ends as if nothing had interrupted it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.host.runs import checkpoint as checkpoints
from mgd.host.runs.checkpoint import Checkpoint, load, save
from mgd.host.runs.progress import CurvePoint, Progress
from mgd.host.runs.training import Checkpointer, Reporter, run_training
from mgd.host.session.base import BoardLostError
from mgd.host.session.board import BoardSession
from mgd.host.session.golden import GoldenSession
from mgd.host.session.state import State
from mgd.host.task.task import Task
from tests.support.fake_session import FakeSession
from tests.support.simulation import (
    WAIT_SECONDS,
    XOR,
    mgd,
    mgd_command,
    mgd_environment,
    refused,
    start_board,
    table_task,
)


@pytest.fixture
def task(tmp_path) -> Task:
    return table_task(tmp_path)


def weights_of(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "weights.npz", allow_pickle=False) as saved:
        return {name: saved[name] for name in saved.files if name.startswith("weights")}


def assert_same_run(left: Path, right: Path) -> None:
    a, b = weights_of(left), weights_of(right)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    rows = [
        [line.rsplit(",", 1)[0] for line in (run / "curve.csv").read_text().splitlines()]
        for run in (left, right)
    ]
    assert rows[0] == rows[1]


# -- processes ------------------------------------------------------------------------------


def test_kill_and_resume_on_a_board_that_went_on_training(task, tmp_path):
    """kill -9 in a long interval: the board stays busy, and the run continues elsewhere, too."""
    board = start_board(task, 2)
    run = tmp_path / "run"
    options = ("--steps", 1_000_000, "--checkpoint-every", 30, "--out", run)
    try:
        process = subprocess.Popen(
            mgd_command("train", tmp_path / "table.toml", "--backend", board.port, *options),
            env=mgd_environment(),
            stdout=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        deadline = time.monotonic() + WAIT_SECONDS
        while (
            not (run / "checkpoint").exists() or load(run / "checkpoint").progress.state.step < 60
        ):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()
        kept = load(run / "checkpoint")
        assert kept.progress.state.step % 10 == 0

        # What is left: few steps, so that it comes to its end.
        at = kept.progress.state.step
        save(
            run / "checkpoint",
            replace(kept, overrides={**kept.overrides, "steps": at + 47}, config_digest="?"),
        )
        line = refused(mgd("resume", run, cwd=tmp_path))
        assert "no longer those that the run began with" in line
        shorter = task.with_overrides(steps=at + 47)
        kept = replace(
            kept,
            overrides={**kept.overrides, "steps": at + 47},
            config_digest=shorter.config_digest(),
        )
        save(run / "checkpoint", kept)
        # Left running, as by a host that died in the middle of an interval.
        with BoardSession(board.port, task.spec.network, "sim") as session:
            session.load_samples(*task.datasets())
            session.start(task.spec.settings, 9)
            session.link.write_register(1, 1 << 31)
            session._send(2)
        done = mgd("resume", run, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"going on from step {at:,}" in done.stdout
        values = json.loads((run / "run.json").read_text())
        assert (values["steps"], values["interrupted"]) == (at + 47, False)
        assert values["backend"] == board.port
        assert sorted(p.name for p in run.iterdir()) == [
            "curve.csv", "curve.png", "run.json", "weights.npz",
        ]  # fmt: skip

        # The same on the golden model, and without any interruption.
        other = tmp_path / "other"
        other.mkdir()
        save(other / "checkpoint", kept)
        done = mgd("resume", other, "--backend", "golden", "--checkpoint-every", 7, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert_same_run(run, other)
        whole = tmp_path / "whole"
        done = mgd(
            "train", tmp_path / "table.toml", "--backend", "golden", "--steps", at + 47,
            "--out", whole, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert_same_run(run, whole)
    finally:
        board.close()


def test_ctrl_c_saves(task, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    arguments = ("train", tmp_path / "table.toml", "--backend", "golden", "--steps", 100_000)
    process = subprocess.Popen(
        mgd_command(*arguments, "--out", run),
        env=mgd_environment(),
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("step"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0
    assert f"continue   mgd resume {run}" in out
    at = json.loads((run / "run.json").read_text())["steps"]
    assert 0 <= at < 100_000
    kept = load(run / "checkpoint")
    assert kept.progress.state.step == at
    shorter = task.with_overrides(steps=at + 35)
    save(
        run / "checkpoint",
        replace(kept, overrides={"steps": at + 35}, config_digest=shorter.config_digest()),
    )
    done = mgd("resume", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    arguments = (*arguments[:-1], at + 35)
    assert mgd(*arguments, "--out", whole, cwd=tmp_path).returncode == 0
    assert_same_run(run, whole)
    assert "no such file" in refused(mgd("resume", run, cwd=tmp_path)).lower()


def test_a_board_that_is_reset_is_loaded_again(task, tmp_path):
    """The port stays, the weights are gone: the run continues from its last checkpoint."""
    board = start_board(task, 3)
    kept: list[Progress] = []

    class Resets(Reporter):
        def __init__(self):
            self.told: list[str] = []

        def progress(self, step):
            if len(self.told) < 3 and step > 40 * (len(self.told) + 1):
                board.reset()
                time.sleep(0.05)
                self.told.append("reset")

        def lost(self, error, progress):
            assert "lost its power or was reset" in str(error)
            assert progress is kept[-1]
            self.told.append("lost")

    wanted, reporter = task.with_overrides(steps=400), Resets()
    try:
        with BoardSession(board.port, task.spec.network, "sim") as session:
            saves = Checkpointer(15, kept.append)
            result = run_training(session, wanted, reporter, checkpointer=saves)
    finally:
        board.close()
    assert reporter.told.count("lost") == result.board_losses >= 1
    expected = run_training(GoldenSession(task.spec.network), wanted)
    for found, right in zip(result.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(found, right)
    assert [p.test_cost for p in result.curve] == [p.test_cost for p in expected.curve]
    assert [p.train_cost for p in result.curve] == [p.train_cost for p in expected.curve]


# -- the loop -------------------------------------------------------------------------------


def loses_at(*steps: int) -> FakeSession:
    session, left = FakeSession(XOR.spec.network, full_at=10_000), list(steps)

    def lose(step):
        if left and step >= left[0]:
            left.pop(0)
            raise BoardLostError("gone; start again")

    session.on_train = lose
    return session


def xor(**changes) -> Task:
    return XOR.with_overrides(**{"steps": 250, "eval_every": 100, "seed": 3, **changes})


def test_checkpoints_are_kept_between_evaluations():
    kept: list[Progress] = []
    session = FakeSession(XOR.spec.network, full_at=1000)
    result = run_training(session, xor(), checkpointer=Checkpointer(40, kept.append))
    assert [p.state.step for p in kept] == [0, 40, 80, 120, 160, 200, 240]
    assert [p.step for p in result.curve] == [0, 100, 200, 250]
    assert [len(p.curve) for p in kept] == [0, 1, 1, 2, 2, 3, 3]
    assert [p.train_cost for p in result.curve[1:]] == [3.5, 3.5, 3.5]
    for progress in kept[1:]:
        again = run_training(FakeSession(XOR.spec.network, full_at=1000), xor(), progress=progress)
        assert again.curve == result.curve
        assert again.steps == 250


def test_what_the_board_loses_is_loaded_again():
    kept: list[Progress] = []
    session = loses_at(100, 250)
    result = run_training(session, xor(), checkpointer=Checkpointer(40, kept.append))
    assert result.board_losses == 2
    assert [p.step for p in result.curve] == [0, 100, 200, 250]
    assert session.calls.count("recover") == 2
    assert [c for c in session.calls if c.startswith("restore")] == ["restore 80", "restore 240"]
    assert result.steps == 250


def test_a_board_that_loses_everything_again_and_again():
    session = loses_at(*[40] * 10)
    with pytest.raises(BoardLostError, match="gone"):
        run_training(session, xor(), checkpointer=Checkpointer(40, lambda progress: None))
    assert session.calls.count("recover") == 3


def test_without_checkpoints_a_loss_is_an_error():
    with pytest.raises(BoardLostError, match="gone"):
        run_training(loses_at(100), xor())


# -- the file -------------------------------------------------------------------------------


@pytest.fixture
def some(task) -> Checkpoint:
    state = State(
        7, [np.array([[1, -2], [3, -(1 << 15)]])], [np.array([[1 << 40, -5]])], 11, 1, 2, 3
    )
    curve = (CurvePoint(0, None, 0.5, 1.25, 0), CurvePoint(5, 0.1, 0.75, 1.0, 9))
    origin = str(Path(task.folder) / "table.toml")
    named = Task.load(origin).with_overrides(lanes=2)
    return Checkpoint.of(named, "golden", 5, Progress(state, curve, 10, 1.5, 2, 3, 1))


def test_a_checkpoint_comes_back(some, tmp_path):
    path = tmp_path / "checkpoint"
    save(path, some)
    back = load(path)
    one, two = some.progress.state, back.progress.state
    for a, b in zip(one.weights + one.accumulators, two.weights + two.accumulators, strict=True):
        np.testing.assert_array_equal(a, b)
    bare = {"weights": [], "accumulators": []}
    assert replace(one, **bare) == replace(two, **bare)
    assert replace(some.progress, state=None) == replace(back.progress, state=None)
    assert replace(some, progress=None) == replace(back, progress=None)
    assert back.task().spec.core.lanes == 2
    assert [p.name for p in tmp_path.iterdir() if "checkpoint" in p.name] == ["checkpoint"]


def test_every_damage_is_seen(some, tmp_path):
    path = tmp_path / "checkpoint"
    save(path, some)
    content = path.read_bytes()
    line_end = content.index(b"\n")
    random = np.random.default_rng(2)
    places = [0, 3, line_end, *random.integers(0, len(content), 60)]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(damaged))
        with pytest.raises(UserError) as error:
            load(path)
        assert "\n" not in str(error.value)
    for end in (0, 5, line_end, line_end + 1, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(UserError, match=r"damaged|is no checkpoint"):
            load(path)
    path.write_bytes(content.replace(b" 1 ", b" 2 ", 1))
    with pytest.raises(UserError, match="checkpoint of version 2, this program reads version 1"):
        load(path)


def test_a_full_disk_leaves_the_one_before(some, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    save(path, some)
    before = path.read_bytes()

    def full(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    further = some.at(replace(some.progress, state=replace(some.progress.state, step=8)))
    with pytest.raises(UserError, match="step 8 cannot be written: No space left") as error:
        save(path, further)
    assert "mgd resume" in str(error.value)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if "checkpoint" in p.name] == ["checkpoint"]


def test_other_data_are_refused(some, tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c,label\n1,2,3,0\n4,5,6,1\n7,8,9,2\n0,0,0,3\n")
    with pytest.raises(UserError, match="the data or the program's defaults") as error:
        some.task()
    assert "\n" not in str(error.value)


def test_a_full_disk_ends_a_run_that_can_go_on(task, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from mgd.scripts.commands.train import train

    run, saves = tmp_path / "run", []

    def fails_third(path, content):
        saves.append(path)
        if len(saves) == 3:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(checkpoints, "write_file", fails_third)
    arguments = [str(tmp_path / "table.toml"), "--backend", "golden", "--out", str(run)]
    result = CliRunner().invoke(train, [*arguments, "--checkpoint-every", "10"])
    assert isinstance(result.exception, UserError)
    assert "No space left" in str(result.exception)
    assert f"`mgd resume {run}` continues from step 10" in str(result.exception)
    done = mgd("resume", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole"
    assert mgd("train", *arguments[:3], "--out", whole, cwd=tmp_path).returncode == 0
    assert_same_run(run, whole)
