"""A recording in place of a board."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from mgd.golden_model.errors import UserError
from mgd.host.link.recording import FAILED, SENT, Event, read_recording
from mgd.host.link.transport import PortError, Transport
from mgd.protocol.framing import FLAG, REQUEST_HEADER, Op, Space, decode
from mgd.protocol.registers import Register


class ReplayError(UserError):
    """The host did something else than when the recording was made."""


class ReplayTransport(Transport):
    """Answers as the board did when `path` was recorded, in the same portions.

    The host must send the recorded bytes, divided into calls in any way.  The board's bytes arrive
    as soon as the host has sent as much as it had sent before them.  A read to which the board had
    sent nothing takes its full time-out; no other time is replayed.  Raises ReplayError, which
    names the frame, at the first difference, UserError where the file is no whole recording, and
    PortError where the port failed during the recording.
    """

    def __init__(self, path: Path) -> None:
        header, events = read_recording(path)
        self.path = path
        self.name = f"replay:{path}"
        self.baud: int | None = header.get("baud")
        self._expected = b"".join(event.data for event in events if event.kind == SENT)
        self._sent = 0
        self._answers: deque[tuple[int, Event]] = deque()
        position = 0
        for event in events:
            if event.kind == SENT:
                position += len(event.data)
            else:
                self._answers.append((position, event))

    def write(self, data: bytes) -> None:
        self._fail_as_recorded("write")
        expected = self._expected[self._sent : self._sent + len(data)]
        if data != expected:
            pairs = zip(data, expected, strict=False)
            same = next((k for k, (a, b) in enumerate(pairs) if a != b), len(expected))
            self._differs(self._sent + same, self._expected[: self._sent] + data)
        self._sent += len(data)

    def read(self, timeout_s: float) -> bytes:
        self._fail_as_recorded("read")
        event = self._arrived()
        if event is not None and event.kind != FAILED:
            self._answers.popleft()
            return event.data
        if not self._answers and self._sent == len(self._expected):
            raise ReplayError(
                f"{self.name}: the recording ends here, after {self._frames(self._sent)} frames, "
                "and the host waits for an answer: the host was stopped there; record it again"
            )
        time.sleep(max(timeout_s, 0))
        return b""

    def discard(self) -> None:
        self._fail_as_recorded("discard")
        while (event := self._arrived()) is not None and event.kind != FAILED:
            self._answers.popleft()

    def close(self) -> None:
        pass  # there is nothing to release

    def check_finished(self) -> None:
        """Raise ReplayError where the host has not sent all that it sent then."""
        if self._sent < len(self._expected):
            number = self._frames(self._sent) + 1
            raise ReplayError(
                f"{self.name}: the host ended before frame {number}, in the recording "
                f"{self._frame(self._expected, self._sent)}: {_REMEDY}"
            )

    def hint(self) -> str:
        return "the board did not answer either when this was recorded"

    def _arrived(self) -> Event | None:
        """The next event, if the host has sent everything recorded before it."""
        if self._answers and self._answers[0][0] <= self._sent:
            return self._answers[0][1]
        return None

    def _fail_as_recorded(self, call: str) -> None:
        event = self._arrived()
        if event is not None and event.kind == FAILED and event.call == call:
            self._answers.popleft()
            raise PortError(event.message)

    def _differs(self, position: int, sent: bytes) -> None:
        """Raise for the first byte that differs, number `position` of all."""
        number = self._frames(position) + 1
        what = self._frame(sent, position)
        if position == len(self._expected):
            raise ReplayError(
                f"{self.name}: the host sent frame {number}, {what}; the recording has "
                f"{number - 1} frames: {_REMEDY}"
            )
        start = self._expected.rfind(bytes([FLAG]), 0, position) + 1
        raise ReplayError(
            f"{self.name}: frame {number} differs from the recording in byte "
            f"{position - start + 1}: sent {sent[position]:#04x} ({what}), recorded "
            f"{self._expected[position]:#04x} ({self._frame(self._expected, position)}): {_REMEDY}"
        )

    def _frames(self, position: int) -> int:
        """Frames that end before byte number `position` of the recording."""
        ends = self._expected[:position].split(bytes([FLAG]))[:-1]
        return sum(bool(frame) for frame in ends)

    @staticmethod
    def _frame(stream: bytes, position: int) -> str:
        """The request of the frame around a byte, or of the next one."""
        flag = bytes([FLAG])
        while stream[position : position + 1] == flag and stream[position - 1 : position] == flag:
            position += 1
        start = stream.rfind(flag, 0, position) + 1
        while stream[start : start + 1] == flag:
            start += 1
        end = stream.find(flag, start)
        return describe_request(stream[start : end if end >= 0 else len(stream)])


_REMEDY = (
    "it was made with another task, seed, option or version of the program; give the same, or "
    "record it again"
)


def describe_request(frame: bytes) -> str:
    """A request in words, from the bytes before its flag: 'READ REGISTERS STEP, 1 word'."""
    body = decode(frame)
    if body is None or len(body) < REQUEST_HEADER:
        return f"{len(frame)} bytes that are no frame"
    _seq, op, space, count = body[:4]
    address = int.from_bytes(body[4:7], "little")
    place = f"{address:#x}"
    if space == Space.REGISTERS:
        place = next((r.name for r in Register if r == address), place)
    names = [
        kind(value).name if value in list(kind) else f"{kind.__name__} {value}"
        for kind, value in ((Op, op), (Space, space))
    ]
    text = f"{names[0]} {names[1]} {place}, {count} word{'s' if count != 1 else ''}"
    if op == Op.WRITE and count == 1:
        text += f": {int.from_bytes(body[REQUEST_HEADER:], 'little'):#x}"
    return text
