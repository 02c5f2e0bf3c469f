"""Running a tool as a step of a build: it ends with us, and its failure becomes one line."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from mgd.golden_model.errors import UserError

Progress = Callable[[str, "float | None", str], None]
"""Called as (step, None, its object) before a step and (step, seconds, its result) after it."""

ROOM = 1 << 20
"""Bytes that must be free after a step: some tools do not notice that a file was cut off."""

LOOK_SECONDS = 5
"""Pause between two reads of a tool's output."""

_NO_ROOM = "no room is left on this disk; make room or set MGD_CACHE to a folder elsewhere"


class HopelessError(UserError):
    """A tool that would not have ended."""


@contextmanager
def timed(progress: Progress, step: str, detail: str = "") -> Iterator[list[str]]:
    """Report a step to `progress`; the caller puts the parts of its result into the list."""
    progress(step, None, detail)
    begin = time.perf_counter()
    result: list[str] = []
    yield result
    progress(step, time.perf_counter() - begin, " ".join(result))


def run_tool(
    name: str,
    command: Sequence[str],
    folder: Path,
    products: Sequence[str],
    log: str,
    hopeless: Callable[[str], bool] | None = None,
) -> str:
    """Run a command in `folder` until it ends, and return its output.

    name: of the tool, in messages.  products: files that it must leave.  log: the file for its
    output; a tool that writes that file itself has its output in log + ".out".  It gets a
    process group of its own, which is killed whole where anything interrupts us.  Raises
    UserError, in one line, where the tool cannot be started, fails, is killed, leaves a file
    out or fills the disk.

    hopeless: called with the output so far, every few seconds and at the end; where it returns
    True the tool would run for ever, and is ended with HopelessError.  That is so even if the tool
    has ended by then, so that the result does not depend on the machine's speed.
    """
    output = folder / (log + ".out" if log in command else log)
    try:
        with output.open("wb") as file:
            output_text = partial(output.read_text, encoding="utf-8", errors="replace")
            code = _run(name, command, folder, file, hopeless and (lambda: hopeless(output_text())))
    except OSError as error:
        raise UserError(f"{name}: {folder}: {error.strerror}; {_NO_ROOM}") from None
    text = output_text()
    if hopeless and hopeless(text):
        raise HopelessError(f"{name} came to no end: {reason(text)}")
    check_room(name, folder, text)
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        raise UserError(
            f"{name} was killed by signal {number} ({signal_name(number)}): most often the machine "
            "ran out of memory; close other programs, or build with fewer lanes"
        )
    if code:
        raise UserError(f"{name} failed with exit code {code}: {reason(text)}")
    for product in products:
        path = folder / product
        if not path.is_file() or path.stat().st_size == 0:
            raise UserError(f"{name} ended without an error but left no {product}: {reason(text)}")
    return text


def _run(
    name: str,
    command: Sequence[str],
    folder: Path,
    output: BinaryIO,
    hopeless: Callable[[], bool] | None,
) -> int:
    with _interruptible() as started:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(
                f"{name} cannot be started ({command[0]}: {error.strerror}); `mgd doctor` checks "
                "the tools"
            ) from None
        try:
            started()
            while hopeless:
                try:
                    return process.wait(LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    if hopeless():
                        return 0
            return process.wait()
        finally:
            if process.poll() is None:
                # Its children are in the group, too: the tools from PyPI start some.
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                process.wait()


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """SIGTERM, which ends us without `finally`, acts like Ctrl-C, and neither loses a tool.

    A signal that comes while the tool is being started is deferred until the caller holds the
    process and calls the yielded function: before that nobody could end the tool.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    holds, deferred = False, False

    def stop(_number, _frame):
        nonlocal deferred
        deferred = True
        if holds:
            raise KeyboardInterrupt

    def started():
        nonlocal holds
        holds = True
        if deferred:
            raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield started
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        if deferred and not holds:  # The tool did not start; its error must not hide the signal.
            raise KeyboardInterrupt


def check_room(name: str, folder: Path, log: str = "") -> None:
    """Raise UserError where the disk is full, or was according to the tool's log."""
    if shutil.disk_usage(folder).free < ROOM or "No space left on device" in log:
        raise UserError(f"{name}: {folder}: {_NO_ROOM}")


def reason(log: str) -> str:
    """The line of a log with the reason of a failure: the first error, else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\bERROR\b|\bError\b|terminate called", line)]
    return (errors or lines[-1:] or ["it printed nothing"])[0]


def signal_name(number: int) -> str:
    """SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
