"""Boards by the name that a user gives."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from mgd.boards.board import Board, load
from mgd.boards.devices import DEVICES
from mgd.golden_model.errors import UserError

KNOWN = ("icebreaker", "ulx3s", "orangecrab", "colorlight", "tang_nano")
"""Files of boards/known/, in the order in which boards are listed."""


@cache
def boards() -> dict[str, Board]:
    """Name: board, of all that come with the package."""
    listed = [b for name in KNOWN for b in import_module(f"mgd.boards.known.{name}").BOARDS]
    return {board.name: board for board in listed}


def find_board(name: str) -> Board:
    """The board of that name, or the user's own at 'module:name' or 'file.py:name'.

    The object there is a Board, or an Amaranth platform class, whose attributes are then used.
    Raises UserError with near matches where the name is unknown.
    """
    if ":" in name:
        return _own_board(name)
    if name in boards():
        return boards()[name]
    # All sizes of a board whose name was cut short, in order; else similar names.
    near = [known for known in boards() if name.lower() in known]
    near = near or difflib.get_close_matches(name.lower(), list(boards()), n=3, cutoff=0.5)
    hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
    raise UserError(
        f"board {name!r} is unknown{hint}: `mgd boards` lists them, and a board of your own is "
        "module:NAME or file.py:NAME"
    )


def _own_board(place: str) -> Board:
    module, _, name = place.rpartition(":")
    if module.endswith(".py"):
        module = _import_file(Path(module))
    else:
        # A script's folder is not searched when the command is mgd.
        sys.path.insert(0, "")
    try:
        found = load(f"{module}:{name}", "board")
    finally:
        if "" in sys.path:
            sys.path.remove("")
    if isinstance(found, Board):
        return found
    return board_of_platform(found, place)


def _import_file(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"board file {path}: no such file; give file.py:NAME")
    name = f"own_board_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"board file {path}: {type(error).__name__}: {error}; correct it") from None
    return name


def board_of_platform(platform: Any, place: str) -> Board:
    """A description of an Amaranth platform class found at `place`.

    Raises UserError where it is none, its device is unknown, or it has no UART or clock.
    """
    from amaranth.build import Platform

    if not (isinstance(platform, type) and issubclass(platform, Platform)):
        raise UserError(
            f"board {place}: is neither a boards.board.Board nor an Amaranth platform class; give "
            "the name of one"
        )
    found: Any = platform
    device = getattr(found, "device", None)
    device = device if isinstance(device, str) else getattr(found, "family", None)
    if device not in DEVICES:
        raise UserError(
            f"board {place}: device {device!r} is unknown; there are {', '.join(DEVICES)}"
        )
    resources = {resource.name: resource for resource in found.resources}
    clock = resources.get(found.default_clk)
    if clock is None or clock.clock is None:
        raise UserError(
            f"board {place}: its default clock {found.default_clk!r} has no frequency; make a "
            "boards.board.Board instead"
        )
    if "uart" not in resources:
        raise UserError(
            f"board {place}: the platform has no resource 'uart'; make a boards.board.Board that "
            "names the pins"
        )
    return Board(
        name=found.__name__.removesuffix("Platform").strip("_").lower(),
        title=found.__name__,
        platform=f"{found.__module__}:{found.__qualname__}",
        device_name=device,
        clock_hz=round(clock.clock.frequency),
        serial="the platform's uart",
        baud=1_000_000,
        led=("led", 0, "") if "led" in resources else None,
        flash="",
    )
