"""Running a flasher, and explaining its errors."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

from mgd.boards.board import Board
from mgd.boards.flash.programmers import flashing
from mgd.golden_model.errors import UserError

LIMIT_SECONDS = 600
"""The slowest flash write takes a few minutes; after this long a program hangs."""
CHUNK_BYTES = 4096
TAIL_BYTES = 65536


class PermissionRefusedError(UserError):
    """The user may not open the USB device: the udev rules help."""


def run(command: list[str], board: Board, echo: Callable[[bytes], None]) -> None:
    """Run a flasher; `echo` gets its output as it comes.

    Raises UserError where it fails, PermissionRefusedError where the user lacks the right.
    """
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"{command[0]}: cannot be run: {error.strerror}; reinstall it") from None
    try:
        tail = _follow(process, name, echo)
    except KeyboardInterrupt:
        raise UserError(
            f"{name} was interrupted: the board may hold half a bitstream; flash it again"
        ) from None
    finally:
        _end(process)
    output = tail.decode(errors="replace")
    # A boot loader that starts the new design leaves the bus before dfu-util has asked for its
    # last status.
    if process.returncode and not (name == "dfu-util" and "Download done" in output):
        raise failure(shlex.join(command), process.returncode, output, board)


def _follow(process: subprocess.Popen, name: str, echo: Callable[[bytes], None]) -> bytes:
    assert process.stdout is not None
    tail, end = b"", time.monotonic() + LIMIT_SECONDS
    with DefaultSelector() as selector:
        selector.register(process.stdout, EVENT_READ)
        while selector.select(max(0.0, end - time.monotonic())):
            data = os.read(process.stdout.fileno(), CHUNK_BYTES)
            if not data:
                try:
                    process.wait(max(0.0, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    break
                return tail
            echo(data)
            tail = (tail + data)[-TAIL_BYTES:]
    raise UserError(
        f"{name} was not done after {LIMIT_SECONDS} s and was ended: "
        "unplug the board, plug it in again and flash it again"
    )


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout:
        process.stdout.close()


NOT_PERMITTED = re.compile(
    r"LIBUSB_ERROR_ACCESS|usb_?open\(\) failed|insufficient permission|permission denied"
    r"|not permitted|ftdi device: -4\b",
    re.IGNORECASE,
)
NOT_FOUND = re.compile(
    r"device not found|No DFU capable USB device|Can't find iCE FTDI|Cannot find JTAG cable"
    r"|no device found",
    re.IGNORECASE,
)
UNKNOWN_BOARD = re.compile(r"cannot find board", re.IGNORECASE)


def failure(command: str, code: int, output: str, board: Board) -> UserError:
    """The error for a flasher's exit code and output: one line with a cure."""
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def line(pattern: re.Pattern[str]) -> str | None:
        return next((text for text in lines if pattern.search(text)), None)

    if found := line(NOT_PERMITTED):
        return PermissionRefusedError(
            f"this user may not open the board's USB device ({found}): install the udev rules, "
            "then unplug the board and plug it in again"
        )
    if found := line(NOT_FOUND):
        return UserError(f"no {board.name} was found ({found}): {flashing(board).ready}")
    if found := line(UNKNOWN_BOARD):
        return UserError(
            f"the installed openFPGALoader is too old for {board.name} ({found}): install a newer "
            "one, https://trabucayre.github.io/openFPGALoader/guide/install.html"
        )
    last = lines[-1] if lines else "it printed nothing"
    return UserError(f"`{command}` failed with {reason} ({last}): see its output above")
