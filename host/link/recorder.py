"""A transport that records the bytes of another one in a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mgd.host.link.recording import RecordingWriter
from mgd.host.link.transport import PortError, Transport
from mgd.host.runs.folder import package_version


class RecordingTransport(Transport):
    """Passes everything on to `inner` and records it to `path` (host.link.recording).

    The recording is whole once this is closed.  Bytes that discard() drops are not in it, as the
    host never sees it.  Raises UserError where the file exists or cannot be written; `inner` is
    closed then.
    """

    def __init__(self, inner: Transport, path: Path) -> None:
        self._inner = inner
        self.name = inner.name
        self.baud: int | None = getattr(inner, "baud", None)
        header = {"name": self.name, "baud": self.baud, "version": package_version()}
        try:
            self._file = RecordingWriter(path, header)
        except BaseException:
            inner.close()
            raise

    def write(self, data: bytes) -> None:
        with self._noted("write"):
            self._inner.write(data)
        self._file.sent(data)

    def read(self, timeout_s: float) -> bytes:
        with self._noted("read"):
            data = self._inner.read(timeout_s)
        if data:
            self._file.received(data)
        return data

    def discard(self) -> None:
        with self._noted("discard"):
            self._inner.discard()

    def close(self) -> None:
        try:
            self._inner.close()
        finally:
            self._file.close()

    def latency_ms(self) -> int | None:
        """That of `inner`, None where it has none."""
        return getattr(self._inner, "latency_ms", lambda: None)()

    def hint(self) -> str:
        return self._inner.hint()

    @contextmanager
    def _noted(self, call: str) -> Iterator[None]:
        try:
            yield
        except PortError as error:
            self._file.failed(call, str(error))
            raise
