"""A run as `mgd watch` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mgd.golden_model.settings import SEQUENTIAL, schedule_of
from mgd.host.runs.progress import ACCURACY, CurvePoint, score_name, score_text
from mgd.host.runs.stored import StoredRun
from mgd.host.task.pipelining import schedule_text

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 40


@dataclass
class RunView:
    """A run, from its live log or from its folder."""

    what: dict[str, Any] = field(default_factory=dict)
    """task, network, parameters, method, backend, lanes, schedule, seed, steps, target."""
    started: bool = False
    points: list[CurvePoint] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    """Since the training began, or went on, when the last event came."""
    first: int = 0
    """The step at which it began or went on."""
    ended: bool = False
    error: str | None = None
    folder: str | None = None
    """Where it was written."""

    @classmethod
    def of(cls, run: StoredRun) -> RunView:
        """A run that has ended."""
        values = run.values
        layers = values["network"]["layers"]
        what = {key: values[key] for key in ("task", "backend", "method", "lanes", "seed")}
        # Runs of earlier versions know of none.
        what["schedule"] = schedule_of(values["settings"].get("update_delay", 0))
        what["network"] = "-".join(map(str, layers))
        what["parameters"] = sum(w.size for w in run.weights)
        what |= {"steps": values["steps"], "target": values["target"]}
        what |= {key: values[key] for key in ("score", "watched") if key in values}
        seconds = values["wall_seconds"]
        return cls(
            what, True, run.curve, values["steps"], seconds, ended=True, folder=str(run.folder)
        )

    def hear(self, event: dict[str, Any]) -> None:
        """One line of the live log."""
        kind = event.get("event")
        if kind is None:
            self.what = event
            return
        if kind != "ended":  # by then the run was written, too
            self.seconds = event["seconds"]
        if kind == "started":
            self.started = True
            self.what["lanes"] = event["lanes"]
        elif kind == "from":
            self.points = [CurvePoint(**point) for point in event["curve"]]
            self.step = self.first = event["step"]
        elif kind == "progress":
            self.step = event["step"]
        elif kind == "point":
            keys = CurvePoint.__dataclass_fields__
            self.points.append(CurvePoint(**{key: event[key] for key in keys}))
            self.step = event["step"]
        elif kind == "ended":
            self.ended, self.error, self.folder = True, event["error"], event["folder"]

    # -- as text ----------------------------------------------------------------------------

    def title(self) -> str:
        """digits: 64-32-10, 2,410 parameters, method np, backend sim, 8 lanes, seed 1"""
        what = self.what
        return (
            f"{what['task']}: {what['network']}, {what['parameters']:,} parameters, method "
            f"{what['method']}, backend {what['backend']}, {what['lanes']} lanes, "
            f"{schedule_text(what.get('schedule', SEQUENTIAL))}seed {what['seed']}"
        )

    def line(self) -> str:
        """The last evaluation and the speed."""
        if not self.started:
            return "preparing: building, loading"
        if not self.points:
            return f"step {self.step:>9,}"
        point = self.points[-1]
        cost = point.test_cost if point.train_cost is None else point.train_cost
        score = self.what.get("score", ACCURACY)
        shown = score_text(score, point.test_accuracy)
        text = f"step {point.step:>9,}  cost {cost:8.4f}  {score_name(score)} {shown:>8}"
        if rate := self._rate():
            text += f"  {rate:,.0f} steps/s"
        if point.step and point.clocks:
            text += f"  {point.clocks / point.step:,.1f} clocks/step"
        return text

    def left(self) -> str:
        """How long it may still take; empty where nothing is known."""
        rate = self._rate()
        if self.ended or not rate:
            return ""
        seconds = (self.what["steps"] - self.step) / rate
        target = ", or until the target" if self.what["target"] is not None else ""
        return f"at most {duration(seconds)} left{target}"

    def _rate(self) -> float:
        """Steps per second; 0 where nothing is known."""
        return (self.step - self.first) / self.seconds if self.seconds else 0.0

    # -- on a terminal ----------------------------------------------------------------------

    def panel(self) -> Group:
        """Title, bar, curves and numbers; for a terminal."""
        parts: list[Any] = [Text(self.title(), style="bold")]
        total = max(self.what["steps"], 1)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            f"step {self.step:,} of {total:,}" if not self.ended else f"{self.step:,} steps",
            ProgressBar(total=total, completed=self.step, width=24),
            duration(self.seconds),
            self.left(),
        )
        parts.append(bar)
        if self.points:
            curves = Table.grid(padding=(0, 1))
            score, watched = self.what.get("score", ACCURACY), self.what.get("watched", "test")
            first_form = "{:.1%}" if score == ACCURACY else "{:.3f}"
            for name, values, form in (
                (score_name(score), [p.test_accuracy for p in self.points], first_form),
                ("cost", [p.test_cost for p in self.points], "{:.4g}"),
            ):
                ends = [form.format(values[k]).replace("%", " %") for k in (0, -1)]
                title = f"{name} ({watched})"
                curves.add_row(title, ends[0], sparkline(values, CURVE_WIDTH), ends[1])
            parts.append(curves)
        parts.append(Text(self.line()))
        return Group(*parts)


def sparkline(values: Sequence[float], width: int) -> str:
    """`values` as bars from the smallest to the largest, at most `width` of them.

    Each bar is the mean of those that fall on it.
    """
    count = min(width, len(values))
    edges = [k * len(values) // count for k in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def duration(seconds: float) -> str:
    """5.2 s, 3:07 min, 2:05 h, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02} h" if hours < 48 else f"{hours // 24} d {hours % 24} h"
