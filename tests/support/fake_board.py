"""A board in memory, written from protocol/, behind a transport that can lose and
spoil."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

from mgd.host.link.transport import Transport
from mgd.protocol.framing import Op, Space, Status
from mgd.protocol.registers import EPOCH_SHIFT, Register


def encode(body: bytes) -> bytes:
    """A frame on the wire."""
    body += zlib.crc32(body).to_bytes(4, "little")
    return body.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e") + b"\x7e"


def unescape(frame: bytes) -> bytes:
    return frame.replace(b"\x7d\x5e", b"\x7e").replace(b"\x7d\x5d", b"\x7d")


class FakeBoard(Transport):
    """Answers at once.  Words that were never written are read as 0.

    `spoil(number, reply)` returns what arrives at the host instead of the encoded reply number
    `number` (from 0); `status(space, address)` may refuse words.
    """

    name = "fake"

    def __init__(self):
        self.words: dict[tuple[int, int], int] = {}
        self.accesses: list[tuple[int, int, int]] = []
        self.requests: list[bytes] = []
        self.spoil: Callable[[int, bytes], bytes] = lambda _number, reply: reply
        self.status: Callable[[int, int], Status] = lambda _space, _address: Status.OK
        self.most_under_way = 0
        self.closed = 0
        self._unread: list[bytes] = []
        self._partial = b""

    def write(self, data: bytes) -> None:
        *frames, self._partial = (self._partial + data).split(b"\x7e")
        for frame in filter(None, frames):
            body = unescape(frame)
            assert zlib.crc32(body[:-4]) == int.from_bytes(body[-4:], "little")
            self.requests.append(body[:-4])
            reply = self.spoil(len(self.requests) - 1, encode(self.answer(body[:-4])))
            self._unread.append(reply)
        self.most_under_way = max(self.most_under_way, len(self._unread))

    def answer(self, body: bytes) -> bytes:
        seq, op, space, count = body[:4]
        address, zero, data = int.from_bytes(body[4:7], "little"), body[7], body[8:]
        size = 4 * count if op == Op.WRITE else 0
        known = op in list(Op) and space in list(Space) and count >= 1 and zero == 0
        if not known or len(data) != size:
            return bytes([seq, op, Status.BAD_REQUEST, count])
        out = b""
        for done in range(count):
            at = address + done
            status = self.status(space, at)
            if status != Status.OK:
                return bytes([seq, op]) + out + bytes([status, count - done])
            self.accesses.append((op, space, at))
            if op == Op.WRITE:
                self.words[space, at] = int.from_bytes(data[4 * done : 4 * done + 4], "little")
                if (space, at) == (Space.REGISTERS, Register.EPOCH):
                    self.busy(False)
            else:
                out += self.words.get((space, at), 0).to_bytes(4, "little")
        return bytes([seq, op]) + out + bytes([Status.OK, 0])

    def read(self, timeout_s: float) -> bytes:
        while self._unread:
            data = self._unread.pop(0)
            if data:
                return data
        time.sleep(timeout_s)
        return b""

    def discard(self) -> None:
        self._unread.clear()

    def close(self) -> None:
        self.closed += 1

    def busy(self, busy: bool) -> None:
        """What STATUS says from now on, with the epoch that was written last."""
        epoch = self.words.get((Space.REGISTERS, Register.EPOCH), 0)
        self.words[Space.REGISTERS, Register.STATUS] = epoch << EPOCH_SHIFT | busy

    def inject(self, data: bytes) -> None:
        """Bytes that arrive at the host unasked."""
        self._unread.append(data)
