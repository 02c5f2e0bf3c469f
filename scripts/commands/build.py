"""`mgd build`: from a task to a bitstream and a report."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mgd.api.backends import for_core, sample_words
from mgd.boards.board import DESCRIPTION_ONLY, Board
from mgd.boards.design import Design
from mgd.boards.estimate.kinds import fitted, kind_of
from mgd.boards.flow.build import Built, build
from mgd.boards.flow.build_report import summary, with_speed
from mgd.boards.flow.timing_closure import SEEDS, Options
from mgd.boards.registry import find_board
from mgd.golden_model.errors import UserError
from mgd.host.task.task import Task
from mgd.scripts.common.build_folder import check_build_folder, write_build
from mgd.scripts.common.clocks import measured_clocks
from mgd.scripts.common.fix_option import fix_option
from mgd.scripts.common.schedule_option import schedule_option

SEEDS_MAX = 32


class _Lanes(click.ParamType):
    name = "P|auto"

    def convert(self, value, param, ctx):
        if value == "auto" or isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} must be a number of lanes or auto", param, ctx)


@click.command("build")
@click.argument("task_name", metavar="TASK_OR_TOML")
@click.option("--board", "board_name", required=True, metavar="NAME", help="See `mgd boards`.")
@click.option("--core", metavar="folded|spatial", help="Which core.  Default: the task's.")
@schedule_option
@click.option("--method", metavar="wp|np", help="Of a core where it is a constant.")
@click.option("--tau-theta", type=int, metavar="N", help="Largest tau_theta.  Default: the task's.")
@click.option(
    "--lanes",
    type=_Lanes(),
    metavar="P|auto",
    help="Lanes of the core; auto: as many as fit.  [default: the task's]",
)
@fix_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for bitstream and report, new, empty or a build's.  "
    "[default: build/TASK-BOARD-LANES]",
)
@click.option("--clock", type=float, metavar="MHZ", help="Highest clock; no faster one is tried.")
@click.option("--baud", type=int, metavar="N", help="Speed of the link.  [default: the board's]")
@click.option(
    "--seeds",
    type=click.IntRange(1, SEEDS_MAX),
    default=len(SEEDS),
    show_default=True,
    metavar="N",
    help="Seeds of the placement that are tried for a clock before a slower one is.",
)
@click.option("--allow-timing-fail", is_flag=True, help="Give a bitstream that may not work.")
@click.option(
    "--measure/--no-measure",
    default=True,
    help="Measure clocks per step on the simulated board.  [default: measure]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def build_command(
    task_name: str,
    board_name: str,
    core: str | None,
    schedule: str | None,
    method: str | None,
    tau_theta: int | None,
    lanes: int | str | None,
    fixed: list[str] | None,
    out: Path | None,
    clock: float | None,
    baud: int | None,
    seeds: int,
    allow_timing_fail: bool,
    measure: bool,
    as_json: bool,
) -> None:
    """Build TASK_OR_TOML for a board: bitstream, report.json and a summary.

    The clock is the fastest that closes.  The same build is not run twice: it is cached in
    $MGD_CACHE or ~/.cache/mgd.
    """
    board = find_board(board_name)
    task = Task.load(task_name).with_overrides(
        core=core,
        schedule=schedule,
        method=method,
        tau_theta=tau_theta,
        lanes=lanes if isinstance(lanes, int) else None,
        fixed=fixed,
    )
    for_core(task)
    if clock is not None and not 1 <= clock <= 1000:
        raise UserError(f"--clock {clock:g}: must be 1 to 1000 MHz")
    wanted = sample_words(task)
    design = task_design(board, task, baud, most_lanes=lanes == "auto")
    out = out or Path("build") / f"{task.name}-{board.name}-{build_label(design)}"
    check_build_folder(out)
    options = Options(
        clock_hz=None if clock is None else round(clock * 1e6),
        seeds=SEEDS if seeds == len(SEEDS) else tuple(range(1, seeds + 1)),
        allow_timing_fail=allow_timing_fail,
    )
    progress = Printer(quiet=as_json)
    if board.tier == DESCRIPTION_ONLY:
        progress.note(f"note: {board.name} is only described here, no build is known to work")
    if design.sample_memory < wanted:
        progress.note(
            f"note: {board.name} has room for {design.sample_memory:,} words of samples beside "
            f"the core, the task's data takes {wanted:,}; stream it (--resident N), or train on "
            "fewer samples there"
        )
    built = build(design, options, progress)
    if built.cached:
        progress.note(f"built before: {built.folder}")
    clocks = None
    if measure:
        progress("clocks per step", None, "on the simulated board")
        clocks = measured_clocks(task, design.config)
        progress.note(f"clocks per step   {clocks:.1f}")
    write_build(out, built, finished_report(built, task, clocks))
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        click.echo(f"{summary(report)}\n  written    {out}")


def task_design(
    board: Board, task: Task, baud: int | None = None, *, most_lanes: bool = False
) -> Design:
    """The design of a task's core on a board.

    baud: None for the board's.  most_lanes: as many as fit, in place of the task's.  Raises
    UserError where the core does not fit.
    """
    core, words = fitted(board, task.core_layout()), sample_words(task)
    return (core.with_most_lanes(words) if most_lanes else core).design(words, baud)


def build_label(design: Design) -> str:
    """The name that distinguishes a task's builds for one board."""
    return kind_of(design.config)(design.board, design.config).label


def finished_report(built: Built, task: Task, clocks: float | None) -> dict:
    """A build's report with the task's name, method and schedule, and the training speed."""
    asked = {"task": task.name, "method": task.spec.method, "schedule": task.spec.schedule}
    return {**asked, **with_speed(built.report, clocks)}


class Printer:
    """A line per finished step, with its time."""

    def __init__(self, quiet: bool) -> None:
        self._err = quiet

    def __call__(self, step: str, seconds: float | None, detail: str) -> None:
        if seconds is None:
            click.echo(f"{step}: {detail} ..." if detail else f"{step} ...", err=True)
        else:
            self.note(f"{step:<16} {seconds:6.1f} s  {detail}".rstrip())

    def note(self, line: str) -> None:
        click.echo(line, err=self._err)
