"""The training loop, on a session that only counts."""

import os
import signal

import numpy as np
import pytest

from mgd.golden_model.seeds import initial_weights
from mgd.host.runs.training import Reporter, run_training
from mgd.host.task.task import Task
from tests.support.fake_session import FakeSession


def xor(**overrides) -> Task:
    values = {"steps": 250, "eval_every": 100, "seed": 3, "target": 1.0, **overrides}
    return Task.load("xor").with_overrides(**values)


class Listener(Reporter):
    def __init__(self):
        self.points, self.steps, self.stops, self.starts = [], [], 0, 0

    def started(self, task, session):
        self.starts += 1

    def progress(self, step):
        self.steps.append(step)

    def evaluated(self, point):
        self.points.append(point)

    def stopping(self):
        self.stops += 1


def test_order_of_calls_and_what_is_loaded():
    task = xor()
    session = FakeSession(task.spec.network, full_at=1000)
    result = run_training(session, task)
    assert session.calls == [
        "load_samples", "write_weights", "start", "train 100", "train 200", "train 250",
    ]  # fmt: skip
    assert session.seed == 3
    assert session.settings == task.spec.settings
    np.testing.assert_array_equal(session.loaded[0].codes, task.datasets()[0].codes)
    expected = initial_weights(task.spec.network, 3, task.spec.init_gain)
    for found, wanted in zip(result.weights, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_curve_and_costs():
    task = xor()
    listener = Listener()
    result = run_training(FakeSession(task.spec.network, full_at=1000), task, listener)
    assert [p.step for p in result.curve] == [0, 100, 200, 250]
    assert result.curve[0].train_cost is None
    assert [p.train_cost for p in result.curve[1:]] == [3.5, 3.5, 3.5]
    assert [p.test_accuracy for p in result.curve] == [0, 0.1, 0.2, 0.25]
    assert [p.clocks for p in result.curve] == [0, 700, 1400, 1750]
    assert (result.steps, result.accuracy, result.clocks_per_step) == (250, 0.25, 7.0)
    assert result.target_reached_at_step is None
    assert not result.interrupted
    assert listener.points == result.curve
    assert listener.steps == [100, 200, 250]
    assert listener.starts == 1


def test_stops_at_the_first_evaluation_at_the_target():
    task = xor(target=0.15)
    result = run_training(FakeSession(task.spec.network, full_at=1000), task)
    assert (result.steps, result.target_reached_at_step) == (200, 200)


def test_an_accuracy_equal_to_the_target_is_enough():
    task = xor(target=0.1)
    result = run_training(FakeSession(task.spec.network, full_at=1000), task)
    assert result.target_reached_at_step == 100


def test_lucky_initial_weights_do_not_count():
    task = xor()
    session = FakeSession(task.spec.network, full_at=1e-9)
    session.step = 1
    assert run_training(session, task).target_reached_at_step == 100


def test_no_target_runs_all_steps():
    task = Task.load("xor")
    bare = Task.parse(
        '[task]\nname="x"\n[data]\nsource="xor"\n[network]\nlayers=[2,2,1]\n'
        "[training]\nsteps=30\neval_every=10\n",
        "x.toml",
        task.folder,
    )
    result = run_training(FakeSession(bare.spec.network, full_at=5), bare)
    assert (result.steps, result.target_reached_at_step) == (30, None)


def test_first_interrupt_finishes_the_interval_and_keeps_the_result():
    task = xor()
    session = FakeSession(task.spec.network, full_at=1000)
    session.on_train = lambda step: os.kill(os.getpid(), signal.SIGINT)
    listener = Listener()
    before = signal.getsignal(signal.SIGINT)
    result = run_training(session, task, listener)
    assert result.interrupted
    assert (result.steps, len(result.curve), listener.stops) == (100, 2, 1)
    assert signal.getsignal(signal.SIGINT) is before


def test_second_interrupt_aborts():
    task = xor()
    session = FakeSession(task.spec.network, full_at=1000)

    def twice(_step):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    session.on_train = twice
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_training(session, task)
    assert signal.getsignal(signal.SIGINT) is before
