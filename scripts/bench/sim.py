"""`mgd bench sim`: how fast the simulated board runs, beside a bare loop of its core."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import click

from mgd.api.backends import for_core, sample_words
from mgd.boards.simulated import bare
from mgd.boards.simulated import board as simulated
from mgd.golden_model.seeds import initial_weights
from mgd.host.session.board import BoardSession
from mgd.host.task.task import Task
from mgd.rtl.core_kinds import config_for
from mgd.scripts.bench.group import json_option, record

PAIRS = 5
"""The two take turns, so that a machine that changes its speed does not favour one."""


@click.command()
@click.option("--task", "task_name", default="digits", show_default=True, metavar="TASK_OR_TOML")
@click.option("--clocks", type=click.IntRange(min=100_000), default=2_000_000, show_default=True)
@json_option
def sim(task_name: str, clocks: int, json_file: Path | None) -> None:
    """Clocks per second of the simulated board while it trains, UART and all.

    Beside it the same core and sample memory in a bare Verilator loop that looks at nothing;
    the ratio, of processor time, shows the cost of UART and pseudo-terminal.
    """
    task = for_core(Task.load(task_name))
    network, words = task.spec.network, sample_words(task)
    program = bare.build(network, task.spec.core.lanes, words, task.spec.settings)
    train, test = task.datasets()
    board = simulated.start(config_for(task.core_layout()), words)
    rows = []
    try:
        with BoardSession(board.port, network, backend="sim") as session:
            session.load_samples(train, test, task.spec.settings)
            session.write_weights(initial_weights(network, task.spec.seed, task.spec.init_gain))
            session.start(task.spec.settings, task.spec.seed)
            session.train(100)
            per_step = session.counters().train_clocks / 100
            steps = 100
            for _ in range(PAIRS):
                steps += max(1, round(clocks / per_step))
                before = session.counters().train_clocks
                used, begin = board.processor_seconds(), time.perf_counter()
                session.train(steps)
                wall = time.perf_counter() - begin
                used = board.processor_seconds() - used
                trained = session.counters().train_clocks - before
                bare_rate = clocks / bare.seconds(program, clocks)
                rows.append(
                    {
                        "task": task.name,
                        "lanes": task.spec.core.lanes,
                        "board_clocks_per_second": trained / wall,
                        "board_clocks_per_processor_second": trained / used,
                        "bare_clocks_per_processor_second": bare_rate,
                        "ratio": trained / used / bare_rate,
                    }
                )
    finally:
        board.close()
    for name, text in (
        ("board_clocks_per_second", "simulated board, per second"),
        ("board_clocks_per_processor_second", "the same, per processor second"),
        ("bare_clocks_per_processor_second", "bare loop, per processor second"),
    ):
        found = [row[name] for row in rows]
        click.echo(
            f"{text:<32} {min(found):>12,.0f} {statistics.median(found):>12,.0f} "
            f"{max(found):>12,.0f}  clocks (min, median, max of {PAIRS})"
        )
    ratio = statistics.median(row["ratio"] for row in rows)
    lanes = task.spec.core.lanes
    click.echo(f"{'ratio, median of the pairs':<32} {ratio:.3f}  ({task.name}, {lanes} lanes)")
    record(json_file, "sim", rows)
