"""`mgd report`: a run as one HTML file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mgd.golden_model.errors import UserError
from mgd.host.report.page import MARK, report_html
from mgd.host.runs.atomic import write_result
from mgd.host.runs.folder import check_json
from mgd.host.runs.stored import StoredRun, find_run, read_run

NAME = "report.html"
KEYS = (
    "network", "lanes", "board", "device", "core_hz", "fmax_mhz", "timing_met", "resources",
)  # fmt: skip
"""The keys that are copied from a build's report."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=f"The page.  [default: {NAME} in the run's folder]",
)
@click.option(
    "--build",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A folder that `mgd build` wrote, to show what this core takes on a board.",
)
def report(run: Path, out: Path | None, build: Path | None) -> None:
    """Write RUN, a run's folder or its name in runs/, as one HTML file.

    It holds curves, weights as pictures, resources, settings and counts of errors, and needs
    neither a network nor another file.
    """
    folder = find_run(run)
    if not (folder / "run.json").exists():
        raise UserError(
            f"{folder}: the run has not ended; follow it with `mgd watch {folder}`, and write the "
            "report afterwards"
        )
    stored = read_run(folder)
    page = report_html(stored, None if build is None else read_build(build, stored))
    target = out or folder / NAME
    write_page(target, page)
    click.echo(f"written    {target}")


def read_build(folder: Path, run: StoredRun) -> dict[str, Any]:
    """report.json of a build.  Raises UserError where there is none, or of another core."""
    path = folder / "report.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in KEYS if key not in values]
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--build {folder}: {path} cannot be read ({reason}); give a folder that `mgd build` "
            "wrote"
        ) from None
    if missing:
        raise UserError(
            f"--build {folder}: {path} has no {', '.join(missing)}; build again with this version"
        )
    layers = "-".join(map(str, run.values["network"]["layers"]))
    built, trained = (values["network"], values["lanes"]), (layers, run.values["lanes"])
    if built != trained:
        raise UserError(
            f"--build {folder}: holds a core for {built[0]} with {built[1]} lanes, the run was on "
            f"{trained[0]} with {trained[1]}; give a build of the same core"
        )
    return values


def write_page(path: Path, page: str) -> None:
    """Write the page, completely or not at all; only an earlier report is overwritten."""
    check_json(path)  # it checks the place of any file
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace")[:500]:
        raise UserError(
            f"{path}: is a file that this command did not write; choose another name by --out"
        )
    write_result(path, page.encode())
