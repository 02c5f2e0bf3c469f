"""`mgd study stream`: the effect of a resident window on steps and time to a solution."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import click

from mgd.api.backends import say
from mgd.golden_model.errors import UserError
from mgd.host.link.transport import BAUD
from mgd.host.task.task import Task
from mgd.protocol.framing import CRC_BYTES, MAX_WRITE, REQUEST_HEADER
from mgd.scripts.bench.group import json_option, record
from mgd.scripts.common.clocks import reckoned_clocks
from mgd.scripts.study.plot import COLOURS, check_results, figure, plot_option
from mgd.scripts.study.steps import goal, goal_options, measure

CLOCK_MHZ = 12.0
FLAGS = 2
BITS_PER_BYTE = 10


def wire_bytes(record_words: int) -> int:
    """Bytes that a record of 16-bit words takes on the wire, escapes not counted."""
    words = -(-record_words // 2)
    return 4 * words + -(-words // MAX_WRITE) * (REQUEST_HEADER + CRC_BYTES + FLAGS)


def speed(task: Task, baud: int, hertz: float) -> dict[str, Any]:
    """Seconds of core and link for a step, and which of the two is slower."""
    settings = task.spec.settings
    core = reckoned_clocks(task) / hertz
    link = 0.0
    if 0 < settings.resident < len(task.datasets()[0]):
        sample = wire_bytes(task.core_layout().record_stride) * BITS_PER_BYTE / baud
        link = sample / (settings.passes * settings.tau_x)
    return {
        "core_seconds_per_step": core,
        "link_seconds_per_step": link,
        "bound_by": "link" if link > core else "core",
    }


def line(row: dict[str, Any], seeds: int, limit: int) -> str:
    """A row as text."""
    steps = f"{row['median']:,}" if row["median"] else f">{limit:,}"
    seconds = f"{row['seconds']:,.1f}" if row["seconds"] is not None else "–"
    resident = row["resident"] or "all"
    return (
        f"{resident:>8} {row['passes']:>6} {row['reached']:>6} of {seeds:<4}{steps:>10}"
        f"{1e6 * row['core_seconds_per_step']:>10.1f}{1e6 * row['link_seconds_per_step']:>10.1f}"
        f"{seconds:>10}  {row['bound_by']}"
    )


def draw(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Steps and seconds against passes, a line for each window."""
    with figure(path, 2, title) as axes:
        for axis, key, name in zip(
            axes, ("median", "seconds"), ("steps to the target", "seconds to it"), strict=True
        ):
            whole = rows[0][key]
            if whole is not None:
                axis.axhline(whole, color="#888888", linestyle=":", label="all resident")
            for number, resident in enumerate(dict.fromkeys(r["resident"] for r in rows[1:])):
                found = [r for r in rows[1:] if r["resident"] == resident and r[key] is not None]
                axis.plot(
                    [r["passes"] for r in found],
                    [r[key] for r in found],
                    "o-",
                    markersize=4,
                    color=COLOURS[number % len(COLOURS)],
                    label=f"{resident} resident",
                )
            axis.set_xscale("log", base=2)
            passes = sorted({row["passes"] for row in rows})
            axis.set_xticks(passes, [str(count) for count in passes])
            axis.set_ylim(bottom=0)
            axis.set_xlabel("passes over a resident sample")
            axis.set_ylabel(name)


@click.command()
@click.argument("task_name", metavar="TASK_OR_TOML")
@click.option(
    "--resident", "residents", type=int, multiple=True, metavar="N", help="May be given again."
)
@click.option(
    "--passes", "passes", type=int, multiple=True, metavar="K", help="May be given again."
)
@goal_options
@click.option(
    "--baud", type=click.IntRange(min=1), default=BAUD, show_default=True, help="The link's rate."
)
@click.option(
    "--clock-mhz",
    "mhz",
    type=click.FloatRange(0, min_open=True),
    default=CLOCK_MHZ,
    show_default=True,
    help="The core's clock.",
)
@plot_option
@json_option
def stream(
    task_name: str,
    residents: tuple[int, ...],
    passes: tuple[int, ...],
    method: str | None,
    target: float | None,
    seeds: int,
    steps: int | None,
    every: int | None,
    baud: int,
    mhz: float,
    plot_file: Path | None,
    json_file: Path | None,
) -> None:
    """Steps until the test accuracy first reaches the target, by window and passes.

    Every N is combined with every K that divides it; the first row has the whole set resident.
    Steps are the golden model's, median over seeds.  The time of a step is the longer of the
    core's clocks and its share of a sample on the wire, both reckoned and not measured.
    """
    check_results(json_file, plot_file)
    given = Task.load(task_name).with_overrides(method=method)
    target, limit, every = goal(given, target, steps, every)
    own = given.spec.settings
    windows = [
        (resident, count)
        for resident, count in product(
            residents or (own.resident,) * bool(own.resident), passes or (own.passes,)
        )
        if resident % count == 0
    ]
    if not windows:
        raise UserError(
            f"{given.name}: no window to study: give --resident N and --passes K, one of which "
            "divides the other, for example --resident 64 --passes 1 --passes 4"
        )
    tasks = [given.whole(), *(given.with_overrides(resident=r, passes=k) for r, k in windows)]
    train, _ = given.datasets()
    for task in tasks:
        if (window := task.spec.settings.window) is not None:
            window.check(len(train))
    title = (
        f"{given.name} ({given.spec.network.describe()}), {given.spec.method}, steps to "
        f"{100 * target:g} %, evaluated every {every:,}; "
        f"{given.spec.core.lanes} lanes at {mhz:g} MHz, {baud:,} baud"
    )
    click.echo(
        f"{title}\n{'resident':>8} {'passes':>6} {'reached':>11}{'steps':>12}"
        f"{'core µs':>10}{'link µs':>10}{'seconds':>10}  bound by"
    )
    rows: list[dict[str, Any]] = []
    for task in tasks:
        settings = task.spec.settings
        say(f"resident {settings.resident}, passes {settings.passes} ...")
        found = measure(task, list(range(1, seeds + 1)), target, every, limit)
        times = speed(task, baud, 1e6 * mhz)
        longer = max(times["core_seconds_per_step"], times["link_seconds_per_step"])
        seconds = None if found["median"] is None else found["median"] * longer
        chosen = {"resident": settings.resident, "passes": settings.passes}
        rows.append({**chosen, **found, **times, "seconds": seconds})
        click.echo(line(rows[-1], seeds, limit))
    if plot_file is not None:
        draw(rows, title, plot_file)
    common = {"task": given.name, "method": given.spec.method, "target": target, "seeds": seeds}
    common |= {"every": every, "limit": limit, "tau_x": own.tau_x, "lanes": given.spec.core.lanes}
    common |= {"baud": baud, "clock_hz": 1e6 * mhz}
    record(json_file, "study stream", [common | row for row in rows])
