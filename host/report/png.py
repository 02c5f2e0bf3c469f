"""Small pictures with a palette as PNG."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np


def png(pixels: np.ndarray, palette: np.ndarray, transparent: int | None = None) -> bytes:
    """A PNG file.

    pixels: (rows, columns) uint8, indices into palette: (colours, 3) uint8, red, green, blue.
    transparent: an index that is shown as nothing.
    """
    rows, columns = pixels.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    lines = np.concatenate([np.zeros((rows, 1), dtype=np.uint8), pixels], axis=1)
    parts = [(b"IHDR", header), (b"PLTE", palette.astype(np.uint8).tobytes())]
    if transparent is not None:
        parts.append((b"tRNS", bytes([255] * transparent + [0])))
    parts += [(b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def data_uri(picture: bytes) -> str:
    """A PNG as text for the src of an image."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()
