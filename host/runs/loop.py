"""The one training loop: train, evaluate, note the curve, stop at the target."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mgd.host.runs.progress import Best, CurvePoint
from mgd.host.session.base import Session


class TrainingLoop:
    """Trains a session that is loaded and started, from its step on.

    Evaluates after every `eval_every` steps and after the last one.  It stops at step `last`, at
    the first evaluation of trained weights with at least the accuracy `target`, or where
    evaluated() returns True.
    """

    def __init__(
        self,
        session: Session,
        *,
        step: int,
        last: int,
        eval_every: int,
        target: float | None,
        origin: int = 0,
        cost_sum: int = 0,
        curve: Sequence[CurvePoint] = (),
        on_progress: Callable[[int], None] | None = None,
        evaluated: Callable[[CurvePoint], Any] | None = None,
        pause_every: int | None = None,
        paused: Callable[[], None] | None = None,
        on: str = "test",
        score: Callable[[list[np.ndarray]], float] | None = None,
        keep_best: bool = False,
        best: Best | None = None,
    ) -> None:
        """step, cost_sum, curve: where the session is, the cost_sum of its counters at the last
        evaluation, and the points so far.  origin: steps are counted from there for `eval_every`.
        on_progress: hears step numbers on the way.  pause_every, paused: called between two steps
        after every so many, counted from 0, but not where training stops.
        on: the set that is evaluated.  score: of weights, in place of the accuracy.  keep_best:
        whether `best` follows, from the one given on.
        """
        self.session, self.last, self.target = session, last, target
        self.eval_every, self.origin = eval_every, origin
        self.step, self.cost_sum, self.curve = step, cost_sum, list(curve)
        self._on_progress, self._evaluated = on_progress, evaluated
        self._pause_every, self._paused = pause_every, paused
        self._on, self._score, self._keep_best, self.best = on, score, keep_best, best
        self._evaluated_at, self._stopped = step, False
        if self.curve:
            self._evaluated_at = self.curve[-1].step

    @property
    def reached(self) -> int | None:
        """The step at which the target was reached."""
        if self.target is None or not self.curve:
            return None
        point = self.curve[-1]
        # Lucky initial weights do not count.
        return point.step if point.step > 0 and point.test_accuracy >= self.target else None

    def run(self, interrupted: threading.Event) -> None:
        """Train until the loop stops, or until the first evaluation after `interrupted` is set."""
        while self.step < self.last and self.reached is None and not self._stopped:
            if interrupted.is_set() and self.step == self._evaluated_at:
                break
            due = self.origin + _following(self.step - self.origin, self.eval_every)
            pause = _following(self.step, self._pause_every) if self._pause_every else due
            until = min(due, pause, self.last)
            self.session.train(until, self._on_progress)
            self.step = until
            if until in (due, self.last):
                self._after_training()
            goes_on = until < self.last and self.reached is None
            if self._pause_every and self._paused and until == pause and goes_on:
                self._paused()

    def evaluate_first(self) -> None:
        """A point of the curve for the weights before any training."""
        self._evaluate(None)

    def _after_training(self) -> None:
        total = self.session.counters().cost_sum
        # Both costs of a step are in the sum, hence the 2.
        steps = 2 * (self.step - self._evaluated_at)
        mean = (total - self.cost_sum) / (steps << self.session.network.cost_frac)
        self.cost_sum = total
        self._evaluate(mean)

    def _evaluate(self, train_cost: float | None) -> None:
        measured, clocks = self.session.evaluate(self._on), self.session.counters().train_clocks
        accuracy, weights = measured.accuracy, None
        if self._score is not None:
            weights = self.session.read_weights()
            accuracy = self._score(weights)
        point = CurvePoint(self.step, train_cost, accuracy, measured.cost, clocks)
        self.curve.append(point)
        # Lucky initial weights do not count here either.
        if self._keep_best and self.step and (self.best is None or self.best.beaten_by(point)):
            found = self.session.read_weights() if weights is None else weights
            self.best = Best(self.step, accuracy, measured.cost, [np.array(w) for w in found])
        self._evaluated_at = self.step
        if self._evaluated is not None:
            self._stopped = self._evaluated(point) is True


def _following(step: int, every: int) -> int:
    """The first multiple of `every` after `step`."""
    return (step // every + 1) * every


@contextmanager
def interruptible(stopping: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second raises KeyboardInterrupt as usual.

    stopping: called at the first one, inside the signal handler.  A frame on the link is never cut
    in half by the first one.  Outside the main thread, where Python delivers no signals, the event
    is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handler(_number: int, _frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if stopping is not None:
            stopping()

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
