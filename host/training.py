"""Train a task on any session: the loop of training, evaluating and stopping."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from golden_model.network import Network
from golden_model.seeds import initial_weights
from golden_model.settings import Settings
from host.encoding import Scaling
from host.session import Counters, Session
from host.task import Task


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation."""

    step: int
    train_cost: float | None
    """Mean cost per training step since the point before; None at step 0."""
    test_accuracy: float
    test_cost: float
    clocks: int
    """Clocks spent training so far; 0 for the golden model."""


@dataclass(frozen=True)
class RunResult:
    """All that a run has to say."""

    task: str
    backend: str
    method: str
    lanes: int
    seed: int
    steps: int
    """Steps done."""
    target: float | None
    target_reached_at_step: int | None
    """The first evaluation at or above the target, or None."""
    interrupted: bool
    curve: list[CurvePoint]
    """Starts with the initial weights at step 0."""
    counters: Counters
    weights: list[np.ndarray]
    """Final weights as integers, per layer (nodes, fan_in + 1), the bias last."""
    wall_seconds: float
    """Training and evaluation, without loading."""
    network: Network
    settings: Settings
    config_digest: str
    class_names: tuple[str, ...]
    scaling: Scaling | None
    notes: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """Test accuracy at the end."""
        return self.curve[-1].test_accuracy

    @property
    def cost(self) -> float:
        """Mean test cost at the end."""
        return self.curve[-1].test_cost

    @property
    def clocks_per_step(self) -> float | None:
        """None where there are no clocks."""
        clocks = self.counters.train_clocks
        return clocks / self.steps if clocks and self.steps else None


class Reporter:
    """Hears how the training goes.  This one says nothing; override what you want to show."""

    def loading(self, samples: int, session: Session) -> None:
        """Samples and weights are about to be sent."""

    def started(self, task: Task, session: Session) -> None:
        """Samples and weights are loaded."""

    def progress(self, step: int) -> None:
        """Called now and then between evaluations."""

    def evaluated(self, point: CurvePoint) -> None:
        """After each evaluation, that of step 0 included."""

    def stopping(self) -> None:
        """Ctrl-C was pressed; called inside a signal handler."""


def run_training(session: Session, task: Task, reporter: Reporter | None = None) -> RunResult:
    """Load, train to the task's target or last step, read the weights back.

    Ctrl-C ends the run after the steps up to the next evaluation, with a full result; a second
    one raises KeyboardInterrupt at once.  The target is judged from the first trained steps on,
    so that lucky initial weights do not count.  Raises UserError for data that cannot be used
    and what the session raises.
    """
    reporter = reporter or Reporter()
    network, settings = session.network, task.settings()
    prepared = task.prepared
    reporter.loading(len(prepared.train) + len(prepared.test), session)
    session.load_samples(prepared.train, prepared.test)
    session.write_weights(initial_weights(network, task.seed, task.init_gain))
    session.start(settings, task.seed)
    reporter.started(task, session)

    begin = time.perf_counter()
    step, cost_sum, reached = 0, 0, None
    curve = [_evaluate(session, 0, None)]
    reporter.evaluated(curve[-1])
    with interruptible(reporter) as interrupted:
        while step < task.steps and reached is None and not interrupted.is_set():
            until = min(step + task.eval_every, task.steps)
            session.train(until, reporter.progress)
            total = session.counters().cost_sum
            # Both costs of a step are in the sum, hence the 2.
            mean = (total - cost_sum) / (2 * (until - step) << network.cost_frac)
            step, cost_sum = until, total
            curve.append(_evaluate(session, step, mean))
            reporter.evaluated(curve[-1])
            if task.target is not None and curve[-1].test_accuracy >= task.target:
                reached = step
        stopped = interrupted.is_set() and reached is None and step < task.steps
    seconds = time.perf_counter() - begin
    weights = session.read_weights()
    return RunResult(
        task=task.name,
        backend=session.backend,
        method=task.method,
        lanes=session.lanes,
        seed=task.seed,
        steps=step,
        target=task.target,
        target_reached_at_step=reached,
        interrupted=stopped,
        curve=curve,
        counters=session.counters(),
        weights=weights,
        wall_seconds=seconds,
        network=network,
        settings=settings,
        config_digest=task.config_digest(),
        class_names=prepared.class_names,
        scaling=prepared.scaling,
        notes=prepared.notes,
    )


def _evaluate(session: Session, step: int, train_cost: float | None) -> CurvePoint:
    measured = session.evaluate("test")
    return CurvePoint(
        step, train_cost, measured.accuracy, measured.cost, session.counters().train_clocks
    )


@contextmanager
def interruptible(reporter: Reporter) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second raises KeyboardInterrupt as usual.

    A frame on the link is never cut in half by the first one.  Outside the main thread, where
    Python delivers no signals, the event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handler(_number: int, _frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        reporter.stopping()

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
