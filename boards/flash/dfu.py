"""The 16 bytes that a DFU boot loader wants at the end of a file."""

from __future__ import annotations

import struct
import zlib

SUFFIX_BYTES = 16
_ANY_RELEASE = 0xFFFF
_DFU_1_0 = 0x0100


def with_suffix(data: bytes, vendor: int, product: int) -> bytes:
    """`data` and its suffix: release, product, vendor, version of DFU, 'UFD', length, checksum.

    The checksum is the CRC-32 of all before it, without the inversion at the end.
    """
    body = data + struct.pack("<HHHH", _ANY_RELEASE, product, vendor, _DFU_1_0)
    body += b"UFD" + bytes([SUFFIX_BYTES])
    return body + struct.pack("<I", zlib.crc32(body) ^ 0xFFFFFFFF)
