"""Shows a training run: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mgd.api.backends import say
from mgd.host.runs.progress import ACCURACY, R2, CurvePoint, score_name, score_text
from mgd.host.runs.progress import Progress as RunProgress
from mgd.host.runs.training import Reporter
from mgd.host.session.base import BoardLostError, Session
from mgd.host.task.pipelining import schedule_text
from mgd.host.task.task import Task

LINE_SECONDS = 2.0
"""Plain lines come no more often than this."""


class ShownReporter(Reporter):
    """The common part of both displays; a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps = 0
        self._begin = time.perf_counter()
        self._score = ACCURACY
        self._from = 0
        """The step at which this program began."""

    def loading(self, samples: int, session: Session) -> None:
        if session.backend != "golden":
            say(f"loading {samples:,} samples over the link")

    def started(self, task: Task, session: Session) -> None:
        self._score = R2 if session.network.regression else ACCURACY
        spec = task.spec
        self.steps = spec.steps
        self._begin = time.perf_counter()
        parameters = session.network.parameters
        self.console.print(
            f"{task.name}: {session.network.describe()}, {parameters:,} parameters, "
            f"method {spec.method}, backend {session.backend}, {session.lanes} lanes, "
            f"{schedule_text(spec.schedule)}seed {spec.seed}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def resumed(self, progress: RunProgress) -> None:
        self._from = progress.state.step
        self.console.print(f"going on from step {self._from:,}", highlight=False)

    def lost(self, error: BoardLostError, progress: RunProgress) -> None:
        self._from = progress.state.step
        self._begin = time.perf_counter()
        self.console.print(
            f"{str(error).split('; ')[0]}; it is loaded again, from step {self._from:,}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def stopping(self) -> None:
        self.console.print("stopping at the next evaluation; Ctrl-C again drops the run")

    def describe(self, point: CurvePoint) -> str:
        """cost, accuracy, steps/s and clocks/step at a point."""
        cost = point.test_cost if point.train_cost is None else point.train_cost
        shown = score_text(self._score, point.test_accuracy)
        text = f"cost {cost:8.4f}  {score_name(self._score)} {shown:>8}"
        if point.step > self._from:
            rate = (point.step - self._from) / max(time.perf_counter() - self._begin, 1e-9)
            text += f"  {rate:,.0f} steps/s"
            if point.clocks:
                text += f"  {point.clocks / point.step:,.1f} clocks/step"
        return text

    def __enter__(self) -> ShownReporter:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


class PlainReporter(ShownReporter):
    """A line per evaluation, at most one in LINE_SECONDS; the first and the last always."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._next = 0.0
        self._held: CurvePoint | None = None

    def evaluated(self, point: CurvePoint) -> None:
        now = time.perf_counter()
        if point.step == 0 or now >= self._next:
            self._print(point)
            self._next, self._held = now + LINE_SECONDS, None
        else:
            self._held = point

    def _print(self, point: CurvePoint) -> None:
        line = f"step {point.step:>9,}  {self.describe(point)}"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __exit__(self, *exc: object) -> None:
        if self._held is not None:
            self._print(self._held)


class BarReporter(ShownReporter):
    """A bar that follows every progress report."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar = Progress(
            TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=console,
        )

    def started(self, task: Task, session: Session) -> None:
        super().started(task, session)
        self._bar.start()
        self._id = self._bar.add_task("", total=task.spec.steps, text="")

    def progress(self, step: int) -> None:
        self._bar.update(self._id, completed=step)

    def evaluated(self, point: CurvePoint) -> None:
        self._bar.update(self._id, completed=point.step, text=self.describe(point))

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()


def make_reporter() -> ShownReporter:
    """The bar where standard output is a terminal, lines otherwise."""
    console = Console()
    return BarReporter(console) if console.is_terminal else PlainReporter(console)
