"""Board sessions that own the other end of their link: a simulated board, or a recording."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from mgd.golden_model.network import Network
from mgd.host.link.replay import ReplayTransport
from mgd.host.link.transport import Transport
from mgd.host.session.board import BoardSession


class RunningBoard(Protocol):
    """A simulated board (boards.simulated.board.SimulatedBoard)."""

    def close(self) -> None: ...


class SimulatedSession(BoardSession):
    """A session on a simulated board; closing it ends the simulation too.

    transport: to `board`, which the caller closes where this raises.
    """

    def __init__(self, board: RunningBoard, transport: Transport, network: Network) -> None:
        super().__init__(transport, network, backend="sim")
        self.board = board

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.board.close()


class ReplayedSession(BoardSession):
    """A session on a recording; leaving its `with` checks that all of it was replayed."""

    def __init__(self, recording: ReplayTransport, network: Network, backend: str) -> None:
        super().__init__(recording, network, backend)
        self._recording = recording

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is None:
            self._recording.check_finished()
