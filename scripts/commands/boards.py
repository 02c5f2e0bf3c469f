"""`mgd boards`: the known boards, and how each is flashed."""

from __future__ import annotations

import json
from typing import Any

import click

from mgd.boards.board import Board
from mgd.boards.registry import boards as known_boards
from mgd.boards.registry import find_board
from mgd.scripts.common.checkout import in_checkout
from mgd.scripts.common.markers import replace_between

COLUMNS = ("board", "FPGA", "LUTs", "DSPs", "RAM", "SPRAM", "serial", "baud", "tier")
_NUMBERS = (*COLUMNS[2:6], "baud")


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--docs", is_flag=True, help="Rewrite the table in docs/boards.md.")
def boards(name: str | None, as_json: bool, docs: bool) -> None:
    """List the boards, or show all about one, NAME.

    A board of your own is module:NAME or file.py:NAME: a boards.board.Board, or an Amaranth
    platform class.
    """
    chosen = [find_board(name)] if name else list(known_boards().values())
    if as_json:
        click.echo(json.dumps([details(board) for board in chosen], indent=2))
    elif docs:
        page = in_checkout("docs", "boards.md")
        replace_between(page, "boards", markdown(chosen))
        click.echo(f"written: {page}")
    elif name:
        for key, value in details(chosen[0]).items():
            click.echo(f"{key:<14} {value}")
    else:
        lines = [list(COLUMNS), *map(row, chosen)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = zip(COLUMNS, line, widths, strict=True)
            text = [c.rjust(w) if title in _NUMBERS else c.ljust(w) for title, c, w in cells]
            click.echo("  ".join(text).rstrip())
        click.echo("\n`mgd boards NAME` shows how one is flashed and wired.")


def row(board: Board) -> list[str]:
    """A line of the table, in the order of COLUMNS."""
    device = board.device
    return [
        board.name,
        device.name,
        f"{device.luts:,}",
        str(device.dsps),
        str(device.blocks),
        str(device.sprams or "-"),
        board.serial,
        f"{board.baud:,}",
        board.tier,
    ]


def details(board: Board) -> dict[str, Any]:
    """All of a description, names for machines."""
    device = board.device
    return {
        "board": board.name,
        "title": board.title,
        "device": device.name,
        "family": device.fpga_family.name,
        "luts": device.luts,
        "dsps": device.dsps,
        "blocks": device.blocks,
        "block_bits": device.block_bits,
        "sprams": device.sprams,
        "clock_hz": board.clock_hz,
        "serial": board.serial,
        "baud": board.baud,
        "baud_max": board.baud_max,
        "tier": board.tier,
        "flash": board.flash,
        "platform": board.platform,
        "note": board.note,
    }


def markdown(listed: list[Board]) -> str:
    """The table of the documentation: the boards, and how each is flashed."""
    head = [*COLUMNS, "flashed by"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join([*row(board), f'`{board.flash}`'])} |" for board in listed]
    notes = [f"- **{board.name}**: {board.note}" for board in listed if board.note]
    return "\n".join([*lines, "", *notes])
