"""host.link.ports: finding the baud rate of a board."""

from __future__ import annotations

import os
import pty
import select
import termios
import threading
import tty

import pytest

from mgd.host.link import ports
from mgd.host.link.ports import BAUDS, NoAnswerError, open_port
from mgd.host.link.transport import PortError, SerialTransport
from mgd.protocol.framing import Space
from tests.support.fake_board import FakeBoard


class SlowBoard:
    """A board behind a pseudo-terminal that understands one rate only, told by its B constant.

    At any other it answers with garbage.
    """

    def __init__(self, speed: int):
        self.speed = speed
        self.ours, self.theirs = pty.openpty()
        tty.setraw(self.theirs)
        self.name = os.ttyname(self.theirs)
        self.heard: list[int] = []
        self.board = FakeBoard()
        self.stop, self._stopper = os.pipe()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self.ours, self.stop], [], [])
            if self.stop in ready:
                return
            data = os.read(self.ours, 4096)
            speed = termios.tcgetattr(self.theirs)[5]
            self.heard.append(speed)
            if speed != self.speed:
                os.write(self.ours, b"\xf8\x00\x7e\x80")
                continue
            self.board.write(data)
            while reply := self.board.read(0):
                os.write(self.ours, reply)

    def close(self) -> None:
        os.write(self._stopper, b"x")
        self.thread.join(10)
        for handle in (self.ours, self.theirs, self.stop, self._stopper):
            os.close(handle)


@pytest.fixture
def start():
    boards: list[SlowBoard] = []

    def make(speed: int) -> SlowBoard:
        boards.append(SlowBoard(speed))
        return boards[-1]

    yield make
    for board in boards:
        board.close()


@pytest.mark.parametrize(
    ("baud", "speed"), [(3_000_000, termios.B3000000), (1_000_000, termios.B1000000)]
)
def test_rate_is_found(start, baud, speed):
    board = start(speed)
    transport = open_port(board.name)
    assert transport.baud == baud
    # Only the rates before it were tried, as a board counts what it cannot understand.
    tried = {getattr(termios, f"B{rate}") for rate in BAUDS[: BAUDS.index(baud) + 1]}
    assert set(board.heard) == tried
    transport.close()


def test_a_refusal_is_an_answer(start):
    board = start(termios.B3000000)
    board.board.status = lambda space, _address: 3 if space == Space.IDENTITY else 0
    assert open_port(board.name).baud == 3_000_000


def test_a_given_rate_is_not_tried(start):
    board = start(0)
    assert open_port(board.name, 500_000).baud == 500_000
    assert board.heard == []


def test_no_answer(start, monkeypatch):
    monkeypatch.setattr(ports, "PROBE_SECONDS", 0.01)
    board = start(0)
    with pytest.raises(NoAnswerError, match=f"no answer from the board on {board.name}") as error:
        open_port(board.name)
    message = str(error.value)
    assert "at 3 000 000, 2 000 000, 1 000 000, 921 600," in message
    assert "115 200 baud" in message
    assert "--baud" in message
    assert "\n" not in message
    SerialTransport(board.name).close()  # it was closed, else it were in use


def limit(monkeypatch, most: int) -> None:
    """Ports that can do no more than `most` baud."""
    right = SerialTransport.__init__.__globals__["serial"].Serial._reconfigure_port

    def reconfigure(self, force_update=False):
        if self._baudrate > most:
            raise ValueError(f"Failed to set custom baud rate ({self._baudrate})")
        right(self, force_update)

    monkeypatch.setattr("serial.serialposix.Serial._reconfigure_port", reconfigure)


def test_adapter_that_is_slower(start, monkeypatch):
    limit(monkeypatch, 1_000_000)
    board = start(termios.B1000000)
    assert open_port(board.name).baud == 1_000_000
    assert set(board.heard) == {termios.B1000000}


def test_adapter_that_can_do_nothing(start, monkeypatch):
    limit(monkeypatch, 9600)
    with pytest.raises(PortError, match="can do none of the rates 3 000 000,"):
        open_port(start(0).name)


def test_port_that_is_missing_or_vanishes(start, monkeypatch):
    with pytest.raises(PortError, match="does not exist"):
        open_port("/dev/ttyNONE9")
    board = start(0)

    def gone(_self, _timeout):
        raise PortError("port is gone")

    with monkeypatch.context() as patch:
        patch.setattr(SerialTransport, "read", gone)
        with pytest.raises(PortError, match="port is gone"):
            open_port(board.name)
    SerialTransport(board.name).close()  # it was closed, else it were in use
