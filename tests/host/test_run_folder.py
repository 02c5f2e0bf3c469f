"""The run folder: complete, readable, whole or not there."""

import csv
import json
import os
import stat

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.host.runs import folder as run_folder
from mgd.host.runs.folder import check_folder, default_folder, write_run
from mgd.host.runs.training import run_training
from mgd.host.task.task import Task
from tests.support.fake_session import FakeSession

pytestmark = pytest.mark.xdist_group("run_folder")

KEYS = {
    "task", "backend", "method", "lanes", "seed", "steps", "accuracy", "cost", "target",
    "target_reached_at_step", "clocks", "clocks_per_step", "saturations", "wall_seconds",
    "config_digest", "version", "network", "settings", "train_clocks", "link_errors", "machine",
}  # fmt: skip


@pytest.fixture(scope="module")
def result():
    task = Task.load("moons").with_overrides(steps=400, eval_every=100, target=0.9)
    return run_training(FakeSession(task.spec.network, full_at=400), task)


def test_run_json(result, tmp_path):
    out = write_run(tmp_path / "new" / "run", result)
    values = json.loads((out / "run.json").read_text())
    assert set(values) >= KEYS
    assert values["task"] == "moons"
    assert values["backend"] == "golden"
    assert (values["steps"], values["target_reached_at_step"]) == (400, 400)
    assert (values["clocks"], values["train_clocks"]) == (3800, 2800)
    assert values["clocks_per_step"] == 7
    assert values["saturations"] == {"weights": 1, "activations": 2}
    assert values["network"]["layers"] == [2, 8, 2]
    assert values["settings"]["method"] == "np"
    assert values["class_names"] == ["lower", "upper"]
    assert os.uname().nodename not in json.dumps(values["machine"])


def test_curve_csv(result, tmp_path):
    with (write_run(tmp_path / "run", result) / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "step",
        "train_cost",
        "validation_accuracy",
        "validation_cost",
        "clocks",
    ]
    assert [int(row["step"]) for row in rows] == [0, 100, 200, 300, 400]
    assert rows[0]["train_cost"] == ""
    assert float(rows[1]["train_cost"]) == 3.5
    assert float(rows[1]["validation_accuracy"]) == 0.25
    assert rows[4]["clocks"] == "2800"


def test_curve_png(result, tmp_path):
    content = (write_run(tmp_path / "run", result) / "curve.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 10_000


def test_weights_npz(result, tmp_path):
    with np.load(write_run(tmp_path / "run", result) / "weights.npz", allow_pickle=False) as saved:
        assert list(saved["layers"]) == [2, 8, 2]
        assert (saved["weight_bits"], saved["weight_frac"]) == (16, 12)
        np.testing.assert_array_equal(saved["weights_1"], result.weights[0])
        np.testing.assert_array_equal(saved["values_2"], result.weights[1] / 4096)
        np.testing.assert_array_equal(saved["input_low"], result.scaling.low)
        assert saved["weights_1"].shape == (8, 3)


def test_an_empty_folder_is_taken_and_nothing_else_is_left(result, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    write_run(out, result)
    assert sorted(p.name for p in out.iterdir()) == [
        "curve.csv", "curve.png", "run.json", "weights.npz",
    ]  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o777 & ~umask


def test_used_places_are_refused(result, tmp_path):
    used = tmp_path / "used"
    used.mkdir()
    (used / "keep").write_text("mine")
    file = tmp_path / "file"
    file.write_text("mine")
    for out, part in ((used, "not empty"), (file, "is a file"), (file / "x", "no folder")):
        for attempt in (lambda out=out: check_folder(out), lambda out=out: write_run(out, result)):
            with pytest.raises(UserError, match=part) as caught:
                attempt()
            assert "\n" not in str(caught.value)
    assert (used / "keep").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "used"]


@pytest.mark.parametrize("part", ["_write_json", "_write_csv", "draw_curve"])
def test_a_full_disk_leaves_nothing(result, tmp_path, monkeypatch, part):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_folder, part, full)
    with pytest.raises(UserError, match="No space left on device; free space"):
        write_run(tmp_path / "run", result)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_writing_leaves_nothing(result, tmp_path, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "draw_curve", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_run(tmp_path / "run", result)
    assert list(tmp_path.iterdir()) == []


def test_no_permission(tmp_path, monkeypatch):
    # Root may write anywhere, so the check itself is asked.
    monkeypatch.setattr(run_folder.os, "access", lambda *_args: False)
    with pytest.raises(UserError, match="no permission"):
        check_folder(tmp_path / "run")


def test_default_names_count_up(tmp_path):
    first = default_folder("xor", "np", "/dev/ttyUSB0", 7, tmp_path)
    assert first == tmp_path / "xor-np-dev_ttyUSB0-seed7-1"
    first.mkdir()
    assert default_folder("xor", "np", "/dev/ttyUSB0", 7, tmp_path).name.endswith("-2")
