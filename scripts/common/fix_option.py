"""--fix: settings that are constants in a command's core."""

from __future__ import annotations

import click

from mgd.protocol.fixed_settings import FIXABLE


def _names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> list[str] | None:
    """The names in `a,b`; none at all for an empty text, all of them for `all`."""
    if value is None:
        return None
    if value == "all":
        return list(FIXABLE)
    return [name for name in (part.strip() for part in value.split(",")) if name]


fix_option = click.option(
    "--fix",
    "fixed",
    metavar="NAMES",
    callback=_names,
    help="Settings that are constants in the core, as method,difference; 'all'; '' for none.  "
    "It has the task's values of them, no others, and takes fewer cells.  [default: the task's]",
)
