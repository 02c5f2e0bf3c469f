"""--schedule: whether a spatial core waits for its updates."""

from __future__ import annotations

import click

schedule_option = click.option(
    "--schedule",
    metavar="sequential|pipelined",
    help="Of a spatial core: wait for every update, or never, and see them some steps late.  "
    "[default: the task's]",
)
