"""The program that flashes a board, and its arguments, as the board's makers recommend."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from mgd.boards.board import Board
from mgd.boards.families.registry import FAMILIES
from mgd.golden_model.errors import UserError

BITSTREAM = "{bitstream}"
"""Stands for the file's path in a Flasher's arguments."""
HEAD_BYTES = 4096


@dataclass(frozen=True)
class Flasher:
    """A program that flashes one board, and its arguments."""

    program: str
    load: tuple[str, ...]
    """Into the FPGA's own memory, lost when the power goes off.  Empty: it cannot."""
    write: tuple[str, ...]
    """Into the flash memory that the FPGA starts from."""
    package: str
    """The Debian package; an address where there is none, empty where nothing is known."""

    @property
    def remedy(self) -> str:
        """How to install it."""
        if not self.package:
            return "install it and put its folder into PATH"
        if ":" in self.package:
            return self.package
        return f"sudo apt-get install {self.package}"


@dataclass(frozen=True)
class Flashing:
    """How one board is flashed."""

    flashers: tuple[Flasher, ...]
    """The first one that is installed is used."""
    ready: str
    """How to make the board visible to the program."""


def _loader(board: str, *more: str, unprotect: bool = False) -> Flasher:
    arguments = ("-b", board, *more)
    guard = ("--unprotect-flash",) if unprotect else ()
    return Flasher(
        "openFPGALoader",
        load=(*arguments, BITSTREAM),
        write=(*arguments, "-f", *guard, BITSTREAM),
        package="openfpgaloader",
    )


PLUG = "plug the board in with a cable that carries data"

# The FTDI chip is wired to the flash memory, not to the FPGA: without turned jumpers nothing can
# be loaded otherwise.
_ICEBREAKER = Flashing(
    (
        Flasher("openFPGALoader", (), ("-b", "ice40_generic", BITSTREAM), "openfpgaloader"),
        Flasher("iceprog", (), (BITSTREAM,), "fpga-icestorm"),
    ),
    PLUG,
)
_ULX3S = Flashing(
    (
        _loader("ulx3s"),
        Flasher(
            "fujprog", (BITSTREAM,), ("-j", "flash", BITSTREAM), "https://github.com/kost/fujprog"
        ),
    ),
    f"{PLUG}, into the socket US1",
)
# --alt 0: its boot loader offers two places, the other one is for software.
_ORANGECRAB = Flashing(
    (
        Flasher(
            "dfu-util",
            (),
            ("--device", "1209:5af0", "--alt", "0", "--download", BITSTREAM),
            "dfu-util",
        ),
    ),
    f"{PLUG} while you hold its button down: that starts the boot loader",
)
_COLORLIGHT = Flashing((_loader("colorlight-i5", unprotect=True),), PLUG)
FLASHING: dict[str, Flashing] = {
    "icebreaker": _ICEBREAKER,
    **{f"ulx3s-{size}": _ULX3S for size in ("12f", "25f", "45f", "85f")},
    **{f"orangecrab-{size}": _ORANGECRAB for size in ("25f", "85f")},
    "colorlight-i5": _COLORLIGHT,
    "colorlight-5a-75b": Flashing(
        (_loader("colorlight", "-c", "ft232", unprotect=True),),
        "power it and connect an FT232H to its JTAG pins, or name your cable by --cable",
    ),
    "tang-nano-9k": Flashing((_loader("tangnano9k"),), PLUG),
    "tang-primer-20k": Flashing((_loader("tangprimer20k"),), PLUG),
}
"""By the names of boards.registry.  Any other board is flashed as its description says."""


@dataclass(frozen=True)
class Bitstream:
    """A file and the board that it is for, where a report beside it says so."""

    path: Path
    board: str | None
    digest: str | None
    timing_met: bool = True


def udev_rules() -> str:
    """The text of boards/flash/udev/60-mgd-fpga.rules."""
    return files("mgd.boards.flash").joinpath("udev", "60-mgd-fpga.rules").read_text()


def flashing(board: Board) -> Flashing:
    """How `board` is flashed.  Raises UserError where its description does not say."""
    if board.name in FLASHING:
        return FLASHING[board.name]
    program, *arguments = shlex.split(board.flash) or [""]
    if not any(BITSTREAM in argument for argument in arguments):
        raise UserError(
            f"board {board.name}: flash = {board.flash!r} is no command with {BITSTREAM} in it; "
            "write one into its description"
        )
    flasher = Flasher(program, tuple(arguments), tuple(arguments), "")
    return Flashing((flasher,), PLUG)


def find_bitstream(path: Path) -> Bitstream:
    """The bitstream of a build folder, or the file itself.

    Raises UserError where there is none, or the report beside it cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    report = _report(folder / "report.json")
    if path.is_dir():
        if report is None:
            raise UserError(
                f"{path}: holds no report.json, so it is no folder of `mgd build`; give such a "
                "folder or a bitstream"
            )
        path = folder / report["bitstream"]
    elif report is not None and report["bitstream"] != path.name:
        report = None  # it is about another file
    if not path.is_file():
        raise UserError(f"{path}: no such file; make it with `mgd build`")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: is empty, so it is no bitstream; build it again")
    if report is None:
        return Bitstream(path, None, None)
    expected = report.get("bitstream_sha256")
    if expected not in (None, hashlib.sha256(path.read_bytes()).hexdigest()):
        raise UserError(
            f"{path}: is not the file that report.json beside it describes; build again"
        )
    return Bitstream(path, report["board"], report.get("digest"), report.get("timing_met", True))


def _report(path: Path) -> dict[str, Any] | None:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); build again") from None
    if not isinstance(report, dict) or not {"board", "bitstream"} <= report.keys():
        raise UserError(f"{path}: does not name board and bitstream; build again")
    return report


def check_bitstream(bitstream: Bitstream, board: Board) -> None:
    """Raise UserError where a bitstream is for another board than `board`."""
    wanted = board.fpga_family.name
    if bitstream.board not in (None, board.name):
        raise UserError(
            f"{bitstream.path}: was built for {bitstream.board}, not for {board.name}; build it "
            f"with --board {board.name}, or flash it with --board {bitstream.board}"
        )
    found = bitstream_format(bitstream.path)
    if found != wanted:
        found_text = f"a bitstream for {found}" if found else "no bitstream that we know"
        raise UserError(f"{bitstream.path}: is {found_text}; {board.name} takes one for {wanted}")


def bitstream_format(path: Path) -> str | None:
    """The FPGA family whose bitstreams begin like this file; None: no family's."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return next((name for name, family in FAMILIES.items() if family.is_bitstream(head)), None)


def find_program(board: Board) -> tuple[Flasher, str]:
    """The first flasher of `board` that is on PATH, and its path.

    Raises UserError, with the command that installs the usual one, where there is none.
    """
    # Environment variables such as OPENFPGALOADER are not asked: builds set them to `true`, and
    # nothing would be flashed, without an error.
    flashers = flashing(board).flashers
    for flasher in flashers:
        if path := shutil.which(flasher.program):
            return flasher, path
    names = " or ".join(flasher.program for flasher in flashers)
    raise UserError(
        f"{names} is not installed, and {board.name} is flashed with it: {flashers[0].remedy}"
    )


def command_line(
    flasher: Flasher, program: str, bitstream: Path, permanent: bool, cable: str | None = None
) -> tuple[list[str], bool]:
    """The command, and whether it writes the flash memory.

    permanent: write it; else it is written only where nothing else is possible.
    """
    writes = permanent or not flasher.load
    arguments = list(flasher.write if writes else flasher.load)
    if cable is not None:
        if flasher.program != "openFPGALoader":
            raise UserError(
                f"--cable {cable}: {flasher.program} knows no cables; install openFPGALoader "
                "(sudo apt-get install openfpgaloader) or leave the option out"
            )
        if "-c" in arguments:
            arguments[arguments.index("-c") + 1] = cable
        else:
            arguments = ["-c", cable, *arguments]
    # An absolute path: a name that starts with "-" is then no option.
    return [program, *(a.replace(BITSTREAM, str(bitstream.absolute())) for a in arguments)], writes
