"""`mgd study noise`: the accuracy that training reaches on imperfect hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from mgd.api.backends import say
from mgd.golden_model.imperfections import Imperfections
from mgd.golden_model.network import DELTA_EXP_MAX
from mgd.golden_model.settings import METHODS
from mgd.host.task.task import Task
from mgd.scripts.bench.group import json_option, record
from mgd.scripts.study.plot import COLOURS, check_results, figure, plot_option
from mgd.scripts.study.runs import accuracies, runs


class Sweep(NamedTuple):
    """One imperfection and the sizes of it that are tried; 0 and None are the perfect core."""

    field: str
    """Of Imperfections."""
    text: str
    levels: tuple[float | None, ...]


SWEEPS = {
    "cost": Sweep("cost_noise", "cost noise σ", (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
    "update": Sweep("update_noise", "update noise σ", (0.0, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1)),
    "gain": Sweep("gain", "gain mismatch σ", (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)),
    "offset": Sweep("offset", "offset mismatch σ", (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)),
    "stuck": Sweep("stuck", "stuck weight bits", (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)),
    "stuck-synapse": Sweep("stuck_synapse", "the same, memory whole", (0.0, 0.03, 0.1, 0.3, 1.0)),
    "cost-bits": Sweep("cost_bits", "fraction bits of the cost", (None, 10, 8, 6, 4, 2)),
}


def sweep(
    task: Task, name: str, seeds: list[int], steps: int, stuck_bits: int, delta_exps: list[int]
) -> list[dict[str, Any]]:
    """A row per level and δ: the accuracies after `steps` steps."""
    rows = []
    for exp in delta_exps:
        changed = task.with_overrides(delta_exp=exp)
        for level in SWEEPS[name].levels:
            one: dict[str, Any] = {SWEEPS[name].field: level}
            wrong = Imperfections(stuck_bits=stuck_bits, **one)
            trainer = runs(changed, seeds, imperfections=wrong)
            trainer.train(steps)
            found = accuracies(changed, trainer)
            say(f"{name} {level}, delta = 2^-{exp}: {100 * found.mean():.2f} %")
            spread = found.std(ddof=1) if len(seeds) > 1 else 0.0
            rows.append(
                {
                    "imperfection": name,
                    "level": level,
                    "delta_exp": exp,
                    "accuracy": float(found.mean()),
                    "error": float(spread / len(seeds) ** 0.5),
                    "lowest": float(found.min()),
                    "highest": float(found.max()),
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as text, a line per level."""
    lines = [f"{'':<28}{'delta':>7}{'accuracy':>10}{'± ':>8}{'lowest':>9}{'highest':>9}"]
    for r in rows:
        text = SWEEPS[r["imperfection"]].text
        level = f"{r['level']:g}" if r["level"] else "none"
        delta = f"2^-{r['delta_exp']}"
        lines.append(
            f"{text:<22}{level:>6}{delta:>7}{r['accuracy']:>10.2%}{r['error']:>8.2%}"
            f"{r['lowest']:>9.2%}{r['highest']:>9.2%}"
        )
    return lines


def draw(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """A panel per imperfection, a line per δ."""
    names = list(dict.fromkeys(r["imperfection"] for r in rows))
    with figure(path, len(names), title) as axes:
        for axis, name in zip(axes, names, strict=True):
            mine = [r for r in rows if r["imperfection"] == name]
            for colour, exp in zip(
                COLOURS, dict.fromkeys(r["delta_exp"] for r in mine), strict=False
            ):
                line = [r for r in mine if r["delta_exp"] == exp]
                labels = ["none" if not r["level"] else f"{r['level']:g}" for r in line]
                axis.errorbar(
                    np.arange(len(line)),
                    [100 * r["accuracy"] for r in line],
                    yerr=[100 * r["error"] for r in line],
                    color=colour,
                    marker="o",
                    markersize=3,
                    linewidth=1.2,
                    label=f"delta = 2^-{exp}",
                )
                axis.set_xticks(np.arange(len(line)), labels, fontsize=8)
            axis.set_xlabel(SWEEPS[name].text)
            axis.set_ylim(0, 103)
        axes[0].set_ylabel("test accuracy, %")


@click.command()
@click.argument("task_name", metavar="[TASK_OR_TOML]", default="nist7x7_easy")
@click.option("--method", type=click.Choice(METHODS), help="The task's own by default.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(list(SWEEPS)),
    help="Imperfection; more than once for several.  [default: all]",
)
@click.option("--seeds", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=4000, show_default=True)
@click.option(
    "--delta-exp",
    "delta_exps",
    multiple=True,
    type=click.IntRange(1, DELTA_EXP_MAX),
    help="Perturbation 2^-N; more than once for several.  [default: the task's own]",
)
@click.option(
    "--stuck-bits",
    type=click.IntRange(1, 17),
    default=8,
    show_default=True,
    help="Low bits of a weight among which bits are stuck.",
)
@plot_option
@json_option
def noise(
    task_name: str,
    method: str | None,
    kinds: tuple[str, ...],
    seeds: int,
    steps: int,
    delta_exps: tuple[int, ...],
    stuck_bits: int,
    plot_file: Path | None,
    json_file: Path | None,
) -> None:
    """Accuracy after training on imperfect hardware, against the size of each imperfection.

    Each seed has another initial network, other signs and other hardware.  Costs and weights are
    in natural units: a cost noise of 0.01 is 0.01 bits of cross-entropy.
    """
    check_results(json_file, plot_file)
    task = Task.load(task_name).with_overrides(method=method)
    exps = list(dict.fromkeys(delta_exps)) or [task.spec.settings.delta_exp]
    numbers = list(range(1, seeds + 1))
    title = (
        f"{task.name} ({task.spec.network.describe()}), {task.spec.method}, {steps:,} steps, "
        f"{seeds} seeds"
    )
    click.echo(title)
    rows: list[dict[str, Any]] = []
    for name in kinds or SWEEPS:
        rows += sweep(task, name, numbers, steps, stuck_bits, exps)
    click.echo("\n".join(table(rows)))
    if plot_file is not None:
        draw(rows, title, plot_file)
    common = {"task": task.name, "method": task.spec.method, "steps": steps, "seeds": seeds}
    common["stuck_bits"] = stuck_bits
    record(json_file, "study noise", [common | row for row in rows])
