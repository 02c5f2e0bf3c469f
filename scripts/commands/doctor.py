"""`mgd doctor`: checks that everything the project needs is installed."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version

import click

PYTHON_NEEDED = (3, 11)


@click.command()
def doctor() -> None:
    """Check Python, packages and tools.  Exits with 1 where one is missing, and says the cure."""
    missing = [_python()]
    click.echo("packages")
    missing += [_package(line) for line in _requirements()]
    click.echo("programs")
    missing += _tools()
    remedies = list(dict.fromkeys(remedy for remedy in missing if remedy))
    if remedies:
        click.echo(f"\n{len(remedies)} missing; run:")
        for remedy in remedies:
            click.echo(f"  {remedy}")
        sys.exit(1)
    click.echo("\nall there")


def _line(found: bool, name: str, detail: str) -> None:
    click.echo(f"{'ok     ' if found else 'MISSING'}  {name:<20} {detail}".rstrip())


def _python() -> str | None:
    """Each check prints its line and returns the remedy, or None where all is well."""
    found = sys.version_info >= PYTHON_NEEDED
    needed = ".".join(map(str, PYTHON_NEEDED))
    _line(found, "Python", f"{sys.version.split()[0]} (needed: {needed} or later)")
    return None if found else f"install Python {needed} or later"


def _requirements() -> list[str]:
    """The project's own requirements, without the optional ones."""
    try:
        return [line for line in requires("mgd-fpga") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return ["mgd-fpga"]


def _package(requirement: str) -> str | None:
    from packaging.requirements import Requirement

    parsed = Requirement(requirement)
    try:
        installed = version(parsed.name)
    except PackageNotFoundError:
        installed = ""
    found = bool(installed) and parsed.specifier.contains(installed, prereleases=True)
    wanted = f" (needed: {parsed.specifier})" if parsed.specifier and not found else ""
    _line(found, parsed.name, (installed or "not installed") + wanted)
    if found:
        return None
    if parsed.name == "mgd-fpga":
        return "pip install -e ."
    return f"pip install '{re.sub(r'[ ;].*', '', requirement)}'"


def _tools() -> list[str | None]:
    from mgd.boards.tools import check_tools

    remedies = []
    for tool in check_tools():
        _line(tool.found, tool.name, " ".join(part for part in (tool.version, tool.path) if part))
        remedies.append(None if tool.found else tool.remedy)
    return remedies
