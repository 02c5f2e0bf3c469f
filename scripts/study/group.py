"""`mgd study`: the methods measured on the golden model, and compared with theory."""

from __future__ import annotations

from importlib import import_module

import click

STUDIES = {
    "angle": ("mgd.scripts.study.angle:angle", "The measured gradient against the true one."),
    "steps": ("mgd.scripts.study.steps:steps", "Steps to a solution, of a task and its variants."),
    "stream": ("mgd.scripts.study.stream:stream", "Steps and time by resident window and passes."),
    "noise": ("mgd.scripts.study.noise:noise", "Accuracy against each imperfection of hardware."),
}
"""Name: (module:function, line in --help)."""


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(STUDIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in STUDIES:
            return None
        module, name = STUDIES[cmd_name][0].split(":")
        return getattr(import_module(module), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in STUDIES.items()])


@click.group(cls=_Group)
def study() -> None:
    """Study the methods on the golden model, with plots."""
