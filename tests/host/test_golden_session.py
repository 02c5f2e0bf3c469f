"""host.session.golden: a session like any other, with the trainer's numbers."""

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.session.base import Session
from mgd.host.session.golden import GoldenSession
from tests.support.simulation import table_task

SEED = 3


@pytest.fixture
def task(tmp_path):
    return table_task(tmp_path)


@pytest.fixture
def session(task):
    session = GoldenSession(task.spec.network, lanes=3)
    session.load_samples(*task.datasets())
    session.write_weights(initial_weights(task.spec.network, SEED))
    session.start(task.spec.settings, SEED)
    return session


@pytest.fixture
def trainer(task):
    train, _ = task.datasets()
    weights = [w[None] for w in initial_weights(task.spec.network, SEED)]
    return Trainer(
        task.spec.network, task.spec.settings, train.codes, train.labels, weights, [SEED]
    )


def test_it_is_a_session(session, task):
    assert isinstance(session, Session)
    assert (session.backend, session.lanes, session.network) == ("golden", 3, task.spec.network)


def test_trains_as_the_trainer_does(session, trainer):
    before = session.read_weights()
    session.train(10)
    session.train(37)
    trainer.train(37)
    for got, wanted in zip(session.read_weights(), trainer.weights, strict=True):
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, wanted[0])
    assert any((a != b).any() for a, b in zip(before, session.read_weights(), strict=True))
    counters = session.counters()
    assert counters.step == 37
    assert counters.cost_sum == trainer.cost_sum[0] > 0
    assert counters.weight_saturations == trainer.weight_saturations[0]
    assert counters.activation_saturations == trainer.activation_saturations[0]
    assert (counters.clocks, counters.train_clocks, counters.link_errors) == (0, 0, 0)


def test_evaluates_either_set(session, trainer, task):
    session.train(30)
    trainer.train(30)
    for name, samples in zip(("train", "test"), task.datasets(), strict=True):
        measured = session.evaluate(name)
        correct, cost = trainer.evaluate(samples.codes, samples.labels)
        assert (measured.correct, measured.cost_sum) == (correct[0], cost[0])
        assert measured.samples == len(samples)
        assert measured.accuracy == correct[0] / len(samples)
        assert measured.cost == cost[0] / len(samples) / 2**12
    assert session.evaluate("test").samples != session.evaluate("train").samples


def test_evaluating_changes_nothing(session, task):
    other = GoldenSession(task.spec.network)
    other.load_samples(*task.datasets())
    other.write_weights(initial_weights(task.spec.network, SEED))
    other.start(task.spec.settings, SEED)
    other.train(30)
    for until in range(1, 31):
        session.train(until)
        session.evaluate("train")
        session.read_weights()
    for a, b in zip(session.read_weights(), other.read_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert session.counters() == other.counters()


def test_the_seed_decides(session, task):
    session.train(20)
    first = session.read_weights()
    session.start(task.spec.settings, SEED)  # from the weights that were written
    session.train(20)
    again = session.read_weights()
    session.start(task.spec.settings, SEED + 1)
    session.train(20)
    other = session.read_weights()
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_progress_is_told(session, monkeypatch):
    monkeypatch.setattr("mgd.host.session.golden.PROGRESS_SECONDS", 0)
    steps: list[int] = []
    session.train(5, steps.append)
    session.train(8, steps.append)
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]


def test_order_of_calls_and_closing(task, session):
    with pytest.raises(RuntimeError, match="start"):
        GoldenSession(task.spec.network).train(1)
    with session:
        pass
    session.close()
    with pytest.raises(RuntimeError, match="start"):
        session.train(1)


def test_settings_that_do_not_suit(session):
    with pytest.raises(UserError, match="tau_theta = 100"):
        session.start(Settings(rounding="residual", tau_theta=100), SEED)
