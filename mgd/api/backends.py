"""From a --backend argument to an open session."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from mgd.golden_model.errors import UserError
from mgd.golden_model.run_spec import RunSpec
from mgd.host.link.transport import Transport
from mgd.host.session.base import Session
from mgd.host.task.errors import near
from mgd.host.task.task import Task
from mgd.protocol.capabilities import check_core
from mgd.protocol.core_kinds import layout_for

BACKENDS = ("sim", "golden")
REPLAY = "replay:"
"""Before the name of a recording that replaces a board."""


def say(line: str) -> None:
    """Show a line to people while they wait.  Programs get only errors on standard error."""
    if sys.stderr.isatty():
        click.echo(line, err=True)


def for_core(task: Task) -> Task:
    """`task`; raises UserError where no core supports it yet."""
    try:
        check_core(task.spec.network, task.spec.settings)
    except UserError as error:
        raise UserError(f"{task.origin}: {error}") from None
    return task


def sample_words(task: Task) -> int:
    """16-bit words of sample memory that the task's data sets take, each from an even word on.

    Of a task with a resident window that is the window, and as much for samples to evaluate.
    """
    # A test set that is the training set (xor) is written twice all the same.
    prepared = task.prepared
    # What is evaluated takes turns behind the training samples.
    evaluated = max(len(prepared.test), len(prepared.validation or ()))
    return words_of(task.spec, len(prepared.train), evaluated)


def words_of(spec: RunSpec, train: int, evaluated: int) -> int:
    """16-bit words of sample memory for so many samples."""
    record, resident = layout_for(spec).record_stride, spec.settings.resident
    counts = [train, evaluated]
    if resident:
        counts = [min(count, resident) for count in counts]
    return sum(-(-count * record // 2) * 2 for count in counts)


def check_port(name: str, what: str = "backend", others: tuple[str, ...] = BACKENDS) -> None:
    """Raise UserError for a misspelt backend, before it is said to be no port.

    what: the option's name; others: its other values.
    """
    # Every port of Linux and macOS is a path; those of Windows start with COM.
    if os.sep not in name and not name.upper().startswith("COM") and not os.path.exists(name):
        raise UserError(
            f"{what} {name!r} is unknown{near(name.lower(), others)}: it must be "
            f"{', '.join(others)} or a serial port such as /dev/ttyUSB0"
        )


def open_session(
    task: Task,
    backend: str,
    baud: int | None = None,
    record: Path | None = None,
    memory: int | None = None,
) -> Session:
    """A session for `task`: 'golden' (the model), 'sim' (the simulated board), a serial port, or
    'replay:FILE', a recording in place of a board.

    baud: the port's bits per second; None finds out.  record: a new file that takes down all
    bytes between host and board.  memory: 16-bit words of sample memory in the simulated board;
    None makes room for the task's data.
    Raises UserError where the board cannot be built, opened or is another core, or where there
    is no link to record.
    """
    if memory is None and backend == "sim":
        memory = sample_words(task)
    return open_core(task.spec, backend, baud, record, memory or 0, task.origin)


def open_core(
    spec: RunSpec,
    backend: str,
    baud: int | None,
    record: Path | None,
    memory: int,
    origin: str,
) -> Session:
    """As open_session, for a run without its data.  origin: of the run, for messages."""
    if record is not None:
        if backend == "golden" or backend.startswith(REPLAY):
            raise UserError(
                f"--record with --backend {backend}: no bytes go to a board there; record the "
                "backend sim or a serial port"
            )
        from mgd.host.link.recording import check_new

        check_new(record)
    if backend == "golden":
        from mgd.host.session.golden import GoldenSession

        return GoldenSession(spec.network, spec.core.lanes)
    network = spec.network
    try:
        check_core(network, spec.settings)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None
    if backend.startswith(REPLAY):
        from mgd.host.link.replay import ReplayTransport
        from mgd.host.session.attached import ReplayedSession

        recording = ReplayTransport(Path(backend.removeprefix(REPLAY)))
        return ReplayedSession(recording, network, backend)
    if backend != "sim":
        check_port(backend)
        from mgd.host.link.ports import open_port
        from mgd.host.session.board import BoardSession

        return BoardSession(_recorded(open_port(backend, baud), record), network, backend)
    from mgd.boards.simulated import board as simulated
    from mgd.host.link.transport import SerialTransport
    from mgd.host.session.attached import SimulatedSession
    from mgd.rtl.core_kinds import config_for

    board = simulated.start(config_for(layout_for(spec)), memory, notify=say)
    try:
        transport = _recorded(SerialTransport(board.port), record)
        return SimulatedSession(board, transport, network)
    except BaseException:
        board.close()
        raise


def _recorded(transport: Transport, record: Path | None) -> Transport:
    if record is None:
        return transport
    from mgd.host.link.recorder import RecordingTransport

    return RecordingTransport(transport, record)
