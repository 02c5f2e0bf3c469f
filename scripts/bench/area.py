"""`mgd bench area`: cells of each component synthesised alone, and their change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import click
from amaranth.lib import wiring

from mgd.api.backends import sample_words
from mgd.boards.estimate.area import measure, to_rtlil
from mgd.boards.families.registry import COUNTED
from mgd.boards.families.usage import Area
from mgd.boards.simulated.board import CLOCK_HZ
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.host.task.task import Task
from mgd.rtl.folded.broadcast import Broadcast
from mgd.rtl.folded.collector import Collector, tag_layout
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.control.step_control import StepControl
from mgd.rtl.folded.lanes.lane import Lane
from mgd.rtl.folded.program.loop_engine import LoopEngine
from mgd.rtl.folded.signs import SignGenerator
from mgd.rtl.memory.samples import SampleMemory
from mgd.rtl.system.control import Control
from mgd.rtl.system.link import Link
from mgd.rtl.system.top import Top
from mgd.rtl.system.uart import UARTReceiver, UARTTransmitter
from mgd.rtl.units.activation import Activation
from mgd.rtl.units.costs import cost_unit
from mgd.scripts.bench.group import json_option, record

CLOCKS_PER_BIT = 104
"""115,200 baud at 12 MHz."""

TOLERANCE = 0.05
TOLERATED_CELLS = 8
"""Logic may grow by whichever is more before the check fails; blocks may not grow at all."""

TAU_THETA = 100
"""Widths of the accumulators where the task has none."""

COUNTS = tuple(field.name for field in fields(Area))
BLOCKS = ("dsps", "rams", "sprams", "lutrams")
SHOWN = {
    "logic_cells": "cells",
    "luts": "LUTs",
    "ffs": "FFs",
    "dsps": "DSPs",
    "rams": "RAMs",
    "sprams": "SPRAMs",
    "lutrams": "LUT RAMs",
}
WHOLE = "top"
"""The part that holds all others and takes as long as they do together."""

Part = Callable[[CoreConfig, int], wiring.Component]


def _plain(network: Network) -> Network:
    return replace(network, accumulators=False, tau_theta_max=1)


def _accumulating(network: Network) -> Network:
    tau_theta_max = max(network.tau_theta_max, TAU_THETA)
    return replace(network, accumulators=True, tau_theta_max=tau_theta_max)


def _cost(cost: str) -> Part:
    return lambda config, words: cost_unit(replace(config.network, cost=cost))


PARTS: dict[str, Part] = {
    "lane": lambda config, words: Lane(CoreConfig(_plain(config.network), config.lanes)),
    "lane with accumulators": lambda config, words: Lane(
        CoreConfig(_accumulating(config.network), config.lanes)
    ),
    "signs": lambda config, words: SignGenerator(config),
    "broadcast": lambda config, words: Broadcast(config),
    "collector": lambda config, words: Collector(config),
    "activation": lambda config, words: Activation(config.network, tag_layout(config)),
    "cost mse": _cost("mse"),
    "cost cross_entropy": _cost("cross_entropy"),
    "schedule": lambda config, words: StepControl(config),
    "sweeper": lambda config, words: LoopEngine(config),
    "samples": lambda config, words: SampleMemory(config.network, words),
    "control": lambda config, words: Control(config, words, CLOCK_HZ),
    "link": lambda config, words: Link(),
    "uart receiver": lambda config, words: UARTReceiver(CLOCKS_PER_BIT),
    "uart transmitter": lambda config, words: UARTTransmitter(CLOCKS_PER_BIT),
    WHOLE: lambda config, words: Top(config, words, CLOCKS_PER_BIT, CLOCK_HZ),
}
"""Name of a row: its component, of a core and a number of 16-bit words of sample memory."""


def rows(
    task: Task, lanes: int, families: list[str], parts: list[str], seen: Callable[..., None]
) -> list[dict[str, Any]]:
    """Cells of each part on each family; `seen` is called with each, in order.

    Raises UserError where lanes do not fit the network or synthesis fails.
    """
    config = CoreConfig(task.spec.network, lanes)
    words = sample_words(task)
    wanted = [(family, part) for family in families for part in parts]

    texts = {}
    for part in parts:
        # The probe is for simulation: nothing on a board is connected to it.
        texts[part] = to_rtlil(PARTS[part](config, words), without=("probe",))

    found = []
    # Each thread runs its own Yosys.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        areas = pool.map(lambda where: measure(texts[where[1]], where[0]), wanted)
        for (family, part), area in zip(wanted, areas, strict=True):
            where = {"task": task.name, "lanes": lanes, "family": family, "part": part}
            found.append({**where, **asdict(area)})
            seen(found[-1])
    return found


def grown(name: str, old: int, new: int) -> bool:
    """Whether a count grew by more than is tolerated."""
    if name in BLOCKS:
        return new > old
    return new - old > max(TOLERATED_CELLS, TOLERANCE * old)


def recorded(file: Path) -> dict[tuple[Any, ...], dict[str, int]]:
    """The rows of a recorded result by task, lanes, family and part.

    Raises UserError where it cannot be read.
    """
    try:
        table = json.loads(file.read_text())["rows"]
        return {_key(row): {name: int(row[name]) for name in COUNTS} for row in table}
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}; name a recorded file") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{file}: was not written by `mgd bench area --json`; record it again"
        ) from None


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("task", "lanes", "family", "part"))


def compared(new: dict[str, Any], old: dict[str, int] | None) -> tuple[list[str], list[str]]:
    """One row against its record: a text per count of SHOWN, and the names that grew too much."""
    if old is None:
        return [str(new[name]) for name in SHOWN], ["not recorded"]
    texts = [
        str(new[name]) if new[name] == old[name] else f"{old[name]} → {new[name]}" for name in SHOWN
    ]
    return texts, [title for name, title in SHOWN.items() if grown(name, old[name], new[name])]


@click.command()
@click.option("--task", "task_name", default="digits", show_default=True, metavar="TASK_OR_TOML")
@click.option("--lanes", type=click.IntRange(min=1), metavar="N", help="Default: the task's.")
@click.option("--family", type=click.Choice([*COUNTED, "both"]), default="both", show_default=True)
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(list(PARTS)),
    metavar="PART",
    help="One part, may be given again.  Default: all.",
)
@click.option("--quick", is_flag=True, help="Leave out the whole top level.")
@click.option(
    "--check",
    "check_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Compare with a recorded result; exit 1 where a part has grown.",
)
@json_option
@click.pass_context
def area(
    ctx: click.Context,
    task_name: str,
    lanes: int | None,
    family: str,
    parts: tuple[str, ...],
    quick: bool,
    check_file: Path | None,
    json_file: Path | None,
) -> None:
    """Cells of each component, synthesised alone for iCE40 and ECP5.

    Nothing is placed or routed.  "cells" are logic cells: on iCE40 a LUT, a carry and a
    flip-flop may share one, on ECP5 they are the LUTs.  With --check, a change is shown as
    old → new; more than 5 % and more than 8 cells, or one more block, is a failure.
    """
    task = Task.load(task_name)
    lanes = task.spec.core.lanes if lanes is None else lanes
    families = list(COUNTED) if family == "both" else [family]
    wanted = list(parts) or [part for part in PARTS if not (quick and part == WHOLE)]
    old = recorded(check_file) if check_file is not None else {}
    failed: list[str] = []

    def show(row: dict[str, Any]) -> None:
        before = old.get(_key(row))
        texts, worse = compared(row, before if check_file is not None else row)
        note = f"  {', '.join(worse)}" if worse else ""
        cells = " ".join(f"{text:>13}" for text in texts)
        click.echo(f"{row['family']:<6} {row['part']:<24}{cells}{note}")
        if worse:
            failed.append(f"{row['part']} ({row['family']})")

    titles = " ".join(f"{title:>13}" for title in SHOWN.values())
    click.echo(f"{task.name}, {lanes} lanes")
    click.echo(f"{'':<6} {'part':<24}{titles}")
    found = rows(task, lanes, families, wanted, show)
    record(json_file, "area", found)
    if failed:
        click.echo(
            f"error: grown by more than {TOLERANCE:.0%} and {TOLERATED_CELLS} cells, by a block, "
            f"or not in {check_file}: {', '.join(failed)}; if that is meant, record all parts "
            f"again with `mgd bench area --json {check_file}`",
            err=True,
        )
        ctx.exit(1)
