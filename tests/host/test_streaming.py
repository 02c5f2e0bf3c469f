"""Training sets that are larger than a simulated board's memory: the golden model's numbers."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace

import numpy as np
import pytest

from mgd.boards.simulated import board as simulated
from mgd.golden_model.seeds import initial_weights
from mgd.host.link.faults import FaultyTransport, Rates
from mgd.host.link.transport import SerialTransport
from mgd.host.runs.progress import Progress
from mgd.host.runs.training import Checkpointer, Reporter, run_training
from mgd.host.session.base import Session
from mgd.host.session.board import BoardSession
from mgd.host.session.golden import GoldenSession
from mgd.host.task.task import Task
from mgd.protocol.registers import Register
from mgd.rtl.core_kinds import config_for
from tests.support.simulation import built, mgd, refused, table_task

pytestmark = pytest.mark.xdist_group("streaming")

SEED = 6
RESIDENT = 6
ROOM = 2
"""Records behind the window: far fewer than there are samples to evaluate."""


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Task:
    return table_task(tmp_path_factory.mktemp("table")).with_overrides(resident=RESIDENT, passes=2)


def start(task: Task, lanes: int | None = None) -> simulated.SimulatedBoard:
    config = config_for(task.with_overrides(lanes=lanes).core_layout())
    return simulated.run(built(config, (RESIDENT + ROOM) * config.record_stride))


@pytest.fixture(scope="module")
def boards(task):
    spatial = task.with_overrides(core="spatial")
    boards = [start(task, 3), start(task, 2), start(spatial)]
    yield boards
    for board in boards:
        board.close()


def load(session: Session, task: Task, settings) -> None:
    session.load_samples(*task.datasets(), settings)
    session.write_weights(initial_weights(task.spec.network, SEED))
    session.start(settings, SEED)


def assert_same(left: Session, right: Session) -> None:
    for a, b in zip(left.read_weights(), right.read_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for on in ("train", "test"):
        assert left.evaluate(on) == right.evaluate(on)
    a, b = left.counters(), right.counters()
    assert (a.step, a.cost_sum) == (b.step, b.cost_sum)
    assert a.weight_saturations == b.weight_saturations


@pytest.mark.parametrize("board", [0, 1, 2])
def test_board_and_golden_model_are_the_same(task, boards, board):
    with BoardSession(boards[board].port, task.spec.network, "sim") as session:
        for number, (tau_x, passes) in enumerate(itertools.product((1, 3), (1, 2, 6))):
            settings = replace(task.spec.settings, tau_x=tau_x, passes=passes)
            if not session.identity.constants:
                settings = replace(
                    settings,
                    method="np" if number % 2 else "wp",
                    difference="antithetic" if number % 3 else "forward",
                )
            print(settings)
            golden = GoldenSession(task.spec.network)
            for one in (golden, session):
                load(one, task, settings)
            for until in (1, 41, 120):
                golden.train(until)
                session.train(until)
                assert_same(session, golden)
            counters = session.counters()
            assert counters.wait_clocks > 0
            assert counters.wait_clocks + counters.train_clocks < counters.clocks


def test_a_slow_host_is_waited_for(task, boards, monkeypatch):
    """The core stands still, on the step that needs what is not there, and nothing else changes."""
    golden = GoldenSession(task.spec.network)
    with BoardSession(boards[0].port, task.spec.network, "sim") as session:
        for one in (golden, session):
            load(one, task, task.spec.settings)
        store, seen = session._store, []
        make = store.make

        def slow(changes):
            first = changes[0].take * task.spec.settings.tau_x
            time.sleep(0.02)
            status, step = session.link.read(0, Register.STATUS, 2)
            seen.append((status & 1, step, first))
            return make(changes)

        monkeypatch.setattr(store, "make", slow)
        session.train(200)
        golden.train(200)
        assert_same(session, golden)
    stopped = [(step, first) for busy, step, first in seen if not busy]
    assert len(stopped) > 10
    assert all(step == first for step, first in stopped[1:-1])


def test_steps_to_a_changed_sample_do_not_depend_on_what_is_in_the_memory_too_late(task, boards):
    """Old samples in the slots would give other weights: the test can see it."""
    golden = GoldenSession(task.spec.network)
    with BoardSession(boards[0].port, task.spec.network, "sim") as session:
        for one in (golden, session):
            load(one, task, task.spec.settings)
        session._streaming = None  # trains on what is there
        session.train(60)
        golden.train(60)
        weights = zip(session.read_weights(), golden.read_weights(), strict=True)
        assert any((a != b).any() for a, b in weights)


def test_a_run_changes_hands(task, boards):
    """Within a pass, within a sample: golden model, 3 lanes, 2 lanes, and on."""
    settings = replace(task.spec.settings, tau_x=4, tau_p=3, tau_theta=3)
    golden = GoldenSession(task.spec.network)
    others: list[Session] = [
        BoardSession(boards[0].port, task.spec.network, "sim"),
        BoardSession(boards[1].port, task.spec.network, "sim"),
        GoldenSession(task.spec.network),
    ]
    try:
        load(golden, task, settings)
        state = None
        for stop, session in zip((7, 12, 39, 40, 95, 96, 131, 250), others * 3, strict=False):
            if state is None:
                load(session, task, settings)
            else:
                session.load_samples(*task.datasets(), settings, state.take(settings))
                session.restore(settings, SEED, state)
            waited = state.wait_clocks if state else 0
            session.train(stop)
            golden.train(stop)
            state, wanted = session.read_state(), golden.read_state()
            for a, b in zip(
                state.weights + state.accumulators,
                wanted.weights + wanted.accumulators,
                strict=True,
            ):
                np.testing.assert_array_equal(a, b)
            assert (state.step, state.cost_sum) == (wanted.step, wanted.cost_sum)
            if isinstance(session, GoldenSession):
                assert state.wait_clocks == waited  # it has no clocks
            else:
                assert state.wait_clocks > waited
    finally:
        for session in others:
            session.close()


def test_a_spatial_run_goes_on_from_a_golden_one(task, boards):
    settings = replace(task.spec.settings, tau_x=4, tau_theta=1, rounding="stochastic")
    plain = replace(task.spec.network, accumulators=False, tau_theta_max=1)
    assert plain != task.spec.network  # so this one is a board of its own
    spatial = Task.parse(
        (task.folder / "table.toml").read_text().replace('"residual"', '"stochastic"')
        .replace("tau_theta = 3", "tau_theta = 1").replace("tau_x = 2", "tau_x = 4"),
        "spatial", task.folder,
    ).with_overrides(resident=RESIDENT, passes=3, core="spatial")  # fmt: skip
    settings = spatial.spec.settings
    golden, other = GoldenSession(spatial.spec.network), GoldenSession(spatial.spec.network)
    board = start(spatial)
    try:
        load(golden, spatial, settings)
        golden.train(45)
        state = golden.read_state()
        with BoardSession(board.port, spatial.spec.network, "sim") as session:
            session.load_samples(*spatial.datasets(), settings, state.take(settings))
            session.restore(settings, SEED, state)
            session.train(150)
            golden.train(150)
            assert_same(session, golden)
            handed = session.read_state()
        other.load_samples(*spatial.datasets(), settings)
        other.restore(settings, SEED, handed)
        for one in (other, golden):
            one.train(180)
        assert_same(other, golden)
    finally:
        board.close()


@pytest.mark.parametrize(
    "rates",
    [Rates(flip=3e-3), Rates(drop=3e-3), Rates(duplicate=3e-3), Rates(truncate=1e-3)],
    ids=["flip", "drop", "duplicate", "truncate"],
)
def test_a_noisy_link_changes_no_weight(task, boards, rates):
    wanted = task.with_overrides(steps=80, eval_every=40)
    transport = FaultyTransport(SerialTransport(boards[0].port), rates, SEED)
    with BoardSession(transport, task.spec.network, "sim") as session:
        result = run_training(session, wanted)
    expected = run_training(GoldenSession(task.spec.network), wanted)
    for found, right in zip(result.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(found, right)
    assert [p.test_cost for p in result.curve] == [p.test_cost for p in expected.curve]
    assert sum(transport.counts.values()) > 0
    assert result.counters.link_repeats > 0


def test_a_board_that_is_reset_within_a_pass(task, boards):
    kept: list[Progress] = []
    board = boards[1]

    class Resets(Reporter):
        losses = 0

        def progress(self, step):
            if step > 50 and not self.losses:
                board.reset()
                time.sleep(0.05)

        def lost(self, error, progress):
            self.losses += 1

    wanted, reporter = task.with_overrides(steps=120, eval_every=40), Resets()
    with BoardSession(board.port, task.spec.network, "sim") as session:
        result = run_training(session, wanted, reporter, checkpointer=Checkpointer(7, kept.append))
    expected = run_training(GoldenSession(task.spec.network), wanted)
    assert result.board_losses == reporter.losses == 1
    for found, right in zip(result.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(found, right)


# -- the command ----------------------------------------------------------------------------


def test_a_run_says_what_held_it_up(task, tmp_path):
    file = task.folder / "table.toml"
    options = ("--resident", RESIDENT, "--passes", 3, "--steps", 60, "--lanes", 3)
    done = mgd("train", file, *options, "--out", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "stream     6 samples resident, the core waited" in done.stdout
    values = json.loads((tmp_path / "run" / "run.json").read_text())
    share = values["wait_clocks"] / (values["wait_clocks"] + values["train_clocks"])
    assert values["wait_share"] == share > 0
    assert values["bound_by"] == ("link" if share > 0.05 else "core")
    assert f"waited {100 * share:.1f} % of its time for more: bound by the" in done.stdout
    whole = mgd("train", file, "--steps", 60, "--lanes", 3, "--out", tmp_path / "w", cwd=tmp_path)
    assert "stream" not in whole.stdout
    values = json.loads((tmp_path / "w" / "run.json").read_text())
    assert (values["wait_clocks"], values["wait_share"], values["bound_by"]) == (0, None, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--resident", 6, "--passes", 0), ["passes = 0"]),
        (("--resident", 6, "--passes", 4), ["resident = 6 with passes = 4", "resident = 4"]),
        (("--passes", 4), ["passes = 4 without resident"]),
        (("--resident", 33), ["resident = 33", "only 32 samples", "32 or less"]),
        (("--resident", -1), ["resident"]),
    ],
)
def test_mistakes_are_one_line(task, tmp_path, options, words):
    file = task.folder / "table.toml"
    line = refused(mgd("train", file, *options, "--backend", "golden", cwd=tmp_path))
    assert all(word in line for word in words), line
    assert list(tmp_path.iterdir()) == []


def test_a_window_that_the_board_has_no_room_for(task, boards, tmp_path):
    port, file = boards[0].port, task.folder / "table.toml"
    line = refused(mgd("train", file, "--backend", port, "--resident", 8, cwd=tmp_path))
    assert "resident = 8 samples and one to evaluate take 27 words" in line
    assert "room for resident = 7" in line
    line = refused(mgd("train", file, "--backend", port, cwd=tmp_path))
    assert "32 training samples and one to evaluate take 99 words" in line
    assert "--resident 7" in line
