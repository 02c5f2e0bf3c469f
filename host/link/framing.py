"""Frames of protocol.link_protocol: escapes and CRC."""

from __future__ import annotations

import re
import zlib

from mgd.protocol.link_protocol import CRC_BYTES, ESCAPE, ESCAPE_XOR, FLAG

_ESCAPED = re.compile(bytes([ESCAPE]) + b"(.)", re.DOTALL)
_SPECIAL = re.compile(b"[%c%c]" % (FLAG, ESCAPE))


def encode(body: bytes) -> bytes:
    """What goes over the wire for `body`: it, its CRC and the closing flag."""
    body += zlib.crc32(body).to_bytes(CRC_BYTES, "little")
    escaped = _SPECIAL.sub(lambda m: bytes([ESCAPE, m[0][0] ^ ESCAPE_XOR]), body)
    return escaped + bytes([FLAG])


def decode(frame: bytes) -> bytes | None:
    """The body of what came before a flag, or None where it is damaged."""
    plain = _ESCAPED.sub(lambda m: bytes([m[1][0] ^ ESCAPE_XOR]), frame)
    body, crc = plain[:-CRC_BYTES], plain[-CRC_BYTES:]
    if frame.endswith(bytes([ESCAPE])) or int.from_bytes(crc, "little") != zlib.crc32(body):
        return None
    return body
