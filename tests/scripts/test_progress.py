"""What a training run shows while it runs."""

import io

from rich.console import Console

from mgd.host.runs.training import CurvePoint, run_training
from mgd.host.task.task import Task
from mgd.scripts.common.progress import BarReporter, PlainReporter
from tests.support.fake_session import FakeSession


def run(reporter):
    task = Task.load("xor").with_overrides(steps=60, eval_every=20)
    with reporter:
        run_training(FakeSession(task.spec.network, full_at=60), task, reporter)
    return reporter.console.file.getvalue()


def test_plain_lines_name_backend_and_hold_first_and_last():
    lines = run(PlainReporter(Console(file=io.StringIO(), width=40))).splitlines()
    assert lines[0].startswith("xor: 2-2-1, 9 parameters, method np, backend golden, 2 lanes")
    assert lines[1].startswith("step         0")
    assert lines[-1].startswith("step        60")
    assert "cost   3.5000" in lines[-1]
    assert "accuracy 100.00 %" in lines[-1]
    assert "7.0 clocks/step" in lines[-1]
    assert "steps/s" in lines[-1]


def test_plain_lines_are_not_many():
    reporter = PlainReporter(Console(file=io.StringIO(), width=40))
    with reporter:
        reporter._next = float("inf")
        for step in range(1, 1000):
            reporter.evaluated(CurvePoint(step, 1.0, 0.5, 1.0, 0))
    assert len(reporter.console.file.getvalue().splitlines()) == 1


def test_bar_ends_at_the_last_step():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    text = run(BarReporter(console))
    assert "step 60/60" in text
    assert "accuracy 100.00 %" in text
