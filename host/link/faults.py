"""A transport with faults, such as those of a bad cable, a busy computer or a pulled plug."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from mgd.host.link.transport import PortError, Transport


@dataclass(frozen=True)
class Rates:
    """Probability of each fault, per byte, in both directions; silence per call."""

    flip: float = 0.0
    """One bit is another."""
    drop: float = 0.0
    duplicate: float = 0.0
    swap: float = 0.0
    """It changes places with the next one."""
    truncate: float = 0.0
    """The rest of the bytes written or read in one call is lost from here on."""
    silence: float = 0.0
    """Nothing gets through for SILENCE_S, beginning with this call."""


SILENCE_S = 0.7
"""Longer than a host waits for a reply."""


class FaultyTransport(Transport):
    """`inner`, with faults drawn from a seed.  `counts` says how many of each there were."""

    def __init__(self, inner: Transport, rates: Rates, seed: int) -> None:
        self.inner = inner
        self.name = inner.name
        self.rates = rates
        self.counts = {field.name: 0 for field in fields(Rates)}
        self._random = random.Random(seed)
        self._silent_until = 0.0
        self._gone = False
        self._writes_left: int | None = None
        self.on_write: Callable[[], None] = lambda: None
        """Called before each frame goes out."""

    def vanish(self) -> None:
        """The port is gone, from now on."""
        self._gone = True

    def cut_after(self, size: int) -> None:
        """The host dies after `size` more bytes were written: HostDiedError, whenever it tries."""
        self._writes_left = size

    def write(self, data: bytes) -> None:
        self.on_write()
        self._check()
        if self._writes_left is not None:
            part = data[: self._writes_left]
            self._writes_left -= len(part)
            if len(part) < len(data):
                self.inner.write(part)
                raise HostDiedError
        self.inner.write(self._spoilt(data))

    def read(self, timeout_s: float) -> bytes:
        self._check()
        end = time.monotonic() + timeout_s
        while True:
            data = self.inner.read(max(0.0, end - time.monotonic()))
            if not data or (spoilt := self._spoilt(data)):
                return spoilt if data else b""

    def discard(self) -> None:
        self._check()
        self.inner.discard()

    def close(self) -> None:
        self.inner.close()

    def hint(self) -> str:
        return self.inner.hint()

    def _check(self) -> None:
        if self._gone:
            raise PortError(
                f"port {self.name} is gone: check the cable and the board's power, then start again"
            )

    def _happens(self, fault: str) -> bool:
        rate = getattr(self.rates, fault)
        if rate == 0.0 or self._random.random() >= rate:
            return False
        self.counts[fault] += 1
        return True

    def _spoilt(self, data: bytes) -> bytes:
        now = time.monotonic()
        if now >= self._silent_until and self._happens("silence"):
            self._silent_until = now + SILENCE_S
        if now < self._silent_until:
            return b""
        out = bytearray()
        held: int | None = None
        for byte in data:
            if self._happens("truncate"):
                return bytes(out)
            if self._happens("drop"):
                continue
            if self._happens("flip"):
                byte ^= 1 << self._random.randrange(8)
            if held is not None:
                out += bytes([byte, held])
                held = None
            elif self._happens("swap"):
                held = byte
            else:
                out.append(byte)
            if self._happens("duplicate"):
                out.append(byte)
        if held is not None:
            out.append(held)
        return bytes(out)


class HostDiedError(Exception):
    """Stands for the end of the program; nothing catches it but who asked for it."""
