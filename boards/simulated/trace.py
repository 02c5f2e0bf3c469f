"""Reads the trace of the simulated board's probe (see simulated.cpp)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mgd.rtl.core_kinds import AnyConfig
from mgd.rtl.system.top import probe_layout


class Trace:
    """The file that a simulated board appends its probe's bits to while it runs."""

    def __init__(self, path: Path, config: AnyConfig) -> None:
        self.path = path
        # Verilator keeps a port in 1, 2, 4 or 8 bytes, or in as many 4-byte words as it needs.
        bits = probe_layout(config).size
        self._size = next((n for n in (1, 2, 4, 8) if bits <= 8 * n), -(-bits // 32) * 4)
        self._read = 0

    def events(self) -> Iterator[int]:
        """The packed probe of every clock with an event since the last call."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            while len(raw := file.read(self._size)) == self._size:
                self._read += self._size
                yield int.from_bytes(raw, "little")

    def drop_read(self) -> None:
        """Free the disk.  Only while the board is idle and everything was read."""
        os.truncate(self.path, 0)
        self._read = 0
