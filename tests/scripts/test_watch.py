"""`mgd watch`: a run under way, ended, failed, killed, missing."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from mgd.golden_model.errors import UserError
from mgd.host.runs.live import LiveLog, LiveReader, Tee, live_path
from mgd.host.runs.progress import CurvePoint, Progress
from mgd.host.runs.stored import find_run, read_run
from mgd.host.runs.training import Reporter, run_training
from mgd.host.session.base import BoardLostError
from mgd.host.session.state import State
from mgd.scripts.common.run_view import RunView, duration, sparkline
from tests.support.fake_session import FakeSession
from tests.support.simulation import WAIT_SECONDS, XOR, mgd, mgd_command, mgd_environment, refused

WHAT = {
    "task": "xor", "network": "2-2-1", "parameters": 9, "method": "np", "backend": "golden",
    "lanes": 2, "seed": 1, "steps": 400, "target": None,
}  # fmt: skip
LONG = ("train", "digits", "--backend", "golden", "--target", "1.0", "--out")
"""Minutes of training: a run that a test ends."""


def point(step: int) -> CurvePoint:
    return CurvePoint(step, 0.5, step / 1000, 1.25, 36 * step)


def wait_for(condition):
    end = time.monotonic() + WAIT_SECONDS
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


@pytest.fixture
def under_way(tmp_path):
    """A training process that is past its first evaluations; it is killed at the end."""
    process = subprocess.Popen(
        mgd_command(*LONG, "run"),
        cwd=tmp_path,
        env=mgd_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = live_path(tmp_path / "run")
    try:
        wait_for(lambda: log.exists() and log.read_text().count('"point"') >= 3)
        yield process
    finally:
        process.kill()
        process.wait()


def watching(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        mgd_command("watch", "run"),
        cwd=folder,
        env=mgd_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_is_followed_to_its_end(under_way, tmp_path):
    watch = watching(tmp_path)
    assert watch.stdout is not None
    title, first = watch.stdout.readline(), watch.stdout.readline()
    assert title == (
        "digits: 64-32-10, 2,410 parameters, method np, backend golden, 8 lanes, seed 1\n"
    )
    assert re.fullmatch(
        r"step +[\d,]+  cost +\d\.\d{4}  accuracy +\d+\.\d\d %  [\d,]+ steps/s\n", first
    )
    under_way.send_signal(signal.SIGINT)  # ends at the next evaluation, with a result
    out, err = watch.communicate(timeout=WAIT_SECONDS)
    assert (watch.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "written    run"
    assert title not in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
    # And afterwards it is the same.
    done = mgd("watch", "run", cwd=tmp_path)
    assert done.returncode == 0
    steps = read_run(tmp_path / "run").values["steps"]
    assert done.stdout.startswith(title)
    assert f"step {steps:>9,}  cost" in done.stdout
    assert done.stdout.splitlines()[-1] == "written    run"


def test_a_run_that_is_killed(under_way, tmp_path):
    watch = watching(tmp_path)
    assert watch.stdout is not None
    watch.stdout.readline()
    under_way.kill()
    under_way.wait()
    out, _ = watch.communicate(timeout=WAIT_SECONDS)
    assert watch.returncode == 1
    assert re.search(r"the run's process is gone at step [\d,]+: it was killed$", out.strip())
    assert live_path(tmp_path / "run").exists()
    again = mgd("watch", "run", cwd=tmp_path)
    assert again.returncode == 1
    assert "it was killed" in again.stdout
    # Its log is no hindrance to the next run of that name.
    done = mgd("train", "xor", "--backend", "golden", "--steps", 20, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
    assert "xor: 2-2-1" in mgd("watch", "run", cwd=tmp_path).stdout


def test_a_terminal_gets_a_bar_and_curves(tmp_path):
    done = mgd("train", "xor", "--backend", "golden", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0
    master, slave = pty.openpty()
    process = subprocess.Popen(
        mgd_command("watch", "run"),
        cwd=tmp_path,
        env=mgd_environment(TERM="xterm", COLUMNS="100"),
        stdout=slave,
        stderr=slave,
        stdin=slave,
    )
    os.close(slave)
    text = b""
    try:
        while data := os.read(master, 65536):
            text += data
    except OSError:
        pass  # the terminal's other end is closed
    os.close(master)
    assert process.wait(timeout=WAIT_SECONDS) == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.decode())
    assert "760 steps" in plain
    assert re.search(r"accuracy \(test\) 50\.0 % [▁▂▃▄▅▆▇█]{30,} 100\.0 %", plain)
    assert re.search(r"cost \(test\) ", plain)


def test_a_run_that_is_missing(tmp_path):
    line = refused(mgd("watch", "nothing", cwd=tmp_path))
    assert "nothing: no such run" in line
    assert f"there is none in {tmp_path}/runs" in line
    for seed in (1, 2):
        assert mgd("train", "xor", "--backend", "golden", "--steps", 20, "--seed", seed,
                   cwd=tmp_path).returncode == 0  # fmt: skip
    line = refused(mgd("watch", "nothing", cwd=tmp_path))
    assert "runs/xor-np-golden-seed2-1, runs/xor-np-golden-seed1-1" in line
    (tmp_path / "empty").mkdir()
    assert "is no run" in refused(mgd("watch", "empty", cwd=tmp_path))
    for name in (".", "/", "runs/.."):
        assert "is no run" in refused(mgd("watch", name, cwd=tmp_path))
    # From within it, too.
    folder = tmp_path / "runs" / "xor-np-golden-seed2-1"
    assert mgd("watch", ".", cwd=folder).returncode == 0
    # The name alone is enough for one in runs/.
    assert mgd("watch", "xor-np-golden-seed2-1", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("file", ["run.json", "curve.csv", "weights.npz"])
def test_a_run_that_is_damaged(tmp_path, file):
    done = mgd("train", "xor", "--backend", "golden", "--steps", 20, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0
    path = tmp_path / "run" / file
    whole = path.read_bytes()
    for data in (b"", whole[: len(whole) // 2], b"\xff" + whole[1:]):
        path.write_bytes(data)
        with pytest.raises(UserError) as caught:
            read_run(tmp_path / "run")
        assert "\n" not in str(caught.value)
        assert str(tmp_path / "run") in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match=f"{file} is missing"):
        read_run(tmp_path / "run")


def test_a_run_of_another_version(tmp_path):
    done = mgd("train", "xor", "--backend", "golden", "--steps", 20, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0
    path = tmp_path / "run" / "run.json"
    values = json.loads(path.read_text())
    for key in ("machine", "steps", "network"):
        path.write_text(json.dumps({k: v for k, v in values.items() if k != key}))
        with pytest.raises(UserError, match=key):
            read_run(tmp_path / "run")


# -- the log --------------------------------------------------------------------------------


def test_what_is_logged_is_what_happened(tmp_path):
    run = tmp_path / "a" / "b" / "run"
    session = FakeSession(XOR.spec.network, full_at=60)
    with LiveLog(run, WHAT) as log, LiveReader(run) as reader:
        assert reader.events() == [WHAT]
        assert reader.writer_lives()
        assert find_run(run) == run
        result = run_training(session, XOR, Tee(Reporter(), log))
        log.folder = run
        run.mkdir()
        log.__exit__(None, None, None)
        assert not reader.writer_lives()
        view = RunView()
        view.hear(WHAT)
        for event in reader.events():
            view.hear(event)
    assert view.points == result.curve
    assert [asdict(p) for p in view.points][-1]["step"] == view.step == 60
    assert (view.started, view.ended, view.error, view.folder) == (True, True, None, str(run))
    assert [p.name for p in run.parent.iterdir()] == ["run"]


def test_a_run_that_fails_says_why_and_leaves_nothing(tmp_path):
    run = tmp_path / "a" / "b" / "run"
    log = LiveLog(run, WHAT)
    log.__enter__()
    with LiveReader(run) as reader:
        try:
            raise UserError("port fake is gone:\n unplugged")
        except UserError as error:
            log.__exit__(UserError, error, None)
        *_, last = reader.events()
    assert last["error"] == "port fake is gone: unplugged"
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_goes_on_is_shown_from_its_beginning(tmp_path):
    curve = tuple(point(step) for step in (0, 100, 200))
    with LiveLog(tmp_path / "run", WHAT) as log, LiveReader(tmp_path / "run") as reader:
        view = RunView(started=True)
        log.resumed(Progress(State(300, [], []), curve))
        for event in reader.events():
            view.hear(event)
        assert view.points == list(curve)
        assert (view.step, view.left()) == (300, "")
        # 20 steps in 2 s, not 320
        view.hear({"event": "point", "seconds": 2.0, **asdict(point(320))})
        assert "  10 steps/s" in view.line()
        assert view.left() == "at most 8.0 s left"
        # The board loses the run, which goes on from its checkpoint.
        log.lost(BoardLostError("gone"), Progress(State(300, [], []), curve))
        for event in reader.events():
            view.hear(event)
        assert view.points == list(curve)


def test_a_killed_run_can_go_on_and_is_followed_again(tmp_path):
    process = subprocess.Popen(
        mgd_command(*LONG, "run", "--checkpoint-every", 500),
        cwd=tmp_path,
        env=mgd_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = live_path(tmp_path / "run")
    wait_for(lambda: log.exists() and log.read_text().count('"point"') >= 2)
    process.kill()
    process.wait()
    done = mgd("watch", "run", cwd=tmp_path)
    assert done.returncode == 1
    assert "`mgd resume run` continues from its last checkpoint" in done.stdout
    process = subprocess.Popen(
        mgd_command("resume", "run"), cwd=tmp_path, env=mgd_environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: log.exists() and '"from"' in log.read_text())
        watch = watching(tmp_path)
        assert watch.stdout is not None
        assert watch.stdout.readline().startswith("digits: 64-32-10")
        assert "step" in watch.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, _ = watch.communicate(timeout=WAIT_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert watch.returncode == 0
    assert out.splitlines()[-1] == "written    run"


def test_progress_is_not_logged_too_often(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("mgd.host.runs.live.time.monotonic", lambda: now)
    with LiveLog(tmp_path / "run", WHAT) as log, LiveReader(tmp_path / "run") as reader:
        for k in range(100):
            now = 100.0 + k / 10
            log.progress(k)
        steps = [e["step"] for e in reader.events() if e.get("event") == "progress"]
    assert steps == list(range(0, 100, 10))


def test_what_a_killed_run_left_is_forgotten(tmp_path):
    live_path(tmp_path / "run").write_text('{"task": "another"}\n')
    with LiveLog(tmp_path / "run", WHAT), LiveReader(tmp_path / "run") as reader:
        assert reader.events() == [WHAT]


def test_a_log_beside_a_run_that_ended_is_older(tmp_path):
    done = mgd("train", "xor", "--backend", "golden", "--steps", 20, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0
    live_path(tmp_path / "run").write_text('{"task": "another"}\n')
    done = mgd("watch", "run", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "written    run")


def test_a_run_in_the_folder_of_an_earlier_one_is_followed(tmp_path):
    done = mgd("train", "xor", "--backend", "golden", "--steps", 20, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0
    with LiveLog(tmp_path / "run", {**WHAT, "seed": 77}):
        watch = watching(tmp_path)
        assert watch.stdout is not None
        assert watch.stdout.readline().endswith("seed 77\n")
    watch.communicate(timeout=WAIT_SECONDS)
    assert watch.returncode == 0


def test_a_line_is_read_once_it_is_whole(tmp_path):
    with LiveLog(tmp_path / "run", WHAT), LiveReader(tmp_path / "run") as reader:
        assert len(reader.events()) == 1
        with live_path(tmp_path / "run").open("a") as file:
            file.write('{"event": "prog')
            file.flush()
            assert reader.events() == []
            file.write('ress", "step": 3, "seconds": 1}\nrubbish\n')
            file.flush()
            assert [e["step"] for e in reader.events()] == [3]


def test_a_second_run_of_that_name_leaves_the_first_ones_log_alone(tmp_path):
    with LiveLog(tmp_path / "run", WHAT), LiveReader(tmp_path / "run") as reader:
        with LiveLog(tmp_path / "run", {**WHAT, "seed": 2}) as second:
            second.evaluated(point(20))
        assert live_path(tmp_path / "run").exists()
        assert reader.events() == [WHAT]


def test_a_run_goes_on_without_a_log(tmp_path):
    (tmp_path / "file").write_text("")
    with LiveLog(tmp_path / "file" / "run", WHAT) as log:
        log.evaluated(point(20))
    with LiveLog(tmp_path / "run", WHAT) as log:
        assert log._file is not None
        log._file.close()
        log._file = open("/dev/full", "w")  # noqa: SIM115
        for step in range(20, 2000, 20):
            log.evaluated(point(step))
        assert log._file is None


def test_a_tee_forwards_all_that_a_reporter_hears():
    heard = []

    class Listener(Reporter):
        def __getattribute__(self, name):
            return lambda *arguments: heard.append((name, arguments))

    tee = Tee(Listener(), Listener())
    names = [name for name in vars(Reporter) if not name.startswith("_")]
    assert "evaluated" in names
    for name in names:
        getattr(tee, name)(1)
    assert heard == [(name, (1,)) for name in names for _ in range(2)]


# -- how it looks ---------------------------------------------------------------------------


def test_what_is_said_on_the_way():
    view = RunView()
    view.hear(dict(WHAT))
    assert view.line().startswith("preparing")
    view.hear({"event": "started", "seconds": 0.0, "lanes": 4})
    assert view.line() == "step         0"
    assert "4 lanes" in view.title()
    view.hear({"event": "point", "seconds": 2.0, **asdict(point(100))})
    assert view.line() == (
        "step       100  cost   0.5000  accuracy  10.00 %  50 steps/s  36.0 clocks/step"
    )
    assert view.left() == "at most 6.0 s left"
    view.hear({"event": "progress", "seconds": 4.0, "step": 300})
    assert view.left() == "at most 1.3 s left"
    view.what["target"] = 0.9
    assert view.left() == "at most 1.3 s left, or until the target"
    view.hear({"event": "ended", "seconds": 99.0, "error": None, "folder": "x"})
    assert (view.left(), view.seconds) == ("", 4.0)


def test_sparklines():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 40) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5], 40) == "▁▁"
    assert sparkline([0.0] * 50 + [1.0] * 50, 4) == "▁▁██"
    assert len(sparkline([k**2 for k in range(1001)], 40)) == 40


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5.24, "5.2 s"), (187, "3:07 min"), (7500, "2:05 h"), (200_000, "2 d 7 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
