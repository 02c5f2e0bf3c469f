"""Train a task on any session: the loop of training, evaluating, keeping and stopping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.run_spec import CoreSpec
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.settings import Settings
from mgd.host.data.encoding import Scaling
from mgd.host.data.preparation import Preparation
from mgd.host.data.targets import Fit
from mgd.host.runs.loop import TrainingLoop, interruptible
from mgd.host.runs.predict import outputs_of
from mgd.host.runs.progress import ACCURACY, R2, CurvePoint, Progress
from mgd.host.session.base import BoardLostError, Counters, Evaluation, Session
from mgd.host.session.state import State
from mgd.host.task.pipelining import check_checkpoints
from mgd.host.task.task import Task

LINK_BOUND = 0.05
"""A core that waited for samples for more than this part of its time is bound by the link."""
LOSSES_MAX = 3
"""Times that a board may lose the run without getting to another checkpoint."""


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
    watched: str = "test"
    """The samples that the curve is of: "validation" or "test"."""
    kept_step: int | None = None
    """The step whose weights these are, where it is not the last."""
    test: Evaluation | None = None
    """Of the weights on the test samples, at the end; None: the curve's last point is that."""
    fit: Fit | None = None
    """Of a regression: of the weights on the test samples."""
    samples: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """host.data.prepared.Prepared.counts()."""
    preparation: Preparation | None = None
    """From the columns of a table to codes."""
    core: CoreSpec = field(default_factory=CoreSpec)
    board_losses: int = 0
    """How often the board lost the run and was loaded again."""
    progress: Progress | None = None
    """The state from which the run can continue; None where it is complete, or cannot continue."""
    not_resumable: str | None = None
    """Why an interrupted run cannot continue."""

    @property
    def score(self) -> str:
        """ACCURACY, or R2 of a regression."""
        return R2 if self.network.regression else ACCURACY

    @property
    def accuracy(self) -> float:
        """Test accuracy at the end; R² of a regression."""
        if self.fit is not None:
            return self.fit.r2
        return self.curve[-1].test_accuracy if self.test is None else self.test.accuracy

    @property
    def cost(self) -> float:
        """Mean test cost at the end."""
        return self.curve[-1].test_cost if self.test is None else self.test.cost

    @property
    def wait_share(self) -> float | None:
        """Part of its time that the core stood still for lack of samples; None where there are no
        clocks, or all training samples were resident."""
        clocks, waited = self.counters.train_clocks, self.counters.wait_clocks
        return waited / (clocks + waited) if clocks and self.settings.resident else None

    @property
    def bound_by(self) -> str | None:
        """'link' or 'core': the one that limited the speed of the run."""
        share = self.wait_share
        return None if share is None else "link" if share > LINK_BOUND else "core"

    @property
    def clocks_per_step(self) -> float | None:
        """None where there are no clocks."""
        clocks = self.counters.train_clocks
        return clocks / self.steps if clocks and self.steps else None


def watching(task: Task) -> dict[str, Any]:
    """What a TrainingLoop of this task evaluates, by which score, and whether it keeps the best."""
    prepared = task.prepared
    watched = prepared.watched
    score = None
    if prepared.targets is not None:
        score = partial(_r2, task, watched)
    best = prepared.validation is not None and task.spec.keep == "best"
    return {"on": watched, "score": score, "keep_best": best}


def fit_of(task: Task, weights: list[np.ndarray], on: str) -> Fit:
    """Of a regression: how well these weights predict the targets of "validation" or "test".

    weights: integers.  The outputs are those of the golden model, and so of every core.
    """
    prepared, network = task.prepared, task.spec.network
    samples = prepared.test if on == "test" else prepared.validation
    assert samples is not None
    assert prepared.targets is not None
    assert prepared.preparation is not None
    scaling = prepared.preparation.targets
    assert scaling is not None
    outputs = outputs_of(weights, samples.codes, network, task.spec.settings.input_shift)
    return Fit.of(scaling.decode(outputs), prepared.targets[on])


def _r2(task: Task, on: str, weights: list[np.ndarray]) -> float:
    return fit_of(task, weights, on).r2


class Reporter:
    """Receives the events of a run.  This one shows nothing; override the methods you need."""

    def loading(self, samples: int, session: Session) -> None:
        """Samples and weights are about to be sent."""

    def started(self, task: Task, session: Session) -> None:
        """Samples and weights are loaded."""

    def resumed(self, progress: Progress) -> None:
        """After started(), where the run continues from a checkpoint."""

    def lost(self, error: BoardLostError, progress: Progress) -> None:
        """The board lost the run, which continues from `progress`."""

    def progress(self, step: int) -> None:
        """Called now and then between evaluations."""

    def evaluated(self, point: CurvePoint) -> None:
        """After each evaluation, that of step 0 included."""

    def stopping(self) -> None:
        """Ctrl-C was pressed; called inside a signal handler."""


@dataclass(frozen=True)
class Checkpointer:
    """Saves the run's progress every `every` steps, and its state at step 0."""

    every: int
    save: Callable[[Progress], None]


def run_training(
    session: Session,
    task: Task,
    reporter: Reporter | None = None,
    *,
    checkpointer: Checkpointer | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Load, train to the task's target or last step, read the weights back.

    checkpointer: saves checkpoints.  With one, a run that the board loses continues from the last
    one.  A pipelined run can only be saved at some steps: see
    host.task.pipelining.checkpoint_period.
    progress: continues from there; the results are those of a run without the interruption.

    Ctrl-C ends the run after the steps up to the next evaluation, with a full result; a second
    one raises KeyboardInterrupt at once.  The target is judged from the first trained steps on,
    so that lucky initial weights do not count.  Raises UserError for data that cannot be used
    and the errors of session and checkpointer.
    """
    run = _Run(session, task, reporter or Reporter(), checkpointer, progress)
    with interruptible(run.reporter.stopping) as interrupted:
        run.go(interrupted)
    return run.result(interrupted.is_set())


class _Run:
    def __init__(
        self,
        session: Session,
        task: Task,
        reporter: Reporter,
        checkpointer: Checkpointer | None,
        progress: Progress | None,
    ) -> None:
        self.session, self.task, self.reporter = session, task, reporter
        self.checkpointer = checkpointer
        self.spec = task.spec
        self.settings = task.spec.settings
        if checkpointer is not None:
            check_checkpoints(self.spec, checkpointer.every)
        # Asked before the run begins: a checkpoint cannot be had later.
        self.final: UserError | None = None
        """Why the run could not continue from the step where it stops, if so."""
        try:
            session.check_resumable(self.settings)
        except UserError as reason:
            if checkpointer is not None or progress is not None:
                raise
            self.final = reason
        self.saved = progress or Progress(self._first_state())
        """The progress from which the run continues if the board loses it."""
        self.earlier = self.saved
        """The progress that earlier programs made."""
        self.losses = self.saved.board_losses
        self.vain_losses = 0
        train = len(task.prepared.train)
        samples = (self.settings.resident or train) + len(task.prepared.test)
        reporter.loading(samples, session)
        self._load()
        reporter.started(task, session)
        if progress is not None:
            reporter.resumed(progress)
        elif checkpointer is not None:
            checkpointer.save(self.saved)
        self.begin = time.perf_counter()

    def go(self, interrupted: threading.Event) -> None:
        """Train until target, last step or interrupt; load again the data that a board loses."""
        while True:
            try:
                self._go(interrupted)
                return
            except BoardLostError as error:
                self.vain_losses += 1
                if self.checkpointer is None or self.vain_losses > LOSSES_MAX:
                    raise
                self.losses += 1
                self.reporter.lost(error, self.saved)
                self.session.recover()
                self._load()

    def result(self, interrupted: bool) -> RunResult:
        task, session, prepared = self.task, self.session, self.task.prepared
        spec, loop, now = self.spec, self.loop, self.last
        weights, kept_step = now.state.weights, None
        if loop.best is not None and loop.best.step != loop.step:
            weights, kept_step = loop.best.weights, loop.best.step
            session.write_weights(weights)
            session.start(self.settings, spec.seed)
        test = None if prepared.validation is None else session.evaluate("test")
        fit = None if prepared.targets is None else fit_of(task, weights, "test")
        stopped = interrupted and loop.reached is None and loop.step < loop.last
        return RunResult(
            task=task.name,
            backend=session.backend,
            method=spec.method,
            lanes=session.lanes,
            seed=spec.seed,
            steps=loop.step,
            target=spec.target,
            target_reached_at_step=loop.reached,
            interrupted=stopped,
            curve=loop.curve,
            counters=replace(
                self.counters, link_errors=now.link_errors, link_repeats=now.link_repeats
            ),
            weights=weights,
            wall_seconds=now.wall_seconds,
            network=session.network,
            settings=self.settings,
            config_digest=task.config_digest(),
            class_names=prepared.class_names,
            scaling=prepared.scaling,
            notes=prepared.notes,
            watched=prepared.watched,
            kept_step=kept_step,
            test=test,
            fit=fit,
            samples=prepared.counts(),
            preparation=prepared.preparation,
            core=spec.core,
            board_losses=self.losses,
            progress=now if stopped and self.final is None else None,
            not_resumable=str(self.final) if stopped and self.final else None,
        )

    def _first_state(self) -> State:
        network = self.session.network
        weights = initial_weights(network, self.spec.seed, self.spec.init_gain)
        nothing = [np.zeros_like(w) for w in weights] if network.accumulators else []
        return State(0, weights, nothing)

    def _load(self) -> None:
        """Put `saved` into the session."""
        session, prepared, state = self.session, self.task.prepared, self.saved.state
        first = state.take(self.settings)
        session.load_samples(prepared.train, prepared.test, self.settings, first)
        if prepared.validation is not None:
            session.add_samples("validation", prepared.validation)
        if state.step:
            session.restore(self.settings, self.spec.seed, state)
        else:
            session.write_weights(state.weights)
            session.start(self.settings, self.spec.seed)
        self.loop = TrainingLoop(
            session,
            step=state.step,
            last=self.spec.steps,
            eval_every=self.spec.eval_every,
            target=self.spec.target,
            cost_sum=self.saved.cost_sum,
            curve=self.saved.curve,
            on_progress=self.reporter.progress,
            evaluated=self.reporter.evaluated,
            pause_every=self.checkpointer.every if self.checkpointer else None,
            paused=self._keep,
            **watching(self.task),
            best=self.saved.best,
        )

    def _go(self, interrupted: threading.Event) -> None:
        if not self.loop.curve:
            self.loop.evaluate_first()
        self.loop.run(interrupted)
        self.last, self.counters = self._progress(), self.session.counters()

    def _keep(self) -> None:
        assert self.checkpointer is not None
        self.saved = self._progress()
        self.checkpointer.save(self.saved)
        self.vain_losses = 0

    def _progress(self) -> Progress:
        if self.final is None:
            state = self.session.read_state()
        else:
            state = State(self.loop.step, self.session.read_weights(), [])
        counters, earlier = self.session.counters(), self.earlier
        return Progress(
            state=state,
            curve=tuple(self.loop.curve),
            cost_sum=self.loop.cost_sum,
            wall_seconds=earlier.wall_seconds + time.perf_counter() - self.begin,
            link_errors=earlier.link_errors + counters.link_errors,
            link_repeats=earlier.link_repeats + counters.link_repeats,
            board_losses=self.losses,
            best=self.loop.best,
        )
