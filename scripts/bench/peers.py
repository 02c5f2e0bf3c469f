"""`mgd bench peers`: the same training by other programs on this machine, beside the FPGA."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mgd.api.backends import say
from mgd.golden_model.settings import METHODS
from mgd.host.runs.folder import check_json
from mgd.host.task.task import Task
from mgd.scripts.bench.group import json_option, record
from mgd.scripts.bench.peer_programs import GoldenPeer, NotInstalledError, NumpyPeer, Peer, Problem
from mgd.scripts.bench.peers_fpga import REMEDY, fpga_rows
from mgd.scripts.bench.peers_native import NativePeer, library
from mgd.scripts.bench.peers_torch import TorchPeer, import_torch
from mgd.scripts.common.recorded import RECORDED

MANY_SEEDS = 64
LEAST_SECONDS = 0.1
"""A quick peer repeats its training in a round until a timer's tick does not count."""
WARM_UP_STEPS = 200
MOST_RUNS = 50

Make = Callable[[Problem], Peer]


def torch_peers() -> list[Make]:
    """PyTorch on one thread, on as many as it takes by itself, and on a GPU where there is one."""
    torch = import_torch()
    threads = torch.get_num_threads()
    found: list[Make] = [
        lambda problem: TorchPeer(problem),
        lambda problem: TorchPeer(problem, MANY_SEEDS),
    ]
    if threads > 1:
        found += [
            lambda problem: TorchPeer(problem, 1, threads),
            lambda problem: TorchPeer(problem, MANY_SEEDS, threads),
        ]
    if torch.cuda.is_available():
        found += [
            lambda problem: TorchPeer(problem, device="cuda"),
            lambda problem: TorchPeer(problem, MANY_SEEDS, device="cuda"),
        ]
    return found


def native_peers() -> list[Make]:
    """The C++ program, compiled."""
    library()
    return [NativePeer]


def available_peers() -> tuple[list[Make], list[dict[str, Any]]]:
    """The peers that can run here, the golden model first, and a row for each that is missing."""
    found: list[Make] = [
        GoldenPeer,
        lambda problem: GoldenPeer(problem, MANY_SEEDS),
        NumpyPeer,
    ]
    missing = []
    for name, peers in (("PyTorch", torch_peers), ("C++", native_peers)):
        try:
            found += peers()
        except NotInstalledError as error:
            missing.append({"peer": name, "not_installed": str(error)})
    return found, missing


def time_once(make: Make, problem: Problem, steps: int) -> tuple[Peer, float]:
    """A peer that has trained `steps` steps, and its steps per second, all seeds counted."""
    seconds, runs = 0.0, 0
    while True:
        peer = make(problem)
        begin = time.perf_counter()
        peer.train(steps)
        seconds += time.perf_counter() - begin
        runs += 1
        if seconds >= LEAST_SECONDS or runs == MOST_RUNS:
            return peer, runs * steps * peer.seeds / seconds


def affordable(make: Make, problem: Problem, steps: int, seconds: float) -> int:
    """`steps`, or those that a peer takes in so many seconds where they are fewer; warms up."""
    peer, trial = make(problem), min(steps, WARM_UP_STEPS)
    peer.train(trial)
    begin = time.perf_counter()
    peer.train(trial)
    each = (time.perf_counter() - begin) / trial
    return max(1, min(steps, int(seconds / each)))


def compare(
    makes: list[Make], problem: Problem, steps: int, rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """A row per peer, each run of about `seconds` at most.

    The peers take turns, so that a machine that changes its speed favours none; ratios are to
    the first peer of the same round.
    """
    rates: list[list[float]] = [[] for _ in makes]
    peers: list[Peer] = []
    done = [affordable(make, problem, steps, seconds) for make in makes]
    for number in range(rounds):
        peers = []
        for make, found, count in zip(makes, rates, done, strict=True):
            peer, rate = time_once(make, problem, count)
            say(f"round {number + 1} of {rounds}: {peer.label}, {rate:,.0f} steps/s")
            found.append(rate)
            peers.append(peer)
    return [
        {
            "peer": peer.label,
            "seeds": peer.seeds,
            "steps": count,
            "accuracy": problem.accuracy(peer.weights()),
            "steps_per_second": statistics.median(found),
            "lowest": min(found),
            "highest": max(found),
            "ratio": statistics.median(r / g for r, g in zip(found, rates[0], strict=True)),
        }
        for peer, found, count in zip(peers, rates, done, strict=True)
    ]


def table(rows: list[dict[str, Any]], steps: int) -> list[str]:
    """The rows as lines of text; those of fewer than `steps` steps say so."""
    lines = [f"{'':<36} {'steps/s':>11} {'lowest':>11} {'highest':>11} {'ratio':>8}  accuracy"]
    for row in rows:
        name = f"{row['peer']:<36}"
        if "not_installed" in row:
            lines.append(f"{name} not installed: {row['not_installed']}")
        elif "source" in row:
            lines.append(
                f"{name} {row['steps_per_second']:>11,.0f} {'':>23} {row['ratio']:>8.2f}  "
                f"{row['clocks_per_step']:.1f} clocks, {row['core_hz'] / 1e6:.2f} MHz: "
                f"{row['source']}"
            )
        else:
            fewer = f" after {row['steps']:,} steps" if row["steps"] < steps else ""
            lines.append(
                f"{name} {row['steps_per_second']:>11,.0f} {row['lowest']:>11,.0f} "
                f"{row['highest']:>11,.0f} {row['ratio']:>8.2f}  {row['accuracy']:>7.2%}{fewer}"
            )
    return lines


@click.command()
@click.option("--task", "task_name", default="digits", show_default=True, metavar="TASK_OR_TOML")
@click.option("--method", type=click.Choice(METHODS), help="The task's own where not given.")
@click.option("--steps", type=click.IntRange(min=1), default=12_000, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Longest run; a peer that is too slow takes fewer steps, and its row says so.",
)
@click.option(
    "--boards",
    type=click.Path(path_type=Path, dir_okay=False),
    default=RECORDED,
    metavar="FILE",
    help="Recorded builds for the FPGA's rows; those in benchmarks/ by default.",
)
@json_option
def peers(
    task_name: str,
    method: str | None,
    steps: int,
    rounds: int,
    seconds: float,
    boards: Path,
    json_file: Path | None,
) -> None:
    """Steps per second of the golden model and of float MGD by other means, on this machine.

    All train the same task from the same initial weights for the same number of steps; where
    several seeds run side by side, the steps of all count.  Lowest and highest are those of the
    rounds, ratios are to the golden model, and the accuracy on the test set shows that a row
    really trained.

    Only the steps are timed.  Not timed: loading data, preparing tensors, importing PyTorch,
    compiling C++ (cached for the next time), and 400 steps to warm up.  Drawing signs is timed.

    The FPGA's rows are the clocks per step, counted in simulation, times the clock of a recorded
    build: nothing was run on hardware.
    """
    if json_file is not None:
        check_json(json_file)
    task = Task.load(task_name).with_overrides(method=method)
    problem = Problem.of(task)
    makes, missing = available_peers()
    before = problem.accuracy(problem.float_weights(1))
    click.echo(
        f"{task.name}: {problem.network.describe()}, {task.spec.method}, {steps:,} steps, seed "
        f"{task.spec.seed}, median of {rounds} rounds; accuracy {before:.2%} before training"
    )
    rows = compare(makes, problem, steps, rounds, seconds)
    golden = rows[0]["steps_per_second"]
    fpga = [row | {"ratio": row["steps_per_second"] / golden} for row in fpga_rows(boards, task)]
    rows += missing + fpga
    click.echo("\n".join(table(rows, steps)))
    if not fpga:
        click.echo(f"FPGA: no build of {task.name} is recorded in {boards}; make one: {REMEDY}")
    common = {"task": task.name, "method": task.spec.method, "rounds": rounds}
    record(json_file, "peers", [common | row for row in rows])
