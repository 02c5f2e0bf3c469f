"""The frames of the link: sizes, operations and spaces, escapes and CRC.

A frame ends with the byte FLAG, which occurs nowhere else, so any garbage on the wire is over at
the next one: a data byte FLAG or ESCAPE is sent as ESCAPE and the byte with one bit inverted
(RFC 1662's HDLC-like framing).  A frame holds a header, words of 32 bits and a CRC-32, all
little-endian:

    request:  seq u8, op u8, space u8, count u8, address u24, zero u8, [words], crc u32
    reply:    seq u8, op u8, [words], status u8, left u8, crc u32

The board answers every request whose CRC is right, and nothing else.  It reads or writes word
by word and stops at the first status other than OK; `left` is how many words were not done.  A
reply to READ carries exactly the words done.  A WRITE has 1 to MAX_WRITE words, a READ 1 to
MAX_READ.  A host may have two requests without a reply, and more WRITEs (see docs/protocol.md).

Every request may be repeated: reading and writing the same words twice, and starting a command
whose end is given as an absolute step number, change nothing.
"""

from __future__ import annotations

import re
import zlib
from enum import IntEnum

FLAG = 0x7E
ESCAPE = 0x7D
ESCAPE_XOR = 0x20
"""The bit that is inverted in the byte after an ESCAPE."""

REQUEST_HEADER = 8
REPLY_HEADER = 2
REPLY_TAIL = 2
"""Status and words not done."""
CRC_BYTES = 4
FRAME_MAX = 512
"""Most bytes of a request, escapes undone, without the flag."""
MAX_WRITE = (FRAME_MAX - REQUEST_HEADER - CRC_BYTES) // 4
"""Most words in a WRITE."""
SHORTER = 16
"""A WRITE may follow others that were not answered if the one before it is not more than this
many times shorter than the longest of those: that one is then done before it has arrived."""
MAX_READ = 255
"""Most words in a READ; they need no room in the board."""


class Op(IntEnum):
    READ = 1
    WRITE = 2


class Status(IntEnum):
    OK = 0
    BAD_REQUEST = 1
    """Unknown op or space, a count the frame does not hold, or a register that can only be read
    or only be written."""
    BAD_ADDRESS = 2
    BUSY = 3
    """The core is running: the readable registers and the identity can be read, STEP_TARGET and
    samples written."""


class Space(IntEnum):
    REGISTERS = 0
    IDENTITY = 1
    SAMPLES = 2
    """Sample memory: word k holds the 16-bit words 2k (lower half) and 2k + 1.  It may be written
    while the core is busy."""
    WEIGHTS = 3
    """Weight memories: address = lane << LANE_SHIFT | word; two's complement in the low
    weight_bits, the bits above are read as 0."""
    ACCUMULATORS = 4
    """The gradient accumulators' low 32 bits, addressed as the weights are; BAD_ADDRESS in a core
    that has none, or cannot show them.  The bits above the accumulator's width are read as 0."""
    ACCUMULATORS_HIGH = 5
    """Their bits from 32 on; BAD_ADDRESS where they have no more than 32.  A word written to any of
    its addresses goes with every word that is written to ACCUMULATORS after it."""


LANE_SHIFT = 16
"""Position of a lane's number in an address of WEIGHTS or ACCUMULATORS."""
LANE_WORDS_MAX = 1 << LANE_SHIFT
"""Words that an address can name in a lane."""

_ESCAPED = re.compile(bytes([ESCAPE]) + b"(.)", re.DOTALL)
_SPECIAL = re.compile(b"[%c%c]" % (FLAG, ESCAPE))


def encode(body: bytes) -> bytes:
    """The bytes on the wire for `body`: it, its CRC and the closing flag."""
    body += zlib.crc32(body).to_bytes(CRC_BYTES, "little")
    escaped = _SPECIAL.sub(lambda m: bytes([ESCAPE, m[0][0] ^ ESCAPE_XOR]), body)
    return escaped + bytes([FLAG])


def decode(frame: bytes) -> bytes | None:
    """The body of the bytes before a flag, or None where they are damaged."""
    plain = _ESCAPED.sub(lambda m: bytes([m[1][0] ^ ESCAPE_XOR]), frame)
    body, crc = plain[:-CRC_BYTES], plain[-CRC_BYTES:]
    if frame.endswith(bytes([ESCAPE])) or int.from_bytes(crc, "little") != zlib.crc32(body):
        return None
    return body
