"""`mgd study steps`: steps to a solution, of a task and of variants of it, over many seeds."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from mgd.api.backends import say
from mgd.boards.estimate.kinds import kind_of
from mgd.golden_model.errors import UserError
from mgd.host.task.task import Task
from mgd.protocol.capabilities import missing
from mgd.protocol.registers import FOLDED
from mgd.rtl.core_kinds import config_for
from mgd.scripts.bench.group import json_option, record
from mgd.scripts.common.clocks import looked_at
from mgd.scripts.study.plot import COLOURS, check_results, figure, plot_option
from mgd.scripts.study.runs import accuracies, first_steps, runs


def varied(task: Task, text: str) -> Task:
    """`task` with the keys of [training] that `text` gives: eta_exp = 8, momentum_exp = 3.

    Raises UserError where that is no list of keys and values, or cannot be used.
    """
    try:
        keys = tomllib.loads(f"keys = {{ {text} }}")["keys"]
    except tomllib.TOMLDecodeError:
        raise UserError(
            f"--variant {text!r}: no list of keys as in [training]; write for example "
            "--variant 'eta_exp = 8, momentum_exp = 3'"
        ) from None
    return task.with_overrides(**keys)


SAMPLES_LOOKED_AT = 1000
"""For the mean of clocks that depend on the sample."""


def clocks_per_step(task: Task) -> float | None:
    """Of the task's folded core, reckoned; None where no such core can train it."""
    network, settings = task.spec.network, task.spec.settings
    try:
        config = config_for(task.with_overrides(core=FOLDED).core_layout())
    except UserError:
        return None
    if missing(network, settings):
        return None
    codes = looked_at(task, SAMPLES_LOOKED_AT)
    return kind_of(config).clocks_per_step(config, settings, codes)


def measure(task: Task, seeds: list[int], target: float, every: int, limit: int) -> dict[str, Any]:
    """Steps to `target` per seed, their quartiles over all seeds, and how many arrived."""
    trainer = runs(task, seeds)
    reached = first_steps(task, trainer, target, every, limit)
    done = np.where(reached > 0, reached, limit + every)
    low, median, high = np.percentile(done, (25, 50, 75), method="lower")
    clocks = clocks_per_step(task)
    arrived = clocks is not None and median <= limit
    return {
        "reached": int((reached > 0).sum()),
        "median": int(median) if median <= limit else None,
        "lower_quartile": int(low) if low <= limit else None,
        "upper_quartile": int(high) if high <= limit else None,
        "clocks_per_step": clocks and round(clocks, 2),
        "median_clocks": round(clocks * median) if clocks and arrived else None,
        "steps": reached.tolist(),
        "accuracy": float(accuracies(task, trainer).mean()),
        "trained_steps": trainer.step_number,
    }


def line(row: dict[str, Any], seeds: int, limit: int) -> str:
    """A row as text."""
    found = [row[key] for key in ("median", "lower_quartile", "upper_quartile")]
    shown = [f"{value:,}" if value else f">{limit:,}" for value in found]
    each, total = row["clocks_per_step"], row["median_clocks"]
    clocks = f"{each:.1f}" if each else "-"
    millions = f"{total / 1e6:.2f}" if total else "-"
    return (
        f"{row['reached']:>4} of {seeds:<4}{shown[0]:>10}{shown[1]:>11}{shown[2]:>11}"
        f"{clocks:>13}{millions:>10}  {row['variant']}"
    )


def draw(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Part of the seeds that have arrived, against steps."""
    with figure(path, 1, title) as (axis,):
        axis.figure.set_size_inches(7.2, 4.4)
        for number, row in enumerate(rows):
            arrived = sorted(step for step in row["steps"] if step)
            count = len(row["steps"])
            axis.step(
                [0, *arrived, row["trained_steps"]],
                [
                    0,
                    *(100 * (k + 1) / count for k in range(len(arrived))),
                    100 * len(arrived) / count,
                ],
                where="post",
                color=COLOURS[number % len(COLOURS)],
                linestyle=("-", "--", ":")[number // len(COLOURS) % 3],
                label=row["variant"],
            )
        axis.set_xlabel("training step")
        axis.set_ylabel("seeds at the target, %")
        axis.set_ylim(0, 103)


_GOAL_OPTIONS = (
    click.option("--method", metavar="wp|np", help="The task's own by default."),
    click.option(
        "--target",
        type=click.FloatRange(0, 1, min_open=True),
        help="Test accuracy.  [default: the task's own]",
    ),
    click.option("--seeds", type=click.IntRange(min=1), default=16, show_default=True),
    click.option(
        "--steps", type=click.IntRange(min=1), help="Most steps.  [default: the task's own]"
    ),
    click.option(
        "--every",
        type=click.IntRange(min=1),
        help="Steps between evaluations.  [default: the task's own]",
    ),
)


def goal_options(command: Callable) -> Callable:
    """The options of a study of steps to an accuracy: method, target, seeds, steps, every."""
    for option in reversed(_GOAL_OPTIONS):
        command = option(command)
    return command


def goal(
    task: Task, target: float | None, steps: int | None, every: int | None
) -> tuple[float, int, int]:
    """(target, most steps, steps between evaluations), the task's own where not given."""
    target = target or task.spec.target
    if target is None:
        raise UserError(f"{task.name} has no target; give one, for example --target 0.95")
    return target, steps or task.spec.steps, every or task.spec.eval_every


@click.command()
@click.argument("task_name", metavar="TASK_OR_TOML")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="KEYS",
    help="Keys of [training] that differ: 'eta_exp = 8, momentum_exp = 3'; any number of times.",
)
@goal_options
@plot_option
@json_option
def steps(
    task_name: str,
    variants: tuple[str, ...],
    method: str | None,
    target: float | None,
    seeds: int,
    steps: int | None,
    every: int | None,
    plot_file: Path | None,
    json_file: Path | None,
) -> None:
    """Steps until the test accuracy first reaches the target, for many seeds of the golden model.

    The first row is TASK_OR_TOML as it is, the others differ from it by what --variant says.
    Median and quartiles are over all seeds, those that never arrive counted as the slowest.
    clocks/step is reckoned for the task's folded core, and M clocks is the median in its clocks.
    """
    check_results(json_file, plot_file)
    task = Task.load(task_name).with_overrides(method=method)
    target, limit, every = goal(task, target, steps, every)
    # Errors appear before the work.
    tasks = [("as it is", task), *((text, varied(task, text)) for text in variants)]
    numbers = list(range(1, seeds + 1))
    title = (
        f"{task.name} ({task.spec.network.describe()}), {task.spec.method}, "
        f"steps to {100 * target:g} %, evaluated every {every:,}, at most {limit:,}"
    )
    click.echo(
        f"{title}\n{'reached':<12}{'median':>10}{'quartiles':>22}{'clocks/step':>13}"
        f"{'M clocks':>10}"
    )
    rows = []
    for text, one in tasks:
        say(f"{text} ...")
        rows.append({"variant": text} | measure(one, numbers, target, every, limit))
        click.echo(line(rows[-1], seeds, limit))
    if plot_file is not None:
        draw(rows, title, plot_file)
    common = {"task": task.name, "method": task.spec.method, "target": target, "seeds": seeds}
    common |= {"every": every, "limit": limit}
    record(json_file, "study steps", [common | row for row in rows])
