"""A run that is handed on between golden model and boards of other lanes is the same run."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.trainer import Trainer
from mgd.host.session.base import BoardLostError, Session
from mgd.host.session.board import BoardSession
from mgd.host.session.golden import GoldenSession
from mgd.host.task.task import Task
from mgd.protocol.framing import Space
from mgd.protocol.registers import Register
from tests.support.simulation import TABLE_TOML, start_board, table_task

pytestmark = pytest.mark.xdist_group("restore")

SEED = 3
STOPS = (7, 12, 23, 24, 40, 64)
"""Steps at which the run changes hands: within, at the end of and at the start of periods."""
LANES = (3, 2)


@pytest.fixture(scope="module", params=["narrow", "wide"])
def task(request, tmp_path_factory) -> Task:
    """narrow: an accumulator is less than a word of the link; wide: it is more."""
    folder = tmp_path_factory.mktemp("table")
    task = table_task(folder)
    if request.param == "wide":
        text = TABLE_TOML + "[core]\ntau_theta_max = 60000\n"
        task = Task.parse(text.replace("eta_exp = 6", "eta_exp = 14"), "wide", folder)
    assert (task.spec.network.gradient_bits > 32) == (request.param == "wide")
    return task


@pytest.fixture(scope="module")
def sessions(task):
    boards = [start_board(task, lanes) for lanes in LANES]
    try:
        yield [
            *(BoardSession(board.port, task.spec.network, "sim") for board in boards),
            GoldenSession(task.spec.network),
        ]
    finally:
        for board in boards:
            board.close()


def begin(session: Session, task: Task, settings) -> None:
    session.load_samples(*task.datasets())
    session.write_weights(initial_weights(task.spec.network, SEED))
    session.start(settings, SEED)


def assert_same(left, right) -> None:
    assert left.step == right.step
    for a, b in zip(
        left.weights + left.accumulators, right.weights + right.accumulators, strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert left.cost_sum == right.cost_sum
    assert left.weight_saturations == right.weight_saturations


@pytest.mark.parametrize("difference", ["antithetic", "forward"])
@pytest.mark.parametrize("method", ["wp", "np"])
def test_a_run_changes_hands(task, sessions, method, difference):
    for number, (tau_x, tau_p, tau_theta) in enumerate(itertools.product((1, 4), (1, 3), (1, 3))):
        settings = replace(
            task.spec.settings,
            method=method,
            difference=difference,
            tau_x=tau_x,
            tau_p=tau_p,
            tau_theta=tau_theta,
            rounding="residual" if tau_theta > 1 else "stochastic",
        )
        golden = sessions[-1]
        begin(golden, task, settings)
        golden.train(STOPS[-1])
        expected = golden.read_state()
        evaluated = [golden.evaluate(name) for name in ("train", "test")]

        session = sessions[number % 3]
        begin(session, task, settings)
        for hand, until in enumerate(STOPS):
            session.train(until)
            state = session.read_state()
            session = sessions[(number + hand) % 3]
            session.load_samples(*task.datasets())
            session.restore(settings, SEED, state)
        assert_same(session.read_state(), expected)
        assert [session.evaluate(name) for name in ("train", "test")] == evaluated


def test_reading_the_state_changes_nothing(task, sessions):
    session = sessions[0]
    begin(session, task, task.spec.settings)
    for until in (5, 6, 30):
        session.train(until)
        assert_same(session.read_state(), session.read_state())
    golden = sessions[-1]
    begin(golden, task, task.spec.settings)
    golden.train(30)
    assert_same(session.read_state(), golden.read_state())


def test_accumulators_come_back(task, sessions):
    """All that an accumulator may hold, its ends and both signs."""
    net = task.spec.network
    ends = (1 << (net.gradient_bits - 1)) - 1
    random = np.random.default_rng(5)
    given = [random.integers(-ends - 1, ends + 1, size=w.shape) for w in initial_weights(net, SEED)]
    given[0][0, 0], given[0][1, 1], given[1][0, 0], given[1][-1, -1] = -ends - 1, ends, -1, 0
    for session in sessions[:2]:
        session.load_samples(*task.datasets())
        state = replace(sessions[0].read_state(), accumulators=given)
        session.restore(task.spec.settings, SEED, state)
        assert_same(session.read_state(), state)


def test_what_a_host_left_running_is_stopped(task, sessions):
    """A new session on a board that trains: it stops within a few steps and can be used."""
    session = sessions[0]
    begin(session, task, task.spec.settings)
    link = session.link
    link.write_register(Register.STEP_TARGET, 0xFFFFFFFF)
    session._send(2)  # TRAIN, and nobody waits
    assert link.read_register(Register.STATUS) & 1
    other = BoardSession(link.transport, task.spec.network, "sim")
    assert not link.read_register(Register.STATUS) & 1
    stopped_at = link.read_register(Register.STEP)
    assert 0 < stopped_at < 0xFFFFFFFF

    # The first session learns that the board is no longer its own.
    for use in (lambda: session.train(10), session.read_weights, session.evaluate):
        with pytest.raises(BoardLostError, match="taken by another program") as error:
            use()
        assert "\n" not in str(error.value)

    # The steps done are as good as any.
    state = other.read_state()
    assert state.step == stopped_at
    train, _ = task.datasets()
    weights = [w[None] for w in initial_weights(task.spec.network, SEED)]
    trainer = Trainer(
        task.spec.network, task.spec.settings, train.codes, train.labels, weights, [SEED]
    )
    trainer.train(stopped_at)
    for found, wanted in zip(state.weights, trainer.weights, strict=True):
        np.testing.assert_array_equal(found, wanted[0])
    session.recover()


def test_a_board_that_forgot_its_epoch(task, sessions):
    session = sessions[0]
    begin(session, task, task.spec.settings)
    session.train(5)
    session.link.write_register(Register.EPOCH, 0)  # as after power-up
    with pytest.raises(BoardLostError, match="lost its power or was reset"):
        session.train(10)
    session.recover()
    begin(session, task, task.spec.settings)
    session.train(5)
    assert session.counters().step == 5


def test_a_run_that_somebody_else_stops(task, sessions, monkeypatch):
    session = sessions[0]
    begin(session, task, task.spec.settings)
    looks = []

    def look():
        looks.append(1)
        if len(looks) == 1:
            session.link.write(Space.REGISTERS, Register.STEP_TARGET, [0])
        return type(session).look(session)

    monkeypatch.setattr(session, "look", look)
    with pytest.raises(BoardLostError, match=r"training ended at step \d+ instead of 1000000"):
        session.train(1_000_000)
