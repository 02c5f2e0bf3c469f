"""Reads and writes a board's spaces by the frames of rtl.protocol."""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from golden_model.errors import UserError
from host.framing import decode, encode
from host.transport import Transport
from rtl.protocol import (
    FLAG,
    MAX_WORDS,
    REPLY_HEADER,
    RESULT_LEFT,
    Identity,
    Op,
    Register,
    Space,
    Status,
)

WINDOW = 2
"""Requests without a reply: the board has room for one beside that which it works on."""
ADDRESS_END = 1 << 24
IDENTITY_WORDS_MAX = 256
REPLY_BYTES_MAX = 512
"""With every byte escaped, without the closing flag."""


class RefusedError(UserError):
    """The board answered with a status other than OK."""

    def __init__(self, message: str, status: Status, words_done: int):
        super().__init__(message)
        self.status = status
        """BUSY where waiting would help."""
        self.words_done = words_done
        """Words of that frame that were read or written before."""


@dataclass
class _Request:
    op: Op
    space: Space
    address: int
    count: int
    words: bytes
    attempts: int = 0


class Link:
    """A board at the other end of `transport`.

    A request without a reply for `timeout_s` seconds is sent again, `attempts` times in all; the
    protocol allows every request to be repeated.  `repeats` counts requests sent again, `errors`
    replies that were damaged.  All methods raise UserError where the board does not answer or
    the port is gone, RefusedError where it answers with a status other than OK.
    """

    def __init__(self, transport: Transport, *, timeout_s: float = 0.5, attempts: int = 4):
        self.transport = transport
        self.timeout_s = timeout_s
        self.attempts = attempts
        self.errors = 0
        self.repeats = 0
        self._seq = 0
        self._received = bytearray()
        self._frames: deque[bytes] = deque()

    def read(self, space: Space, address: int, count: int) -> list[int]:
        """`count` words from `address` on, each 0 to 2^32 − 1."""
        requests = [
            _Request(Op.READ, space, at, size, b"") for at, size in _split(space, address, count)
        ]
        return [word for words in self._exchange(requests) for word in words]

    def write(self, space: Space, address: int, words: Sequence[int]) -> None:
        """Write words of 0 to 2^32 − 1 to `address` on."""
        words = [int(word) for word in words]
        requests, done = [], 0
        for at, size in _split(space, address, len(words)):
            try:
                packed = struct.pack(f"<{size}I", *words[done : done + size])
            except struct.error as error:
                bad = next(word for word in words if not 0 <= word < 1 << 32)
                raise UserError(
                    f"word {bad} for space {space.name}: a word has 32 bits, so it must be "
                    "between 0 and 4294967295; write negative numbers modulo 2^32"
                ) from error
            requests.append(_Request(Op.WRITE, space, at, size, packed))
            done += size
        self._exchange(requests)

    def read_register(self, register: Register) -> int:
        """One 32-bit register."""
        return self.read(Space.REGISTERS, register, 1)[0]

    def write_register(self, register: Register, value: int) -> None:
        """One 32-bit register."""
        self.write(Space.REGISTERS, register, [value])

    def read_register64(self, register: Register) -> int:
        """A register of two words, also one that counts while it is read."""
        high = self.read(Space.REGISTERS, register + 1, 1)[0]
        while True:
            low, again = self.read(Space.REGISTERS, register, 2)
            if again == high:
                return low | high << 32
            high = again  # a carry passed between the two reads

    def identify(self) -> Identity:
        """What the board says of itself.

        Raises UserError where it is no board of ours or speaks another protocol version.
        """
        try:
            size = self.read(Space.IDENTITY, 0, 4)[3]
            words = self.read(Space.IDENTITY, 0, min(size, IDENTITY_WORDS_MAX))
            return Identity.from_words(words)
        except (ValueError, IndexError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"the board on {self.transport.name} cannot be used: {error}; build and load the "
                "design with this version of the program"
            ) from error

    def close(self) -> None:
        """Close the transport.  May be called twice."""
        self.transport.close()

    def _exchange(self, requests: list[_Request]) -> list[list[int]]:
        """Send all requests and return the words of their replies, in order."""
        results: list[list[int]] = [[] for _ in requests]
        waiting = deque(range(len(requests)))
        under_way: dict[int, int] = {}
        refusal: RefusedError | None = None
        self._receive_nothing_old()
        deadline = 0.0
        while waiting or under_way:
            while waiting and len(under_way) < WINDOW:
                index = waiting.popleft()
                self._seq = (self._seq + 1) % 256
                under_way[self._seq] = index
                self._send(self._seq, requests[index])
                deadline = time.monotonic() + self.timeout_s
            frame = self._next_frame(deadline)
            if frame is None:
                for seq, index in under_way.items():
                    self._repeat(seq, requests[index])
                deadline = time.monotonic() + self.timeout_s
                continue
            seq, op = frame[:REPLY_HEADER]
            if seq not in under_way:
                continue  # the late reply to a request that was repeated
            request = requests[under_way[seq]]
            words = frame[REPLY_HEADER:-1]
            left, status = divmod(frame[-1], RESULT_LEFT)
            if not _fits(request, op, status, left, words):
                self.errors += 1
                continue
            index = under_way.pop(seq)
            deadline = time.monotonic() + self.timeout_s
            if status == Status.OK:
                results[index] = list(struct.unpack(f"<{len(words) // 4}I", words))
            elif refusal is None:
                refusal = _refusal(request, Status(status), request.count - left)
                waiting.clear()  # but wait for what is under way
        if refusal is not None:
            raise refusal
        return results

    def _send(self, seq: int, request: _Request) -> None:
        request.attempts += 1
        header = bytes([seq, request.op, request.space, request.count])
        body = header + request.address.to_bytes(4, "little") + request.words
        # The first flag ends whatever garbage the board has heard before.
        self.transport.write(bytes([FLAG]) + encode(body))

    def _repeat(self, seq: int, request: _Request) -> None:
        if request.attempts >= self.attempts:
            raise UserError(
                f"no answer from the board on {self.transport.name} to {request.attempts} "
                f"attempts of {self.timeout_s:g} s: {self.transport.hint()}"
            )
        self.repeats += 1
        self._send(seq, request)

    def _receive_nothing_old(self) -> None:
        """Forget what came since the last exchange: replies to repeated requests."""
        self.transport.discard()
        self._received.clear()
        self._frames.clear()

    def _next_frame(self, deadline: float) -> bytes | None:
        """The next undamaged reply, or None at the deadline."""
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if not frame:
                    continue  # flags alone are no frames
                body = decode(frame)
                if body is not None and len(body) > REPLY_HEADER:
                    return body
                self.errors += 1
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._received += self.transport.read(left)
            *frames, rest = bytes(self._received).split(bytes([FLAG]))
            self._frames.extend(frames)
            # Endless garbage without a flag must not fill the memory.
            self._received = bytearray(rest[-2 * REPLY_BYTES_MAX :])


def _split(space: Space, address: int, count: int) -> list[tuple[int, int]]:
    """Address and size of each frame of a transfer."""
    if count < 0 or address < 0 or address + count > ADDRESS_END:
        raise UserError(
            f"{count} words at address {address:#x} of space {space.name}: addresses must be "
            f"between 0 and {ADDRESS_END - 1:#x}, as a frame has 24 bits for them"
        )
    return [(address + done, min(MAX_WORDS, count - done)) for done in range(0, count, MAX_WORDS)]


def _fits(request: _Request, op: int, status: int, left: int, words: bytes) -> bool:
    """Whether a reply can be one to this request.  left: words not done."""
    done = request.count - left
    if op != request.op or done < 0 or (status == Status.OK) != (left == 0):
        return False
    return len(words) == (4 * done if op == Op.READ else 0)


def _refusal(request: _Request, status: Status, done: int) -> RefusedError:
    at = request.address + done
    reasons = {
        Status.BAD_REQUEST: "it does not know this request, or the register is not for that",
        Status.BAD_ADDRESS: "it has nothing at this address",
        Status.BUSY: "its core is running; wait until it is done",
    }
    doing = "read" if request.op == Op.READ else "write"
    return RefusedError(
        f"the board refused to {doing} {request.space.name} at {at:#x} ({status.name}): "
        f"{reasons[status]}",
        status,
        done,
    )
