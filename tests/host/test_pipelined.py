"""`schedule = "pipelined"`: what a task file says, what is refused, and runs that are handed on."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mgd import open_session
from mgd.boards.registry import find_board
from mgd.boards.simulated import board as simulated
from mgd.golden_model.errors import UserError
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.runs.progress import Progress
from mgd.host.runs.training import Checkpointer, Reporter, run_training
from mgd.host.session.base import BoardLostError, Session
from mgd.host.session.board import BoardSession
from mgd.host.session.golden import GoldenSession
from mgd.host.task.pipelining import checkpoint_period
from mgd.host.task.task import Task
from mgd.rtl.core_kinds import config_for
from mgd.rtl.spatial.timing import Timing, update_delay
from mgd.scripts.cli import main
from mgd.scripts.commands.build import build_label, task_design
from mgd.scripts.commands.train import description
from mgd.scripts.common.run_view import RunView
from tests.support.simulation import XOR_TOML as XOR
from tests.support.simulation import built, mgd, refused, start_board

pytestmark = pytest.mark.xdist_group("pipelined")

CORE = '[core]\nkind = "spatial"\nschedule = "pipelined"\n'
BOTH = {"core": "spatial", "schedule": "pipelined"}


def parse(text: str) -> Task:
    return Task.parse(text, origin="my.toml", folder=Path("."))


@pytest.fixture(scope="module")
def task() -> Task:
    """Inputs of two bits, both of which a step takes at once."""
    return Task.load("xor").with_overrides(**BOTH, steps=90, eval_every=30, target=1.0)


# -- the task file --------------------------------------------------------------------------


def test_updates_are_late_by_what_the_core_needs():
    plain, task = parse(XOR), parse(XOR + CORE)
    assert (plain.spec.schedule, task.spec.schedule) == ("sequential", "pipelined")
    assert plain.spec.settings.update_delay == 0
    late = task.spec.settings.update_delay
    assert (
        late
        == Timing.of(config_for(task.core_layout())).delay
        == config_for(task.core_layout()).update_delay
        > 0
    )
    assert task.spec.settings == replace(plain.spec.settings, update_delay=late)
    assert late == update_delay(task.spec.network, plain.spec.settings)
    assert plain.with_overrides(**BOTH).spec.settings == task.spec.settings
    assert task.with_overrides(schedule="sequential").spec.settings == plain.spec.settings
    assert task.config_digest() != plain.config_digest()
    assert plain.with_overrides(core="spatial").config_digest() == plain.config_digest()


def test_accumulators_are_what_the_tasks_own_method_needs():
    text = f"{XOR}[training.wp]\ntau_theta = 50\n"
    assert parse(text).spec.network.accumulators
    task = parse(text + CORE)
    assert (task.spec.network.accumulators, task.spec.network.tau_theta_max) == (False, 1)
    with pytest.raises(UserError, match=r"tau_theta = 50 with schedule = 'pipelined'"):
        task.with_overrides(method="wp")
    assert config_for(task.with_overrides(method="wp", tau_theta=1).core_layout()).pipelined


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            '[core]\nschedule = "pipelined"\n',
            ["schedule = 'pipelined' with core = 'folded'", "--core spatial", "'sequential'"],
        ),
        ('[core]\nschedule = "pipeline"\n', ["schedule = 'pipeline'", "mean 'pipelined'?"]),
        (f"[training]\ntau_theta = 50\n{CORE}", ["tau_theta = 50 with", "set tau_theta = 1"]),
        (f'[training]\nrounding = "residual"\n{CORE}', ["use rounding = 'stochastic'"]),
        (f'[training]\ndifference = "forward"\n{CORE}', ["use difference = 'antithetic'"]),
        (f"[training]\nresident = 2\n{CORE}", ["late updates", "use resident = 0"]),
        (f"[training]\nmomentum_exp = 3\n{CORE}", ["momentum_exp = 3", "leave momentum_exp out"]),
        (f'[training]\noptimizer = "adam"\n{CORE}', ["optimizer = 'adam'", "the folded core"]),
        (f'[training]\nperturbation = "sine"\n{CORE}', ["perturbation = 'sine'", "folded core"]),
        (f"[numbers]\nweight_bits = 8\n{CORE}", ["weight_bits = 8 with", "use 16 bits"]),
        (f"{CORE}accumulators = true\n", ["accumulators = true", "leave accumulators out"]),
        (f"{CORE}tau_theta_max = 9\n", ["tau_theta_max = 9", "leave tau_theta_max out"]),
    ],
)
def test_what_does_not_go_with_it_is_one_line(text, parts):
    with pytest.raises(UserError) as caught:
        parse(XOR + text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("my.toml: ")
    for part in parts:
        assert part in message


def test_narrow_weights_may_be_rounded_at_random():
    text = f'{XOR}[numbers]\nweight_bits = 8\n[training]\nrounding = "stochastic"\n{CORE}'
    assert parse(text).spec.settings.update_delay > 0


def test_an_open_core_stays_as_it_was_built(task):
    with open_session(task, "golden") as session:
        with pytest.raises(UserError, match=r"schedule = 'sequential': this core has 'pipelined'"):
            session.configure(schedule="sequential")
        session.configure(schedule="pipelined", seed=4)
        assert session.settings.update_delay > 0


def test_builds_of_the_schedules_have_names_of_their_own():
    board = find_board("ulx3s-45f")
    names = [
        build_label(task_design(board, parse(XOR).with_overrides(core="spatial", **more)))
        for more in ({}, {"schedule": "pipelined"})
    ]
    assert names == ["spatial-np", "spatial-np-pipelined"]


@pytest.mark.parametrize("name", ["xor", "nist7x7_easy"])
@pytest.mark.parametrize("method", ["wp", "np"])
def test_a_board_makes_its_updates_as_late_as_the_task_says(name, method):
    """What a board's FPGA does with its DSP blocks changes no clock."""
    task = Task.load(name).with_overrides(**BOTH, method=method)
    for board in ("ulx3s-45f", "ulx3s-25f", "icebreaker"):
        config = task_design(find_board(board), task).config
        assert Timing.of(config).delay == task.spec.settings.update_delay


# -- runs -----------------------------------------------------------------------------------


def in_pieces(task: Task, ends: tuple[int, ...]) -> list[np.ndarray]:
    """The golden model's weights after TRAIN commands up to these steps."""
    train, _ = task.datasets()
    weights = [
        w[None] for w in initial_weights(task.spec.network, task.spec.seed, task.spec.init_gain)
    ]
    trainer = Trainer(
        task.spec.network, task.spec.settings, train.codes, train.labels, weights, [task.spec.seed]
    )
    for end in ends:
        trainer.train(end)
    return [w[0].astype(np.int64) for w in trainer.weights]


def assert_equal(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def sessions(task):
    board = start_board(task)
    try:
        with BoardSession(board.port, task.spec.network, "sim") as session:
            yield [session, GoldenSession(task.spec.network)]
    finally:
        board.close()


def begin(session: Session, task: Task) -> None:
    session.load_samples(*task.datasets())
    session.write_weights(initial_weights(task.spec.network, task.spec.seed, task.spec.init_gain))
    session.start(task.spec.settings, task.spec.seed)


def test_a_run_changes_hands_between_its_pieces(task, sessions):
    """From the board to the golden model and back: all that a run is, is its weights."""
    ends, states = (17, 30, 31, 64, 90), []
    whole = in_pieces(task, (90,))
    assert any((a != b).any() for a, b in zip(in_pieces(task, ends), whole, strict=True))
    begin(sessions[0], task)
    for number, (first, end) in enumerate(pairwise((0, *ends))):
        session = sessions[number % 2]
        if number:
            session.load_samples(*task.datasets())
            session.restore(task.spec.settings, task.spec.seed, states[-1])
        assert session.counters().step == first
        session.train(end)
        states.append(session.read_state())
        assert_equal(states[-1].weights, in_pieces(task, ends[: number + 1]))
    assert states[-1].accumulators == []


def test_the_host_changes_the_rate_between_two_pieces(sessions):
    text = Path("examples/xor.toml").read_text()
    text = text.replace("[training]", "[training]\nhalve_every = 13\nwarmup_exp = 2")
    task = Task.parse(text, "rates", Path(".")).with_overrides(**BOTH)
    found = []
    for session in sessions:
        begin(session, task)
        session.train(40)
        found.append(session.read_weights())
    assert_equal(*found)
    assert_equal(found[0], in_pieces(task, (40,)))


def test_a_board_goes_on_from_whole_periods_only(task, sessions):
    slow = task.with_overrides(tau_x=4)
    board, golden = sessions
    begin(golden, slow)
    golden.train(10)
    state = golden.read_state()
    board.load_samples(*slow.datasets())
    with pytest.raises(UserError, match="step 10 lies 2 steps into a period of tau_x = 4") as error:
        board.restore(slow.spec.settings, slow.spec.seed, state)
    assert "continue from a multiple of tau_x, or with --backend golden" in str(error.value)
    assert "\n" not in str(error.value)
    golden.train(12)
    board.restore(slow.spec.settings, slow.spec.seed, golden.read_state())
    board.train(33)
    assert_equal(board.read_weights(), in_pieces(slow, (10, 12, 33)))


def test_a_core_of_the_other_schedule_is_refused(task, sessions):
    plain = task.with_overrides(schedule="sequential")
    with pytest.raises(UserError, match=r"'sequential': this spatial core was built for 'pipel"):
        begin(sessions[0], plain)


class Loses(Reporter):
    """The board is reset when the run is at so many steps."""

    def __init__(self, board: simulated.SimulatedBoard, at: int) -> None:
        self.board, self.at, self.losses = board, at, 0

    def evaluated(self, point):
        if point.step == self.at and not self.losses:
            self.board.reset()

    def lost(self, error: BoardLostError, progress: Progress) -> None:
        self.losses += 1


def test_checkpoints_change_nothing(task):
    """A run on a board that loses it, with checkpoints, is the golden model's without any."""
    wanted = task.with_overrides(target=None, steps=150, seed=5)
    wanted = replace(wanted, overrides=wanted.overrides.model_copy(update={"target": None}))
    kept: list[Progress] = []
    board = start_board(wanted)
    try:
        with BoardSession(board.port, wanted.spec.network, "sim") as session:
            reporter = Loses(board, 90)
            saves = Checkpointer(60, kept.append)
            result = run_training(session, wanted, reporter, checkpointer=saves)
    finally:
        board.close()
    expected = run_training(GoldenSession(wanted.spec.network), wanted)
    assert reporter.losses == result.board_losses == 1
    assert [p.state.step for p in kept] == [0, 60, 120]
    assert_equal(result.weights, expected.weights)
    assert [p.test_cost for p in result.curve] == [p.test_cost for p in expected.curve]
    again = run_training(GoldenSession(wanted.spec.network), wanted, progress=kept[1])
    assert_equal(again.weights, expected.weights)


def test_checkpoints_are_where_training_ends_anyhow(task):
    slow = task.with_overrides(tau_x=4, tau_p=3)
    assert checkpoint_period(task.spec) == 30
    assert checkpoint_period(slow.spec) == 60
    assert checkpoint_period(task.with_overrides(schedule="sequential").spec) == 1
    session = GoldenSession(slow.spec.network)
    with pytest.raises(UserError, match="--checkpoint-every 30 with schedule = 'pip") as error:
        run_training(session, slow, checkpointer=Checkpointer(30, lambda _: None))
    assert "multiple of 60 (eval_every = 30, tau_x = 4, tau_p = 3)" in str(error.value)


# -- commands -------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(simulated, "build", built)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("method", ["np", "wp"])
def test_verify(here, method):
    """In two pieces, that after the first one with all its updates made."""
    arguments = ["verify", "xor", "--core", "spatial", "--schedule", "pipelined"]
    arguments += ["--method", method, "--steps", "60", "--json", "v.json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert f"spatial core, pipelined, method {method}, seed 1: 60 steps" in result.stdout
    values = json.loads((here / "v.json").read_text())
    assert values["schedule"] == "pipelined"
    # Two costs, D and nine weights in a step; the weights read back, counters, an evaluation.
    assert values["values_compared"] == 60 * (3 + 9) + 9 + 3 + 2


def test_verify_in_pieces(here, monkeypatch):
    monkeypatch.setattr("mgd.scripts.commands.verify.CHUNK_EVENTS", 9 * 25)
    arguments = ["verify", "xor", "--core", "spatial", "--schedule", "pipelined", "--steps", "60"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output


def test_a_run_says_it_and_goes_on(tmp_path):
    arguments = ("train", "xor", "--core", "spatial", "--schedule", "pipelined")
    arguments += ("--backend", "golden", "--steps", "40", "--out", "run")
    line = refused(mgd(*arguments, "--checkpoint-every", 30, cwd=tmp_path))
    assert "use a multiple of 20 (eval_every = 20)" in line
    assert not (tmp_path / "run").exists()
    done = mgd(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "run" / "run.json").read_text())
    late = values["settings"]["update_delay"]
    lines = done.stdout.splitlines()
    assert "pipelined, seed 1" in lines[0]
    assert any(line.endswith(f"seed 1, pipelined: updates {late} steps late") for line in lines)
    shown = mgd("watch", "run", cwd=tmp_path)
    assert "lanes, pipelined, seed 1" in shown.stdout
    assert mgd("report", "run", "--out", "r.html", cwd=tmp_path).returncode == 0
    assert f"{late} steps late (pipelined)" in (tmp_path / "r.html").read_text()
    assert "with core = 'folded'" in refused(
        mgd("train", "xor", "--schedule", "pipelined", cwd=tmp_path)
    )


def test_sequential_runs_look_as_before():
    view = RunView(description(Task.load("xor"), "sim"))
    assert view.title().endswith("2 lanes, seed 1")
    del view.what["schedule"]  # of a log that an earlier version wrote
    assert view.title().endswith("2 lanes, seed 1")
    assert Settings().update_delay == 0
