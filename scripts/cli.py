"""The command group `mgd` and the one place where errors become a line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from mgd.golden_model.errors import UserError

COMMANDS = {
    "train": (
        "mgd.scripts.commands.train:train",
        "Train a task on the simulated core, the model or a board.",
    ),
    "resume": ("mgd.scripts.commands.train:resume", "Go on with a run that was interrupted."),
    "watch": (
        "mgd.scripts.commands.watch:watch",
        "Follow a run that is under way, or show one that ended.",
    ),
    "report": ("mgd.scripts.commands.report:report", "Write a run as one HTML file."),
    "predict": (
        "mgd.scripts.commands.predict:predict",
        "Apply a run's network to the samples of a file.",
    ),
    "verify": (
        "mgd.scripts.commands.verify:verify",
        "Compare the core with the golden model, bit for bit.",
    ),
    "boards": (
        "mgd.scripts.commands.boards:boards",
        "List the boards that a core can be built for.",
    ),
    "fit": (
        "mgd.scripts.commands.fit:fit",
        "Estimate which boards a task fits, and how fast it trains there.",
    ),
    "build": ("mgd.scripts.commands.build:build_command", "Make a bitstream for a board."),
    "flash": ("mgd.scripts.commands.flash:flash", "Load a bitstream into a board."),
    "selftest": ("mgd.scripts.commands.selftest:selftest", "Check a board, part by part."),
    "soak": (
        "mgd.scripts.commands.soak:soak",
        "Train while link, board and host fail, and compare the weights.",
    ),
    "bench": ("mgd.scripts.bench.group:bench", "Measure the core, the simulation and their peers."),
    "study": (
        "mgd.scripts.study.group:study",
        "Study the methods on the golden model, with plots.",
    ),
    "doctor": ("mgd.scripts.commands.doctor:doctor", "Check that everything needed is installed."),
}
"""Name: (module:function, line in --help).  Modules are imported when the command is run, so
that `mgd --help` does not wait for NumPy, Amaranth and Matplotlib."""

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


class Group(click.Group):
    """Imports a command when it is asked for; prints any UserError as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        return getattr(import_module(module), name)

    def resolve_command(self, ctx: click.Context, args: list[str]):
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            raise UserError(f"command {name!r} is unknown; there are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run, and exit: 0, 1 where a check failed, 2 for bad input, 130 for Ctrl-C."""
        extra["standalone_mode"] = False
        try:
            code = super().main(args, *rest, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            sys.exit(EXIT_USER_ERROR)
        except UserError as error:
            _fail(str(error))
        except click.ClickException as error:
            _fail(error.format_message())
        except (click.Abort, KeyboardInterrupt):
            click.echo("interrupted; nothing was written", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except MemoryError:
            _fail("out of memory; use a smaller network or fewer samples")
        # Click turns BrokenPipeError (`mgd … | head`) into exit code 1 by itself.
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> NoReturn:
    click.echo("error: " + " ".join(message.split()), err=True)
    sys.exit(EXIT_USER_ERROR)


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from mgd.host.runs.folder import package_version

        click.echo(f"mgd {package_version()}")
        ctx.exit()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Version."
)
def main() -> None:
    """FPGA cores that train a neural network by multiplexed gradient descent."""


if __name__ == "__main__":
    main()
