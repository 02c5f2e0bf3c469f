"""From a --backend argument to an open session."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from golden_model.errors import UserError
from host.session import Session
from host.task import Task
from host.task_errors import near

BACKENDS = ("sim", "golden")


class SimulatedSession:
    """A session on a simulated board that it started; closing it ends the simulation too.

    Everything but close() and the context manager is the session's own.
    """

    def __init__(self, board: Any, session: Session) -> None:
        self._board = board
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def close(self) -> None:
        try:
            self._session.close()
        finally:
            self._board.close()

    def __enter__(self) -> SimulatedSession:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def say(line: str) -> None:
    """Tell people what takes long.  Programs get errors only on standard error."""
    if sys.stderr.isatty():
        click.echo(line, err=True)


def for_core(task: Task) -> Task:
    """`task`; raises UserError where it asks for what no core has yet."""
    from rtl.variants import check_core

    try:
        check_core(task.network(), task.settings())
    except UserError as error:
        raise UserError(f"{task.origin}: {error}") from None
    return task


def sample_words(task: Task) -> int:
    """16-bit words of sample memory that the task's data sets take, each from an even word on."""
    # A test set that is the training set (xor) is written twice all the same.
    record = task.core_config().record_stride
    return sum(-(-len(samples) * record // 2) * 2 for samples in task.datasets())


def check_port(name: str, what: str = "backend", others: tuple[str, ...] = BACKENDS) -> None:
    """Raise UserError for a misspelt backend, before it is said to be no port.

    what: the option's name; others: what else may stand there.
    """
    # Every port of Linux and macOS is a path; those of Windows start with COM.
    if os.sep not in name and not name.upper().startswith("COM") and not os.path.exists(name):
        raise UserError(
            f"{what} {name!r} is unknown{near(name.lower(), others)}: it must be "
            f"{', '.join(others)} or a serial port such as /dev/ttyUSB0"
        )


def open_session(task: Task, backend: str, baud: int | None = None) -> Session:
    """A session for `task`: 'golden' (the model), 'sim' (the simulated board) or a serial port.

    baud: the port's bits per second; None finds out.
    Raises UserError where the board cannot be built, opened or is another core.
    """
    if backend == "golden":
        from host.golden_session import GoldenSession

        return GoldenSession(task.network(), task.lanes)
    for_core(task)
    from host.board_session import BoardSession

    if backend != "sim":
        check_port(backend)
        from host.ports import open_port

        return BoardSession(open_port(backend, baud), task.network(), backend=backend)
    from boards import simulated

    network = task.network()
    board = simulated.start(task.core_config(), sample_words(task), notify=say)
    try:
        session = BoardSession(board.port, network, backend="sim")
    except BaseException:
        board.close()
        raise
    return SimulatedSession(board, session)  # type: ignore[return-value]
