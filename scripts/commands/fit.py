"""`mgd fit`: which boards and how many lanes, before any synthesis."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import click

from mgd.api.backends import for_core, sample_words
from mgd.boards.board import Board
from mgd.boards.estimate.fit import NO, TIGHT, Fit, Resource, assess, remedies
from mgd.boards.registry import boards as known_boards
from mgd.boards.registry import find_board
from mgd.golden_model.errors import UserError
from mgd.golden_model.settings import PIPELINED, SEQUENTIAL, Settings
from mgd.host.runs.folder import check_json
from mgd.host.task.task import Task
from mgd.protocol.core_kinds import KINDS
from mgd.protocol.registers import SPATIAL
from mgd.scripts.bench.group import json_option, record
from mgd.scripts.common.clocks import looked_at
from mgd.scripts.common.fix_option import fix_option
from mgd.scripts.common.recorded import RECORDED, recorded_builds, serves
from mgd.scripts.common.schedule_option import schedule_option

TITLES = (
    "board",
    "lanes",
    "cells",
    "DSP",
    "RAM",
    "samples",
    "clocks/step",
    "MHz",
    "steps/s",
    "",
)
START = "start"
OFFERED_PARAMETERS = 1000
"""Above so many parameters a spatial core is estimated only on request."""


class Clock(NamedTuple):
    """hertz, and where it is from: 'start' or the recorded build."""

    hertz: float
    source: str


def default_lanes(task: Task) -> list[int]:
    """Powers of two that the network can use, and the task's own number."""
    widest = max(task.spec.network.layers[1:])
    powers = {1 << k for k in range(widest.bit_length())}
    return sorted({lanes for lanes in powers if lanes <= min(widest, 256)} | {task.spec.core.lanes})


def clock_of(board: Board, task: str, lanes: int, builds: list[dict[str, Any]]) -> Clock:
    """The clock of a folded core.

    That of the recorded build of this board with as many lanes or, failing that, the fewest
    above: more lanes are not faster.  Without one, the first clock that a build tries.
    """
    found = [row for row in builds if row["board"] == board.name and (row["lanes"] or 0) >= lanes]
    if not found:
        return Clock(board.device.start_hz, START)
    best = min(found, key=lambda row: (row["lanes"], row["task"] != task))
    return Clock(best["core_hz"], f"build of {best['task']} with {best['lanes']} lanes")


def table(
    task: Task, boards: list[Board], lanes: list[int] | None, builds: list[dict[str, Any]]
) -> list[tuple[Fit, Clock]]:
    """A folded core on all boards and lanes; lanes = None: the default ones, up to the first that
    is too many.

    Raises UserError where the network cannot use so many lanes.
    """
    rows = []
    wanted = sample_words(task)
    for board in boards:
        fitted = False
        for count in lanes or default_lanes(task):
            fit = assess(board, task.with_overrides(lanes=count).core_layout(), wanted)
            rows.append((fit, clock_of(board, task.name, count, builds)))
            if lanes is None and fitted and fit.verdict == NO:
                break
            fitted = fit.verdict != NO
    return rows


def spatial_table(
    task: Task, boards: list[Board], builds: list[dict[str, Any]]
) -> list[tuple[Fit, Clock]]:
    """A task's spatial core on all boards."""
    core, wanted = task.core_layout(), sample_words(task)
    return [(assess(board, core, wanted), spatial_clock(board, task, builds)) for board in boards]


def remark(fit: Fit, others: list[Board], settings: Settings | None = None) -> str:
    """The verdict; where it is no, the missing resources and the remedies."""
    if fit.verdict != NO:
        return fit.verdict + _because(room(fit))
    notes = lacking(fit.short)
    if fit.short[-1].name == "words of samples":
        notes[-1] = f"{fit.short[-1].lacking:,} words too few for two samples"
    helps = remedies(fit, others, settings)
    would = f"; would fit: {', '.join(helps)}" if helps else "; use a smaller network"
    return f"no: {', '.join(notes)}{would}"


def lacking(short: list[Resource]) -> list[str]:
    """Each missing resource and its amount."""
    return [
        f"{part.lacking:,} {part.name} too many"
        + (f" ({part.lacking / part.available:+.0%})" if part.available else "")
        for part in short
    ]


def room(fit: Fit) -> list[str]:
    """Remarks about a core that fits."""
    notes = ["logic within the estimate's error"] if fit.verdict == TIGHT else []
    if fit.sample_memory < fit.wanted:
        notes.append(f"room for {fit.sample_memory / fit.wanted:.0%} of the samples")
    return notes


def _because(notes: list[str]) -> str:
    return f": {', '.join(notes)}" if notes else ""


def as_rows(fits: list[tuple[Fit, Clock]], task: Task, others: list[Board]) -> list[dict[str, Any]]:
    """Rows for machines of a task's core.  others: boards to search for one where it would fit."""
    settings, codes = task.spec.settings, looked_at(task)
    return [
        as_row(
            fit,
            clock,
            fit.core.clocks_per_step(fit.config, settings, codes),
            remark(fit, others, settings),
        )
        for fit, clock in fits
    ]


def as_row(fit: Fit, clock: Clock, clocks: float, text: str) -> dict[str, Any]:
    """A row for machines.  clocks: per step; text: the verdict and why."""
    parts = {
        "logic_cells": fit.cells,
        "dsps": fit.dsps,
        "rams": fit.blocks,
        "sprams": fit.sprams,
    }
    return {
        "board": fit.board.name,
        "lanes": fit.core.lanes,
        "schedule": fit.core.pipelining,
        **{k: {"used": part.used, "available": part.available} for k, part in parts.items()},
        "calibrated": fit.calibrated,
        "sample_memory": fit.sample_memory,
        "sample_words_wanted": fit.wanted,
        "clocks_per_step": clocks,
        "clock_hz": clock.hertz,
        "clock_from": clock.source,
        "steps_per_second": round(clock.hertz / clocks, 1),
        "verdict": fit.verdict,
        "remark": text,
    }


def spatial_task(task: Task, schedule: str | None, fixed: list[str] | None) -> Task | None:
    """The task with a spatial core.

    None for a network far too large for one, and for settings that none can take, but where the
    task or the schedule asks for it: then the latter raise UserError.
    """
    asked = not KINDS[task.spec.core.kind].folds or schedule is not None
    if not asked and task.spec.network.parameters > OFFERED_PARAMETERS:
        return None
    try:
        return for_core(task.with_overrides(core=SPATIAL, schedule=schedule, fixed=fixed))
    except UserError:
        if asked:
            raise
        return None


def spatial_clock(board: Board, task: Task, builds: list[dict[str, Any]]) -> Clock:
    """The clock of the recorded build of the same core, or the first that a build tries."""
    for row in builds:
        if row["board"] == board.name and serves(row, task):
            kind = _spatial_name(task.spec.schedule)
            return Clock(row["core_hz"], f"build of {row['task']}, {kind}, {row['method']}")
    return Clock(board.device.start_hz, START)


def _spatial_name(schedule: str) -> str:
    return PIPELINED if schedule == PIPELINED else "spatial"


def cells(row: dict[str, Any]) -> list[str]:
    """A line of the table, in the order of TITLES."""

    def share(key: str) -> str:
        return f"{row[key]['used']:,}/{row[key]['available']:,}"

    star = "" if row["clock_from"] == START else "*"
    return [
        row["board"],
        str(row["lanes"] or _spatial_name(row["schedule"])),
        ("" if row["calibrated"] else "~") + share("logic_cells"),
        share("dsps"),
        share("rams"),
        f"{row['sample_memory']:,}",
        f"{row['clocks_per_step']:.1f}",
        f"{row['clock_hz'] / 1e6:.1f}{star}",
        f"{row['steps_per_second']:,.0f}",
        row["remark"],
    ]


@click.command()
@click.argument("task_name", metavar="TASK_OR_TOML")
@click.option("--board", "names", multiple=True, metavar="NAME", help="May be given again.")
@click.option(
    "--lanes",
    multiple=True,
    type=click.IntRange(1, 256),
    metavar="P",
    help="May be given again.  [default: powers of two and the task's, until one does not fit]",
)
@schedule_option
@fix_option
@json_option
def fit(
    task_name: str,
    names: tuple[str, ...],
    lanes: tuple[int, ...],
    schedule: str | None,
    fixed: list[str] | None,
    json_file: Path | None,
) -> None:
    """Estimate what TASK_OR_TOML takes on each board, and how fast it trains there.

    Nothing is synthesised.  Block RAMs, DSP blocks and clocks per step are counted; logic
    cells are estimated, to 15 % on the boards they were calibrated on.
    """
    if json_file is not None:
        check_json(json_file)
    given = Task.load(task_name)
    spatial = spatial_task(given, schedule, fixed)
    task = for_core(given.with_overrides(core="folded", schedule=SEQUENTIAL, fixed=fixed))
    known = list(known_boards().values())
    chosen = [find_board(name) for name in dict.fromkeys(names)] or known
    builds = recorded_builds(RECORDED)
    rows = as_rows(table(task, chosen, sorted(set(lanes)) or None, builds), task, known)
    if spatial is not None and not lanes:
        rows += as_rows(spatial_table(spatial, chosen, builds), spatial, known)
    network, settings = task.spec.network, task.spec.settings
    click.echo(
        f"{network.describe()}, {settings.method}, {settings.difference}, "
        f"{'with' if network.accumulators else 'no'} accumulators"
    )
    lines = [list(TITLES), *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        text = [
            text.ljust(width) if place in (0, len(TITLES) - 1) else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(text).rstrip())
    for legend in legends(rows):
        click.echo(legend)
    record(json_file, "fit of a task", [{"task": task.name, **row} for row in rows])


def legends(rows: list[dict[str, Any]]) -> list[str]:
    """The legend of the table."""
    found = [
        "\nsamples: 16-bit words.  steps/s: MHz over clocks per step; MHz is the first clock that "
        "a build tries"
    ]
    sources = sorted({f"{r['board']}: {r['clock_from']}" for r in rows if r["clock_from"] != START})
    if sources:
        found.append(f"* clock of a recorded build ({'; '.join(sources)})")
    if not all(row["calibrated"] for row in rows):
        found.append("~ as for an ECP5; not calibrated on this family")
    return found
