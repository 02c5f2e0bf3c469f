"""host.session.board: against the compiled board, and in what only a broken board does."""

from __future__ import annotations

import dataclasses
import os
import pty
import threading
import tty

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.trainer import Trainer
from mgd.host.session.board import BoardSession, check_identity
from mgd.host.task.task import Task
from mgd.protocol.framing import Space
from mgd.protocol.identity import Identity
from mgd.protocol.record import Samples
from mgd.protocol.registers import Register
from mgd.rtl.folded.config import CoreConfig
from tests.support.fake_board import FakeBoard
from tests.support.simulation import mgd, refused, start_board, table_task

pytestmark = pytest.mark.xdist_group("board_session")

LANES = 3
SEED = 8


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Task:
    return table_task(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def board(task):
    board = start_board(task, LANES)
    yield board
    board.close()


@pytest.fixture
def session(task, board):
    """Loaded and started; the board is the same for all tests, so each starts at step 0."""
    with BoardSession(board.port, task.spec.network, backend="sim") as session:
        session.load_samples(*task.datasets())
        session.write_weights(initial_weights(task.spec.network, SEED))
        session.start(task.spec.settings, SEED)
        yield session


@pytest.fixture
def trainer(task):
    train, _ = task.datasets()
    weights = [w[None] for w in initial_weights(task.spec.network, SEED)]
    return Trainer(
        task.spec.network, task.spec.settings, train.codes, train.labels, weights, [SEED]
    )


def equal(weights, trainer) -> bool:
    return all((a == b[0]).all() for a, b in zip(weights, trainer.weights, strict=True))


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_identity(task, session):
    config = CoreConfig(task.spec.network, LANES)
    identity = session.identity
    assert identity.digest == int(task.spec.network.digest()[:16], 16)
    assert identity.layers == (3, 5, 4)
    assert (identity.hidden, identity.cost) == ("relu", "cross_entropy")
    assert (identity.lanes, identity.lane_words) == (LANES, config.lane_words)
    assert (identity.accumulators, identity.tau_theta_max) == (True, 3)
    assert (session.lanes, session.backend) == (LANES, "sim")


def test_weights_come_back(task, session):
    network = task.spec.network
    weights = [
        np.random.default_rng(k).integers(network.weight_min, network.weight_max + 1, size=w.shape)
        for k, w in enumerate(initial_weights(network, SEED))
    ]
    weights[0][0, 0], weights[1][-1, -1] = network.weight_min, network.weight_max
    weights[1][0, 0] = -1
    session.write_weights(weights)
    for got, wanted in zip(session.read_weights(), weights, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_trains_and_counts_as_the_golden_model(session, trainer):
    assert session.counters().step == 0
    session.train(1)
    session.train(47)  # neither a multiple of tau_x nor of tau_theta
    trainer.train(47)
    assert equal(session.read_weights(), trainer)
    counters = session.counters()
    assert counters.step == 47
    assert counters.cost_sum == trainer.cost_sum[0] > 0
    assert counters.weight_saturations == trainer.weight_saturations[0]
    assert counters.activation_saturations == trainer.activation_saturations[0]
    assert 0 < counters.train_clocks < counters.clocks
    assert counters.link_errors == 0


def test_saturations_are_counted_apart(session, task):
    settings = task.with_overrides(eta_exp=1).spec.settings
    weights = initial_weights(task.spec.network, SEED, gain=4.0)
    session.write_weights(weights)
    session.start(settings, SEED)
    session.train(40)
    session.read_weights()  # flushes the last update
    train, _ = task.datasets()
    trainer = Trainer(
        task.spec.network, settings, train.codes, train.labels, [w[None] for w in weights], [SEED]
    )
    trainer.train(40)
    counters = session.counters()
    assert counters.weight_saturations == trainer.weight_saturations[0] > 0
    assert counters.activation_saturations == trainer.activation_saturations[0] > 0
    assert counters.weight_saturations != counters.activation_saturations
    session.evaluate("train")  # saturates as well, but is no training
    assert session.counters().activation_saturations == counters.activation_saturations


def test_evaluations_are_the_boards_own_and_right(session, trainer, task):
    session.train(30)
    trainer.train(30)
    datasets = dict(zip(("train", "test"), task.datasets(), strict=True))
    # Neither in their order in memory nor once each.
    for name in ("test", "train", "train", "test"):
        samples = datasets[name]
        measured = session.evaluate(name)
        correct, cost = trainer.evaluate(samples.codes, samples.labels)
        assert (measured.correct, measured.cost_sum) == (correct[0], cost[0])
        assert measured.samples == len(samples)
    # And they change nothing: not the signs drawn, nor the samples' order.
    session.train(44)
    trainer.train(44)
    assert equal(session.read_weights(), trainer)


def test_reading_in_between_changes_nothing(session, trainer):
    for until in (1, 2, 3, 8, 20):
        session.train(until)
        trainer.train(until)
        assert equal(session.read_weights(), trainer)


def test_start_begins_again(session, trainer, task):
    session.train(25)
    session.start(task.spec.settings, SEED)
    assert session.counters().step == 0
    assert session.counters().cost_sum == 0
    assert session.counters().train_clocks == 0
    session.write_weights(initial_weights(task.spec.network, SEED))
    session.train(25)
    trainer.train(25)
    assert equal(session.read_weights(), trainer)
    assert session.counters().cost_sum == trainer.cost_sum[0]


def test_method_and_seed_are_registers(session, task):
    """One core serves both methods and any seed."""
    train, _ = task.datasets()
    for method, seed in (("np", SEED), ("wp", SEED + 1)):
        settings = task.with_overrides(method=method).spec.settings
        weights = initial_weights(task.spec.network, seed)
        session.write_weights(weights)
        session.start(settings, seed)
        session.train(20)
        trainer = Trainer(
            task.spec.network,
            settings,
            train.codes,
            train.labels,
            [w[None] for w in weights],
            [seed],
        )
        trainer.train(20)
        assert equal(session.read_weights(), trainer)


def test_progress_is_told(session):
    steps: list[int] = []
    session.train(40, steps.append)
    assert steps == sorted(steps)
    assert steps[-1] == 40


def test_too_many_samples(session, task):
    train, test = task.datasets()
    more = Samples(np.tile(train.codes, (2, 1)), np.tile(train.labels, 2))
    before = session.link.read(Space.SAMPLES, 0, 4)
    with pytest.raises(UserError, match="64 training samples and one to evaluate take") as error:
        session.load_samples(more, test)
    assert str(session.identity.sample_memory) in one_line(error)
    assert "--resident 39" in one_line(error)
    assert session.link.read(Space.SAMPLES, 0, 4) == before  # nothing was sent


def test_another_network_is_refused_in_words(board, tmp_path):
    with pytest.raises(UserError) as error:
        BoardSession(board.port, Network((2, 2, 1), hidden="relu"))
    message = one_line(error)
    for part in ("another network", "layers 3-5-4, the task has 2-2-1", "cost cross_entropy, the"):
        assert part in message
    assert "hidden" not in message
    # The port is free again.
    line = refused(mgd("train", "xor", "--backend", board.port, cwd=tmp_path))
    assert "layers 3-5-4, the task has 2-2-1" in line
    assert "hidden activation relu, the task has tanh" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("layers", (3, 6, 4), "layers 3-6-4, the task has 3-5-4"),
        ("output", "identity", "output activation identity, the task has tanh"),
        ("weight_bits", 12, "weight_bits 12, the task has 16"),
        ("tau_theta_max", 9, "tau_theta_max 9, the task has 1"),
        ("pre_frac", 11, "other number formats than the task"),
    ],
)
def test_each_difference_has_words(field, value, words):
    task = Network((3, 5, 4), accumulators=True)
    other = dataclasses.replace(task, **{field: value})
    identity = Identity.of(other, 4, 10, 100, 12_000_000)
    with pytest.raises(UserError) as error:
        check_identity(identity, task, "/dev/ttyX")
    assert one_line(error).startswith("/dev/ttyX: the board holds a core for another network: ")
    assert words in str(error.value)
    check_identity(Identity.of(task, 4, 10, 100, 12_000_000), task, "/dev/ttyX")


# -- broken boards --------------------------------------------------------------------------

SMALL = Network((2, 2, 1))


def fake_board() -> FakeBoard:
    """A board that says who it is and keeps what it is told."""
    board = FakeBoard()
    identity = Identity.of(SMALL, 2, CoreConfig(SMALL, 2).lane_words, 64, 12_000_000)
    for address, word in enumerate(identity.words()):
        board.words[Space.IDENTITY, address] = word
    return board


def test_a_core_that_hangs(monkeypatch):
    board = fake_board()
    session = BoardSession(board, SMALL, backend="/dev/ttyX")
    clocks = (Space.REGISTERS, int(Register.CLOCKS))

    def run_on(_number, reply):
        board.words[clocks] = board.words.get(clocks, 0) + 500_000
        board.busy(True)
        board.words[Space.REGISTERS, int(Register.STEP)] = 17
        return reply

    monkeypatch.setattr("mgd.host.session.board.POLL_SECONDS", (0, 0))
    board.spoil = run_on
    with pytest.raises(UserError, match=r"ttyX: TRAIN has taken \d+ clocks at step 17") as e:
        session.train(20)
    assert "hangs" in one_line(e)


def test_a_slow_core_does_not_hang(monkeypatch):
    """It is the core's clocks that are limited, not the seconds."""
    board = fake_board()
    session = BoardSession(board, SMALL)

    def busy_for_a_while(number, reply):
        board.busy(number < 200)
        board.words[Space.REGISTERS, int(Register.STEP)] = 20
        return reply

    monkeypatch.setattr("mgd.host.session.board.POLL_SECONDS", (0, 0))
    board.spoil = busy_for_a_while
    session.train(20)
    assert len(board.requests) > 200


def test_a_refused_board_is_let_go():
    board = fake_board()
    with pytest.raises(UserError, match="another network"):
        BoardSession(board, Network((2, 3, 1)))
    assert board.closed == 1
    nobody = FakeBoard()
    with pytest.raises(UserError, match="no identity record"):
        BoardSession(nobody, SMALL)
    assert nobody.closed == 1


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    yield ours, os.ttyname(theirs)
    os.close(theirs)
    os.close(ours)


def test_a_port_on_which_nothing_answers(terminal, tmp_path):
    _, name = terminal
    line = refused(mgd("train", "xor", "--backend", name, cwd=tmp_path))
    assert f"no answer from the board on {name}" in line
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_echoes(terminal):
    ours, name = terminal
    stop = threading.Event()

    def echo() -> None:
        while not stop.is_set():
            os.write(ours, os.read(ours, 4096))

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    try:
        with pytest.raises(UserError, match=f"no answer from the board on {name}") as error:
            BoardSession(name, SMALL)
        one_line(error)
    finally:
        stop.set()
        with open(name, "wb", buffering=0) as other:
            other.write(b"x")  # wakes the reader
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(5, 1, 7, 0)], (5 + (1 << 32), 7)),
        # The carry passed between the words of the first answer.
        ([(0xFFFF_FFFF, 2, 7, 0), (90, 2, 7, 0)], (90 + (2 << 32), 7)),
        # And here it is about to: the second answer says that it did not yet.
        ([(0xFFFF_0000, 1, 7, 0), (0xFFFF_F000, 1, 7, 0)], (0xFFFF_F000 + (1 << 32), 7)),
        # A counter that stands still just below a carry is no reason to ask for ever.
        ([(5, 1, 0xFFFF_FFFF, 0), (80, 1, 0xFFFF_FFFF, 0)], (80 + (1 << 32), 0xFFFF_FFFF)),
        (
            [(0xFFFF_FFF0, 1, 7, 0), (0xFFFF_FFFF, 2, 7, 0), (70, 2, 7, 0)],
            (70 + (2 << 32), 7),
        ),
    ],
)
def test_counters_that_carry_while_they_are_read(session, monkeypatch, answers, expected):
    left = [list(words) for words in answers]
    monkeypatch.setattr(session.link, "read", lambda *_place: left.pop(0))
    assert session.clocks() == expected
    assert left == []
