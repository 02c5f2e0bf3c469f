"""`mgd flash`: put a bitstream into a board."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from mgd.golden_model.errors import UserError

INSTALL_RULES = """\
mgd flash --udev | sudo tee /etc/udev/rules.d/60-mgd-fpga.rules
sudo udevadm control --reload && sudo udevadm trigger"""


@click.command()
@click.argument(
    "source", metavar="DIR_OR_BITSTREAM", required=False, type=click.Path(path_type=Path)
)
@click.option("--board", "name", metavar="NAME", help="The board; a build folder names its own.")
@click.option(
    "--permanent", is_flag=True, help="Write the flash memory: the board then starts with it."
)
@click.option("--cable", metavar="NAME", help="A JTAG cable, by openFPGALoader's name for it.")
@click.option("--udev", is_flag=True, help="Print the udev rules that let you use boards.")
def flash(
    source: Path | None, name: str | None, permanent: bool, cable: str | None, udev: bool
) -> None:
    """Load a folder of `mgd build`, or a bitstream, into the board that is plugged in.

    Without --permanent it is gone when the power goes, on boards that can do so.
    """
    from mgd.boards.flash import programmers as engine
    from mgd.boards.flash.run import PermissionRefusedError, run
    from mgd.boards.registry import find_board

    if udev:
        click.echo(engine.udev_rules(), nl=False)
        return
    if source is None:
        raise UserError("no bitstream: give a folder of `mgd build` or a bitstream file")
    bitstream = engine.find_bitstream(source)
    name = name or bitstream.board
    if name is None:
        raise UserError(
            f"{source}: no report.json beside it says which board it is for; add --board NAME"
        )
    board = find_board(name)
    engine.check_bitstream(bitstream, board)
    flasher, program = engine.find_program(board)
    command, writes = engine.command_line(flasher, program, bitstream.path, permanent, cable)
    if bitstream.board is None:
        click.echo("note: no report.json beside it, so only its format could be checked", err=True)
    if not bitstream.timing_met:
        click.echo("note: this build does not meet its timing; it may compute wrongly", err=True)
    if writes and not permanent:
        click.echo(f"note: {board.name} keeps it in flash memory, it cannot be loaded otherwise")
    click.echo(shlex.join(command))
    try:
        run(command, board, _pass_on)
    except PermissionRefusedError:
        click.echo(f"{engine.udev_rules()}\nTo install these rules:\n{INSTALL_RULES}", err=True)
        raise
    digest = f", build {bitstream.digest[:12]}" if bitstream.digest else ""
    click.echo(
        f"{board.name} holds {bitstream.path.name}{digest}; check it: mgd selftest --port PORT"
    )


def _pass_on(data: bytes) -> None:
    """A program's output unchanged, including its progress bar."""
    sys.stderr.buffer.write(data)
    sys.stderr.flush()
