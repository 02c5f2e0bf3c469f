"""The command line: exit codes, one line for every mistake, nothing half-written."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mgd.golden_model.errors import UserError
from mgd.scripts.cli import main
from mgd.scripts.commands import train as train_command
from tests.support.fake_session import FakeSession
from tests.support.paths import ROOT

CSV = "a,b,label\n0,1,x\n1,0,y\n0.5,1,x\n0.2,0,y\n0.3,1,x\n"
TOML = """
[task]
name = "mine"
[data]
source = "t.csv"
[network]
layers = [2, 3, 2]
[training]
steps = 40
eval_every = 10
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with a task of one's own, and a session that trains nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(CSV)
    (tmp_path / "my.toml").write_text(TOML)
    monkeypatch.setattr(
        train_command, "open_session", lambda task, *_: FakeSession(task.spec.network, 20)
    )
    return tmp_path


def mgd(*args: str):
    return CliRunner().invoke(main, list(args))


def refused(*args: str) -> str:
    """The one line on standard error of a command that must fail with exit code 2."""
    result = mgd(*args)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr


def test_help_and_version():
    result = mgd("--help")
    assert result.exit_code == 0
    assert "train" in result.output
    assert "doctor" in result.output
    assert mgd("--version").output.startswith("mgd ")
    assert "TASK_OR_TOML" in mgd("train", "--help").output


def test_help_is_quick_because_nothing_is_imported():
    code = (
        "import sys; from scripts.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'amaranth', 'pydantic', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_train_writes_a_run_folder(here):
    result = mgd("train", "my.toml", "--backend", "golden", "--out", "out", "--seed", "4")
    assert result.exit_code == 0, result.output
    values = json.loads((here / "out" / "run.json").read_text())
    assert (values["task"], values["seed"], values["steps"]) == ("mine", 4, 40)
    (first, *_) = [n for n in result.output.splitlines() if not n.startswith("note: ")]
    assert "backend golden" in first
    summary = result.output[result.output.index("mine (2-3-2) on") :]
    for part in ("backend golden", "100.00 %", "40, no target", "7.0 per step", "out"):
        assert part in summary
    assert sorted(p.name for p in here.iterdir()) == ["my.toml", "out", "t.csv"]


def test_options_reach_the_run(here):
    args = ["--method", "wp", "--steps", "25", "--target", "0.5", "--lanes", "3"]
    assert mgd("train", "my.toml", "--backend", "golden", *args).exit_code == 0
    values = json.loads((here / "runs" / "mine-wp-golden-seed1-1" / "run.json").read_text())
    assert (values["method"], values["target"], values["steps"]) == ("wp", 0.5, 10)
    assert mgd("train", "my.toml", "--backend", "golden", *args).exit_code == 0
    assert (here / "runs" / "mine-wp-golden-seed1-2").is_dir()


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("source", "sorce"), ["my.toml", "'sorce'", "did you mean 'source'?"]),
        (("steps = 40", "steps = -1"), ["[training] steps = -1", "at least 1"]),
        (("[2, 3, 2]", "[2, 3, 2"), ["my.toml", "no valid TOML"]),
        (("[2, 3, 2]", "[7, 3, 2]"), ["t.csv", "2 input columns", "starts with 7"]),
        (("[2, 3, 2]", "[2, 9999, 2]"), ["9999", "4096"]),
        (("[2, 3, 2]", "[2, 4096, 4096, 2]"), ["65536", "more lanes"]),
        (('"t.csv"', '"none.csv"'), ["none.csv", "no such file"]),
    ],
)
def test_mistakes_in_the_task_file(here, change, parts):
    (here / "my.toml").write_text(TOML.replace(*change))
    message = refused("train", "my.toml", "--backend", "golden", "--out", "out")
    for part in parts:
        assert part in message
    assert sorted(p.name for p in here.iterdir()) == ["my.toml", "t.csv"]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("0.5", "nan"), ["t.csv", "line 4", "column 'a'"]),
        (("0.2,0,y", "0.2,0,z"), ["t.csv", "line 5", "label 'z'", "out of range"]),
        ((CSV, ""), ["t.csv", "is empty"]),
    ],
)
def test_mistakes_in_the_data(here, change, parts):
    (here / "t.csv").write_text(CSV.replace(*change))
    message = refused("train", "my.toml", "--backend", "golden", "--out", "out")
    for part in parts:
        assert part in message
    assert sorted(p.name for p in here.iterdir()) == ["my.toml", "t.csv"]


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["train", "xro"], "did you mean 'xor'?"),
        (["train", "none.toml"], "no such file"),
        (["train"], "TASK_OR_TOML"),
        (["train", "xor", "--step", "3"], "--step"),
        (["train", "xor", "--steps", "many"], "many"),
        (["train", "xor", "--steps", "0"], "at least 1"),
        (["train", "xor", "--method", "bp"], "'wp' or 'np'"),
        (["train", "xor", "--target", "2"], "at most 1"),
        (["train", "xor", "--out", "my.toml"], "is a file"),
        (["train", "xor", "--out", "."], "not empty"),
        (["trian", "xor"], "'trian'"),
    ],
)
def test_mistakes_on_the_command_line(here, args, part):
    assert part in refused(*args)


def test_an_error_of_the_session_leaves_nothing_and_closes_it(here, monkeypatch):
    sessions = []

    def broken(task, *_):
        session = FakeSession(task.spec.network)
        sessions.append(session)

        def fail(_step):
            raise UserError("the board\nis silent; plug it in")

        session.on_train = fail
        return session

    monkeypatch.setattr(train_command, "open_session", broken)
    assert "the board is silent" in refused("train", "my.toml", "--out", "out")
    assert sessions[0].closed
    assert not (here / "out").exists()


def test_interrupt_is_one_line_and_130(here, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_command, "open_session", interrupted)
    result = mgd("train", "my.toml")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert "Traceback" not in result.output


def test_doctor_names_the_cure(monkeypatch):
    import mgd.scripts.commands.doctor as doctor

    monkeypatch.setattr(doctor, "_requirements", lambda: ["click>=8", "no-such-package-xyz>=1"])
    monkeypatch.setattr(doctor, "_tools", lambda: [None, "apt-get install g++"])
    result = mgd("doctor")
    assert result.exit_code == 1
    assert "MISSING  no-such-package-xyz" in result.output
    assert "pip install 'no-such-package-xyz>=1'" in result.output
    assert "apt-get install g++" in result.output
    monkeypatch.setattr(doctor, "_requirements", lambda: ["click>=8"])
    monkeypatch.setattr(doctor, "_tools", lambda: [None])
    assert mgd("doctor").exit_code == 0


def test_doctor_refuses_an_old_package(monkeypatch):
    import mgd.scripts.commands.doctor as doctor

    monkeypatch.setattr(doctor, "_requirements", lambda: ["click>=999"])
    monkeypatch.setattr(doctor, "_tools", list)
    result = mgd("doctor")
    assert result.exit_code == 1
    assert "needed: >=999" in result.output


def test_a_real_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mgd.scripts.cli", "train", "xorr", "--out", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: task 'xorr' is unknown")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
