"""`mgd bench boards`: bitstreams of a recorded list of cores, and the table of docs/boards.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import click

from mgd.boards.flow.build import build
from mgd.boards.flow.build_report import with_speed
from mgd.boards.flow.timing_closure import SEEDS, Options
from mgd.boards.registry import find_board
from mgd.golden_model.errors import UserError
from mgd.golden_model.settings import PIPELINED, SEQUENTIAL
from mgd.host.runs.folder import check_json
from mgd.host.task.task import Task
from mgd.protocol.layout.spatial import FIXABLE
from mgd.scripts.bench.group import json_option, record
from mgd.scripts.commands.build import Printer, task_design
from mgd.scripts.common.checkout import ROOT, in_checkout
from mgd.scripts.common.clocks import measured_clocks
from mgd.scripts.common.markers import replace_between
from mgd.scripts.common.sources import build_sources


class Case(NamedTuple):
    """A task on a board; lanes: None for the spatial core, whose method, window, difference and
    schedule follow, the task's where they are None; fixed: settings that are
    constants, separated by commas.
    """

    task: str
    board: str
    lanes: int | None
    method: str | None = None
    tau_theta: int | None = None
    fixed: str | None = None
    difference: str | None = None
    schedule: str | None = None

    def loaded(self) -> Task:
        return Task.load(self.task).with_overrides(
            core="folded" if self.lanes else "spatial",
            lanes=self.lanes,
            method=self.method,
            tau_theta=self.tau_theta,
            difference=self.difference,
            schedule=self.schedule,
            fixed=self.fixed.split(",") if self.fixed else None,
        )


CASES = (
    Case("xor", "icebreaker", 2),
    Case("digits", "icebreaker", 8, fixed="method,difference,tau_x,tau_p"),
    Case("xor", "ulx3s-25f", 2),
    Case("digits", "ulx3s-25f", 8),
    Case("digits", "ulx3s-25f", 16),
    Case("digits_wide", "ulx3s-25f", 28),
    Case("nist7x7_easy", "ulx3s-45f", None, "np", 50),
    Case("xor", "icebreaker", None, "wp", 1, ",".join(FIXABLE), "forward"),
    Case("nist7x7_easy", "ulx3s-45f", None, "np", schedule=PIPELINED),
    Case("nist7x7_easy", "ulx3s-45f", None, "wp", schedule=PIPELINED),
    Case("xor", "ulx3s-25f", None, "np", schedule=PIPELINED),
)


def case_of(row: dict[str, Any]) -> Case:
    """The case that a recorded row was built from."""
    return Case._make(row.get(name) for name in Case._fields)


HEAD = ("board", "task", "core", "LUT", "DSP", "RAM", "MHz", "fmax MHz", "clocks/step", "steps/s")


def measure(case: Case, options: Options) -> dict[str, Any]:
    """Build one case (or take it from the cache) and count its clocks per step."""
    board, task = find_board(case.board), case.loaded()
    design = task_design(board, task)
    built = build(design, options, Printer(quiet=True))
    report = with_speed(built.report, measured_clocks(task, design.config))
    used = {kind: count["used"] for kind, count in report["resources"].items()}
    return {
        **case._asdict(),
        "lut": used["lut"],
        "dsp": used["dsp"],
        "ram": used["ram"],
        "core_hz": report["core_hz"],
        "fmax_mhz": report["fmax_mhz"],
        "clocks_per_step": report["clocks_per_step"],
        "steps_per_second": report["steps_per_second"],
        "seed": report["seed"],
        "attempts": len(report["attempts"]),
        "digest": report["digest"],
        "made_of": made_of(case),
    }


def made_of(case: Case, root: Path = ROOT) -> str:
    """A digest of the sources of a case's core and build."""
    kind = "folded" if case.lanes else "spatial"
    return build_sources(kind, find_board(case.board).fpga_family).digest(root)


def core_text(row: dict[str, Any]) -> str:
    """A core as text: 8 lanes; or spatial, wp, tau_theta 100; or spatial, wp, pipelined."""
    mark = " †" if row.get("earlier") else ""
    fixed = f", fixed {row['fixed'].replace(',', ', ')}" if row.get("fixed") else ""
    if row["lanes"]:
        return f"{row['lanes']} lanes{fixed}{mark}"
    difference = f" {row['difference']}" if row.get("difference") else ""
    window = f"tau_theta {row['tau_theta'] or 1}"
    if row.get("schedule"):
        window = row["schedule"]
    return f"spatial, {row['method']}{difference}, {window}{fixed}{mark}"


def cells(row: dict[str, Any]) -> list[str]:
    """A line of the table, in the order of HEAD."""
    if "error" in row:
        return [row["board"], row["task"], core_text(row), row["error"], *[""] * (len(HEAD) - 4)]
    return [
        row["board"],
        row["task"],
        core_text(row),
        f"{row['lut']:,}",
        str(row["dsp"]),
        str(row["ram"]),
        f"{row['core_hz'] / 1e6:.2f}",
        f"{row['fmax_mhz']:.2f}",
        f"{row['clocks_per_step']:.1f}",
        f"{row['steps_per_second']:,.0f}",
    ]


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table of the documentation."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|" + "--:|" * (len(HEAD) - 2)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    if any(row.get("earlier") for row in rows):
        lines += ["", "† not rebuilt with the others; the core may have changed since."]
    return "\n".join(lines)


@click.command()
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Only these tasks.")
@click.option("--board", "names", multiple=True, metavar="NAME", help="Only these boards.")
@click.option("--lanes", type=int, metavar="P", help="Only cores with so many lanes.")
@click.option("--method", type=click.Choice(("wp", "np")), help="Only cores built for this one.")
@click.option(
    "--schedule", type=click.Choice((SEQUENTIAL, PIPELINED)), help="Only cores of this one."
)
@click.option("--clock", "mhz", type=click.FloatRange(min=1), metavar="MHZ", help="Try only this.")
@click.option("--seed", type=click.IntRange(min=1), metavar="N", help="Place with this one alone.")
@json_option
def boards(
    tasks: tuple[str, ...],
    names: tuple[str, ...],
    lanes: int | None,
    method: str | None,
    schedule: str | None,
    mhz: float | None,
    seed: int | None,
    json_file: Path | None,
) -> None:
    """Build the cores of docs/boards.md: resources, clock and training steps per second.

    Takes hours where nothing is cached; with --clock each core is placed for the PLL setting below
    that one alone, not for the fastest that closes.  With --json the page is rewritten, too; where
    only some cases are built, the other rows of an earlier FILE stay, marked where the sources of
    cores have changed since.
    """
    if json_file is not None:
        check_json(json_file)
    chosen = [
        case
        for case in CASES
        if (not tasks or case.task in tasks)
        and (not names or case.board in names)
        and (lanes is None or case.lanes == lanes)
        and (method is None or case.method == method)
        and (schedule is None or (case.schedule or SEQUENTIAL) == schedule)
    ]
    if not chosen:
        raise UserError(
            "no case has that task, board, method, schedule and number of lanes; there are "
            + ", ".join(f"{case.task} on {case.board}" for case in CASES)
        )
    options = Options(
        clock_hz=None if mhz is None else int(mhz * 1e6), seeds=(seed,) if seed else SEEDS
    )
    rows = []
    for case in chosen:
        try:
            row = measure(case, options)
        except UserError as error:
            # A loss stays in the table, and the cases after it are built.
            row = {**case._asdict(), "error": str(error).partition(" (log:")[0]}
        rows.append(row)
        click.echo("  ".join(f"{key} {text}" for key, text in zip(HEAD, cells(row), strict=True)))
    if json_file is None:
        return
    rows = with_earlier(json_file, rows)
    record(json_file, "boards", rows)
    page = in_checkout("docs", "boards.md")
    replace_between(page, "builds", markdown(rows))
    click.echo(f"written: {page}")


def with_earlier(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all CASES in their order: these, and for the others those in `path`, marked as
    `earlier` where their sources have changed since."""
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError):
        earlier = []
    known = {case_of(row): row for row in earlier}
    for case, row in known.items():
        if case in CASES and row.get("made_of") != made_of(case):
            known[case] = {**row, "earlier": True}
    known |= {case_of(row): row for row in rows}
    return [known[case] for case in CASES if case in known]
