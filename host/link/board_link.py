"""Reads and writes a board's spaces by the frames of protocol.framing."""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Sequence

from mgd.golden_model.errors import UserError
from mgd.host.link.transfer import (
    LIMITS,
    RefusedError,
    Request,
    Transfer,
    check_range,
    fits,
    has_room,
    is_older,
    refusal_of,
)
from mgd.host.link.transport import Transport
from mgd.protocol.framing import (
    FLAG,
    MAX_READ,
    MAX_WRITE,
    REPLY_HEADER,
    REPLY_TAIL,
    Op,
    Space,
    Status,
    decode,
    encode,
)
from mgd.protocol.identity import VERSION, WORDS_MAX, Identity
from mgd.protocol.registers import Register

SIZE_MIN = 4
"""Words below which a request is not cut: its frame would hardly become shorter."""
GOOD_REPLIES = 32
"""In a row: then requests become longer again."""
TRIPS = 16
TRIP_FACTOR = 3
TRIP_EXTRA_S = 0.005
"""On a noisy link a reply is overdue after so many times the longest of the last TRIPS replies."""
NOISY_PATIENCE = 4
REPLY_BYTES_MAX = 2 * (4 * MAX_READ + 8)
"""With every byte escaped, without the closing flag."""


class Link:
    """A board at the other end of `transport`.

    A request without a reply for `timeout_s` seconds is sent again, which the protocol allows for
    all of them; after `attempts` times in which the board answered nothing at all it is said to be
    gone.  A link that works but proves to be noisy is treated otherwise: requests are repeated as
    soon as a reply is overdue, long ones are cut in halves until they get through, and it takes
    NOISY_PATIENCE times as long until the board is said to be gone.

    `repeats` counts requests sent again, `errors` replies that were damaged.  All methods raise
    UserError where the board does not answer or the port is gone, RefusedError where it answers
    with a status other than OK.
    """

    def __init__(self, transport: Transport, *, timeout_s: float = 0.5, attempts: int = 6):
        self.transport = transport
        self.timeout_s = timeout_s
        self.attempts = attempts
        self.errors = 0
        self.repeats = 0
        self._seq = 0
        self._received = bytearray()
        self._frames: deque[bytes] = deque()
        self._size = MAX_READ
        """Most words in a request, as far as the line is concerned."""
        self._good = 0
        """Replies since the size was changed or one was missing."""
        self._noisy = False
        """Whether it has answered, but not always."""
        self._trips: deque[float] = deque(maxlen=TRIPS)
        """Seconds that the last replies took."""

    def read(self, space: Space, address: int, count: int) -> list[int]:
        """`count` words from `address` on, each 0 to 2^32 − 1."""
        return self.read_blocks(space, [(address, count)])

    def read_blocks(self, space: Space, blocks: Sequence[tuple[int, int]]) -> list[int]:
        """All words of several blocks, (address, count) each, without a pause in between."""
        for address, count in blocks:
            check_range(space, address, count)
        room = [0] * sum(count for _, count in blocks)
        return self._exchange(Transfer(Op.READ, space, list(blocks), room))

    def write(self, space: Space, address: int, words: Sequence[int]) -> None:
        """Write words of 0 to 2^32 − 1 to `address` on."""
        self.write_blocks(space, [(address, words)])

    def write_blocks(self, space: Space, blocks: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Write several blocks, (address, words) each, without a pause in between."""
        for address, block in blocks:
            check_range(space, address, len(block))
        words = [int(word) for _, block in blocks for word in block]
        bad = next((word for word in words if not 0 <= word < 1 << 32), None)
        if bad is not None:
            raise UserError(
                f"word {bad} for space {space.name}: a word has 32 bits, so it must be "
                "between 0 and 4294967295; write negative numbers modulo 2^32"
            )
        places = [(address, len(block)) for address, block in blocks]
        self._exchange(Transfer(Op.WRITE, space, places, words))

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
        """The board's identity record.

        Raises UserError where it is no board of ours or speaks another protocol version.
        """
        try:
            size = self.read(Space.IDENTITY, 0, 4)[3]
            words = self.read(Space.IDENTITY, 0, min(size, WORDS_MAX))
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

    def _exchange(self, transfer: Transfer) -> list[int]:
        """Do the whole transfer, and return its words."""
        under_way: deque[Request] = deque()
        """In the order in which they were sent, which is that of the replies."""
        again: deque[Request] = deque()
        longest, window = LIMITS[transfer.op]
        fresh = transfer.requests(lambda: min(self._size, longest))
        missed, foreign = 0, 0
        refusal: RefusedError | None = None
        self._receive_nothing_old()
        heard = time.monotonic()
        while True:
            while refusal is None and has_room(under_way, window):
                request = self._halved(again) if again else next(fresh, None)
                if request is None:
                    break
                self._send(transfer, request)
                under_way.append(request)
            if not under_way:
                break
            frame = self._next_frame(max(under_way[-1].sent, heard) + self._patience(missed))
            now = time.monotonic()
            if frame is None:
                missed += 1
                self._noisy = bool(self._trips)  # it has answered before
                end = self.timeout_s * self.attempts * (NOISY_PATIENCE if self._noisy else 1)
                if missed >= self.attempts and now - heard >= end:
                    raise self._gone(missed, foreign)
                self._lost(under_way, again)
                continue
            seq, op = frame[:REPLY_HEADER]
            found = next((r for r in (*under_way, *again) if r.seq == seq), None)
            if found is None:
                continue  # the late reply to a request that was repeated
            words = frame[REPLY_HEADER:-REPLY_TAIL]
            status, left = frame[-REPLY_TAIL:]
            if not fits(transfer.op, found.count, op, status, left, words):
                self._damaged()
                foreign += is_older(transfer.op, found.count, op, frame)
                continue
            heard, missed = now, 0
            if found in again:
                again.remove(found)
            else:
                while under_way[0] is not found:
                    # Replies keep their order: that to an earlier request will not come any more.
                    self._noisy = True
                    self._lost(under_way, again, 1)
                under_way.popleft()
                self._trips.append(now - found.sent)
            self._went_well()
            if status == Status.OK:
                if transfer.op == Op.READ:
                    end = found.first + found.count
                    transfer.words[found.first : end] = struct.unpack(f"<{found.count}I", words)
            elif refusal is None:
                refusal = refusal_of(transfer, found, Status(status), found.count - left)
                again.clear()  # but wait for pending ones
        if refusal is not None:
            raise refusal
        return transfer.words

    def _gone(self, missed: int, foreign: int) -> UserError:
        """foreign: replies of an older protocol."""
        if foreign >= missed:
            return UserError(
                f"the board on {self.transport.name} answers in another way than version "
                f"{VERSION} of the protocol: build and load the design with this version of the "
                "program"
            )
        return UserError(
            f"no answer from the board on {self.transport.name} to {missed} attempts of "
            f"{self.timeout_s:g} s: {self.transport.hint()}"
        )

    def _send(self, transfer: Transfer, request: Request) -> None:
        if request.seq < 0:
            self._seq = request.seq = (self._seq + 1) % 256
        header = bytes([request.seq, transfer.op, transfer.space, request.count])
        body = header + request.address.to_bytes(4, "little")
        if transfer.op == Op.WRITE:
            words = transfer.words[request.first : request.first + request.count]
            body += struct.pack(f"<{request.count}I", *words)
        # The first flag ends whatever garbage the board has heard before.
        self.transport.write(bytes([FLAG]) + encode(body))
        request.sent = time.monotonic()

    def _lost(
        self, under_way: deque[Request], again: deque[Request], count: int | None = None
    ) -> None:
        """The first `count` pending requests, or all, must be sent again."""
        for _ in range(len(under_way) if count is None else count):
            again.append(under_way.popleft())
            self.repeats += 1
        self._good = 0
        # A short request was not lost because of its length.
        size = min(max(request.count for request in again), self._size)
        if self._noisy and (2 * size > self._size or size >= MAX_WRITE):
            self._size = max(SIZE_MIN, size // 2)

    def _halved(self, again: deque[Request]) -> Request:
        """The first request to be sent again; the part that is too long is sent later."""
        request = again.popleft()
        if request.count > self._size:
            size = self._size
            rest = request.first + size, request.address + size, request.count - size
            again.appendleft(Request(*rest))
            request = Request(request.first, request.address, size)
        return request

    def _damaged(self) -> None:
        self.errors += 1
        self._noisy = bool(self._trips)

    def _went_well(self) -> None:
        self._good += 1
        if self._good == GOOD_REPLIES:
            self._noisy &= self._size < MAX_READ
            self._size, self._good = min(2 * self._size, MAX_READ), 0

    def _patience(self, missed: int) -> float:
        """Seconds to wait for a reply, after so many that did not come."""
        if not self._noisy or not self._trips or missed % 4 == 3:
            # The long wait is there for a board that has become slower.
            return self.timeout_s
        usual = TRIP_FACTOR * max(self._trips) + TRIP_EXTRA_S
        return min(usual * 2**missed, max(usual, self.timeout_s / 5), self.timeout_s)

    def _receive_nothing_old(self) -> None:
        """Discard bytes received since the last exchange: replies to repeated requests."""
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
                if body is not None and len(body) >= REPLY_HEADER + REPLY_TAIL:
                    return body
                self._damaged()
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._received += self.transport.read(left)
            *frames, rest = bytes(self._received).split(bytes([FLAG]))
            self._frames.extend(frames)
            # Endless garbage without a flag must not fill the memory.
            self._received = bytearray(rest[-2 * REPLY_BYTES_MAX :])
