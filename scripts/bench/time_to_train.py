"""`mgd bench time-to-train`: from the first step to a target, on each core and on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np

from mgd.api.backends import say
from mgd.golden_model.forward import evaluate
from mgd.golden_model.seeds import initial_weights, permutation
from mgd.golden_model.settings import METHODS, PIPELINED, SEQUENTIAL, Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.task.task import Task
from mgd.rtl.core_kinds import config_for, gateware_of
from mgd.scripts.bench.group import json_option, record
from mgd.scripts.bench.peer_programs import GoldenPeer, NotInstalledError, Problem
from mgd.scripts.bench.peers_native import NativePeer
from mgd.scripts.bench.time_to_train_plot import draw
from mgd.scripts.common.clocks import reckoned_clocks
from mgd.scripts.common.recorded import RECORDED, recorded_builds, serves
from mgd.scripts.study.plot import check_results, plot_option

SEEDS = 32
TARGETS = (0.95, 0.98)
WINDOWS = (1, 5, 10, 25, 50, 100)
"""tau_theta that are tried, where updates are not late."""
RATES = (-1, 0, 1, 2)
"""Learning rates over tau_theta that are tried: the task's eta_exp and so much more."""
RATE_STEPS = 20_000
SHARED = ("task", "method", "tau_p", "eta_exp", "seeds", "targets")
"""Keys of a core's row that a row of this machine has as well."""


@dataclass(frozen=True)
class Case:
    """A task; tau_theta = 1 is evaluated every `every` steps, a longer window at its end."""

    task: str
    every: int
    limit: int
    """Steps after which a seed has failed, for node and weight perturbation."""
    draws: tuple[int, ...] = (1,)
    """tau_p that are tried."""


@dataclass(frozen=True)
class Way:
    """A core that trains."""

    name: str
    core: str
    schedule: str = SEQUENTIAL


FOLDED = Way("folded", "folded")
WAYS = (FOLDED, Way("spatial", "spatial"), Way("spatial, pipelined", "spatial", PIPELINED))
CASES = (
    Case("nist7x7_easy", 20, 30_000),
    # The same signs for each of the four samples: their changes add up to the gradient's.
    Case("xor", 20, 15_000, draws=(1, 4)),
)


def steps_to_targets(
    task: Task, targets: tuple[float, ...], every: int, limit: int, seeds: int
) -> np.ndarray:
    """(targets, seeds): the first evaluation at or above each target, or infinity.

    By the golden model, every seed with its own weights, signs and order of samples; the cores
    take the same steps to the bit.  Nothing is evaluated on the way, but what a run that ended
    there would leave: late updates are all made at the end of a TRAIN command alone.
    """
    network, settings = task.spec.network, task.spec.settings
    train, test = task.datasets()
    numbers = list(range(1, seeds + 1))
    drawn = [initial_weights(network, seed, task.spec.init_gain) for seed in numbers]
    trainer = Trainer(
        network,
        settings,
        train.codes,
        train.labels,
        [np.array(layer) for layer in zip(*drawn, strict=True)],
        numbers,
        np.array([permutation(len(train), seed) for seed in numbers]),
    )
    reached = np.full((len(targets), seeds), np.inf)
    every = -(-every // settings.tau_theta) * settings.tau_theta
    inputs = np.asarray(test.codes, dtype=np.int64) << settings.input_shift
    for step in range(every, limit + 1, every):
        while trainer.step_number < step:
            trainer.step()
        correct, _ = evaluate(trainer.settled, inputs, test.labels, network)
        for row, target in zip(reached, targets, strict=True):
            row[(correct >= target * len(test)) & np.isinf(row)] = step
        if np.isfinite(reached).all():
            break
    return reached


def loaded(
    case: Case, method: str, way: Way, tau_theta: int = 1, tau_p: int = 1, rate: int = 0
) -> Task:
    """The case's task with one core, time constants and learning rate, eta_exp being so much
    larger."""
    task = Task.load(case.task).with_overrides(
        core=way.core, schedule=way.schedule, method=method, tau_theta=tau_theta, tau_p=tau_p
    )
    return task.with_overrides(eta_exp=task.spec.settings.eta_exp + rate)


def targets_of(case: Case) -> tuple[float, ...]:
    return TARGETS if case.task != "xor" else (1.0,)


def last_way(task: Task) -> int:
    """Clocks from a run's last token to the last weight of its update, where the clocks of a step
    do not include them."""
    config = config_for(task.core_layout())
    return gateware_of(config).drain(config)


def core_row(case: Case, way: Way, task: Task, steps: np.ndarray) -> dict[str, Any]:
    """Steps and clocks to each target on one core.  steps: as steps_to_targets of the task."""
    each, last, settings = reckoned_clocks(task), last_way(task), task.spec.settings
    return {
        "task": case.task,
        "method": task.spec.method,
        "by": way.name,
        "tau_theta": settings.tau_theta,
        "tau_p": settings.tau_p,
        "eta_exp": settings.eta_exp,
        "update_delay": settings.update_delay,
        "seeds": steps.shape[1],
        "targets": list(targets_of(case)),
        "solved": [float(np.isfinite(row).mean()) for row in steps],
        "steps": [_finite(np.median(row)) for row in steps],
        "clocks_per_step": each,
        "clocks": [_finite(np.median(row) * each + last) for row in steps],
    }


def _finite(value: float) -> float | None:
    """None, which JSON knows, for a median that no seed reached."""
    return float(value) if np.isfinite(value) else None


def fastest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row with the fewest clocks to its last target."""
    return min(rows, key=lambda row: row["clocks"][-1] or float("inf"))


def timed(row: dict[str, Any], hertz: float, source: str) -> dict[str, Any]:
    """The row with the time that its clocks take."""
    times = [None if clocks is None else clocks / hertz for clocks in row["clocks"]]
    return {**row, "hertz": hertz, "source": source, "seconds": times}


def machine_rows(case: Case, method: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The same steps at tau_theta = 1, by the golden model and by the C++ peer on one core."""
    task = loaded(case, method, FOLDED, tau_p=row["tau_p"])
    problem = Problem.of(task.with_overrides(eta_exp=row["eta_exp"]), any_tau_p=True)
    found = []
    for by, make in (("golden model", GoldenPeer), ("C++ on one core", NativePeer)):
        try:
            peer = make(problem)
        except NotInstalledError as error:
            say(f"{by}: not installed: {error}")
            continue
        peer.train(RATE_STEPS // 10)
        begin = time.perf_counter()
        peer.train(RATE_STEPS)
        rate = RATE_STEPS / (time.perf_counter() - begin)
        kept = {k: row[k] for k in (*SHARED, "solved", "steps")}
        seconds = [None if steps is None else steps / rate for steps in row["steps"]]
        found.append(
            {**kept, "by": by, "tau_theta": 1, "steps_per_second": rate, "seconds": seconds}
        )
    return found


def recorded_clocks(task: Task) -> list[tuple[str, float]]:
    """(board, clock in Hz) of each recorded build that a task can run on."""
    return [
        (row["board"], float(row["core_hz"]))
        for row in recorded_builds(RECORDED)
        if serves(row, task)
    ]


def measure(case: Case, method: str, seeds: int, windows: tuple[int, ...]) -> list[dict[str, Any]]:
    """Rows of one task and method: each core at its own best tau_theta and learning rate, on every
    recorded build of it, and this machine."""
    rows = []
    at_one: dict[str, Any] = {}
    # The sequential cores take the same steps.
    known: dict[Settings, np.ndarray] = {}
    for way in WAYS:
        tried = []
        for tau_theta, tau_p, rate in product(
            windows if way.schedule == SEQUENTIAL else (1,), case.draws, RATES
        ):
            task = loaded(case, method, way, tau_theta, tau_p, rate)
            settings = task.spec.settings
            if settings not in known:
                say(
                    f"{case.task}, {method}, {way.name}, tau_theta {tau_theta}, tau_p {tau_p}, "
                    f"eta_exp {settings.eta_exp}"
                )
                known[settings] = steps_to_targets(
                    task, targets_of(case), case.every, case.limit, seeds
                )
            tried.append(core_row(case, way, task, known[settings]))
        best = fastest(tried)
        if way == FOLDED:
            at_one = fastest([row for row in tried if row["tau_theta"] == 1])
        task = loaded(case, method, way, best["tau_theta"], best["tau_p"])
        builds = recorded_clocks(task.with_overrides(eta_exp=best["eta_exp"]))
        rows += [timed(best, hertz, board) for board, hertz in builds] or [best]
    return rows + machine_rows(case, method, at_one)


def line(row: dict[str, Any]) -> str:
    """A row as people read it."""
    name = f"{row['by']}, {row['source']}" if "source" in row else row["by"]
    settings = f"tau_theta {row['tau_theta']:>3}  tau_p {row['tau_p']}  eta_exp {row['eta_exp']:>2}"
    parts = [f"{row['task']:<13} {row['method']}  {name:<32} {settings}"]
    for k, target in enumerate(row["targets"]):
        steps = row["steps"][k]
        if steps is None:
            parts.append(f"{target:.0%}: {row['solved'][k]:.0%} of the seeds")
            continue
        text = f"{target:.0%}: {steps:,.0f} steps"
        if "clocks" in row:
            text += f", {row['clocks'][k]:,.0f} clocks"
        if "seconds" in row:
            text += f", {row['seconds'][k] * 1e6:,.1f} µs"
        parts.append(text)
    return "   ".join(parts)


def ratios(rows: list[dict[str, Any]]) -> list[str]:
    """How many times faster than one core of this machine each timed core is."""
    found = []
    for row in rows:
        base = next((r for r in rows if r["by"] == "C++ on one core"), None)
        if "hertz" in row and base and row["seconds"][-1] and base["seconds"][-1]:
            times = base["seconds"][-1] / row["seconds"][-1]
            found.append(
                f"{row['task']}, {row['method']}: the {row['by']} core on {row['source']} is "
                f"{times:.1f} times as fast as C++ on one core of this machine"
            )
    return found


@click.command("time-to-train")
@click.option("--task", "names", multiple=True, metavar="NAME", help="Only these tasks.")
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS))
@click.option("--seeds", type=click.IntRange(min=1), default=SEEDS, show_default=True, metavar="N")
@plot_option
@json_option
def time_to_train(
    names: tuple[str, ...],
    methods: tuple[str, ...],
    seeds: int,
    plot_file: Path | None,
    json_file: Path | None,
) -> None:
    """Time from the first step to a test accuracy: spatial cores, folded core, this machine.

    The median over the seeds.  Steps are the golden model's, which the cores take bit for bit;
    clocks are steps times the core's clocks per step, evaluations not counted, and in a pipelined
    core the way of the last update; time is clocks over the clock of a recorded build
    (benchmarks/boards.json).  Each row has its own best tau_theta (1 for a pipelined core and for
    this machine) and, for XOR, tau_p; and, of four around the task's own, its own best learning
    rate.
    """
    check_results(json_file, plot_file)
    rows = []
    for case in CASES:
        if names and case.task not in names:
            continue
        for method in methods or METHODS:
            found = measure(case, method, seeds, WINDOWS)
            for row in found:
                click.echo(line(row))
            for text in ratios(found):
                click.echo(text)
            rows += found
    record(json_file, "time-to-train", rows)
    if plot_file is not None:
        if any(row.get("seconds") for row in rows):
            draw(rows, plot_file)
            click.echo(f"written: {plot_file}")
        else:
            click.echo("nothing to draw: no row has a time", err=True)
