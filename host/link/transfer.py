"""Transfers in parts: the form of requests, when they may be sent, and the check of replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mgd.golden_model.errors import UserError
from mgd.protocol.framing import MAX_READ, MAX_WRITE, REPLY_HEADER, SHORTER, Op, Space, Status

LIMITS = {Op.READ: (MAX_READ, 2), Op.WRITE: (MAX_WRITE, 8)}
"""Words of a request, and requests without a reply.  The board has room for one request beside that
which it works on, and works on a READ as long as its reply takes.  A WRITE it has done before the
next one has arrived, however many follow (see SHORTER)."""
ADDRESS_END = 1 << 24


class RefusedError(UserError):
    """The board answered with a status other than OK."""

    def __init__(self, message: str, status: Status, words_done: int):
        super().__init__(message)
        self.status = status
        """BUSY where waiting would help."""
        self.words_done = words_done
        """Words of that frame that were read or written before."""


@dataclass
class Transfer:
    """Words that are read from or written to blocks of consecutive addresses."""

    op: Op
    space: Space
    blocks: list[tuple[int, int]]
    """First address and number of words."""
    words: list[int]
    """Those to write, or room for those that are read: all blocks' words in a row."""

    def requests(self, size: Callable[[], int]) -> Iterator[Request]:
        """One after the other, each of at most `size()` words when it is taken."""
        first = 0
        for address, count in self.blocks:
            done = 0
            while done < count:
                part = min(size(), count - done)
                yield Request(first + done, address + done, part)
                done += part
            first += count


@dataclass
class Request:
    """A frame's part of a transfer."""

    first: int
    """Number of its first word within the transfer."""
    address: int
    count: int
    seq: int = -1
    sent: float = 0.0


def check_range(space: Space, address: int, count: int) -> None:
    """Raise UserError for addresses that a frame cannot name."""
    if count < 0 or address < 0 or address + count > ADDRESS_END:
        raise UserError(
            f"{count} words at address {address:#x} of space {space.name}: addresses must be "
            f"between 0 and {ADDRESS_END - 1:#x}, as a frame has 24 bits for them"
        )


def has_room(under_way: deque[Request], window: int) -> bool:
    """Whether the board will have room for another request when that arrives."""
    if len(under_way) < 2:
        return True
    longest = max(request.count for request in under_way)
    return len(under_way) < window and SHORTER * under_way[-1].count >= longest


def fits(asked: Op, count: int, op: int, status: int, left: int, words: bytes) -> bool:
    """Whether a reply can be one to a request for `count` words.  left: words not done."""
    done = count - left
    if op != asked or done < 0 or (status == Status.OK) != (left == 0):
        return False
    return len(words) == (4 * done if op == Op.READ else 0)


def is_older(asked: Op, count: int, op: int, frame: bytes) -> bool:
    """Whether a reply is one of version 2, which had status and words left in one byte."""
    return op == asked and len(frame) == REPLY_HEADER + 1 + (4 * count if op == Op.READ else 0)


def refusal_of(transfer: Transfer, request: Request, status: Status, done: int) -> RefusedError:
    """The error for a request that ended with `status` after `done` words."""
    reasons = {
        Status.BAD_REQUEST: "it does not know this request, or the register is not for that",
        Status.BAD_ADDRESS: "it has nothing at this address",
        Status.BUSY: "its core is running; wait until it is done",
    }
    doing = "read" if transfer.op == Op.READ else "write"
    return RefusedError(
        f"the board refused to {doing} {transfer.space.name} at {request.address + done:#x} "
        f"({status.name}): {reasons[status]}",
        status,
        done,
    )
