"""The recording of a link: a line of text for each event, in order.

    mgd-recording 1 {"name": …, "baud": …, "version": …}  CRC
    > TIME HEX  CRC       sent by the host
    < TIME HEX  CRC       received by the host; '-' parts the portions in which it came
    ! TIME CALL TEXT CRC  the port failed in that call of the transport, with that message
    . TIME end  CRC       always the last line

TIME is microseconds from the beginning to the line's first byte, for people only.  CRC, eight
hexadecimal digits after a blank, is the CRC-32 of everything in the file before it: a line that
is changed, missing, doubled or moved is found.
"""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgd.golden_model.errors import UserError

FORMAT = "mgd-recording"
VERSION = 1
SENT, RECEIVED, FAILED, END = ">", "<", "!", "."


@dataclass(frozen=True)
class Event:
    """kind is SENT, RECEIVED or FAILED."""

    kind: str
    data: bytes = b""
    """The bytes that were sent or received."""
    call: str = ""
    """The transport's method that failed."""
    message: str = ""
    """The message."""


def check_new(path: Path) -> None:
    """Raise UserError where there is a file of that name, or no folder for it: call it before a
    long build."""
    if path.exists():
        raise UserError(
            f"--record {path}: there is such a file, and recordings are never overwritten; "
            "choose another name or remove it"
        )
    if not path.absolute().parent.is_dir():
        raise UserError(
            f"--record {path}: {path.absolute().parent} is no folder; make it or choose another "
            "place"
        )


class RecordingWriter:
    """Writes a recording.  The file gets its name only when close() has completed it; until
    then, and for good where the program is killed, it is called NAME.part.

    header: JSON values for the first line.  Raises UserError where it cannot be written, and
    where there is a file of that name: recordings are never overwritten.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._crc = 0
        self._begin = time.monotonic()
        self._received: list[str] = []
        self._received_at = 0
        check_new(path)
        try:
            self._file = self._part.open("w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise self._cannot(error) from None
        self._line(f"{FORMAT} {VERSION} {json.dumps(header, ensure_ascii=False)}")

    def sent(self, data: bytes) -> None:
        """Record bytes that the host sent."""
        self._event(SENT, data.hex())

    def received(self, data: bytes) -> None:
        """Record bytes that the host received."""
        if not self._received:
            self._received_at = self._now()
        self._received.append(data.hex())

    def failed(self, call: str, message: str) -> None:
        """Note that the transport's method `call` raised."""
        self._event(FAILED, f"{call} {' '.join(message.split())}")

    def close(self) -> None:
        """Complete the file and give it its name.  May be called twice."""
        if self._file.closed:
            return
        try:
            try:
                self._event(END, "end")
            finally:
                self._file.close()
            self._part.rename(self._path)
        except OSError as error:
            raise self._cannot(error) from None

    def _event(self, kind: str, text: str) -> None:
        if self._received:
            self._line(f"{RECEIVED} {self._received_at} {'-'.join(self._received)}")
            self._received.clear()
        self._line(f"{kind} {self._now()} {text}")

    def _now(self) -> int:
        return round(1e6 * (time.monotonic() - self._begin))

    def _line(self, text: str) -> None:
        self._crc = zlib.crc32(f"{text} ".encode(), self._crc)
        mark = f"{self._crc:08x}\n"
        self._crc = zlib.crc32(mark.encode(), self._crc)
        try:
            self._file.write(f"{text} {mark}")
        except OSError as error:
            raise self._cannot(error) from None

    def _cannot(self, error: OSError) -> UserError:
        return UserError(
            f"--record {self._path}: cannot be written: {error.strerror or error}; free space "
            "there or choose another place"
        )


def read_recording(path: Path) -> tuple[dict[str, Any], list[Event]]:
    """(header, events) of a recording.

    Raises UserError, naming the line, where it is none, is cut off or was changed.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such recording; `mgd train TASK --backend PORT --record {path}` makes one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"{path}: cannot be read as a recording: {reason}") from None
    version, header = _first_line(path, lines[0])
    if version != str(VERSION):
        raise UserError(
            f"{path}: a recording of version {version}, this program reads version {VERSION}; "
            "record it again, or use the program that wrote it"
        )
    crc, events, ended = 0, [], False
    for number, line in enumerate(lines[:-1], start=1):
        text, mark = line[:-8], f"{line[-8:]}\n"
        crc = zlib.crc32(text.encode(), crc)
        if mark != f"{crc:08x}\n":
            raise UserError(
                f"{path}: line {number} or what stands before it was changed (its checksum "
                "differs); record it again"
            )
        crc = zlib.crc32(mark.encode(), crc)
        if number > 1:
            kind, _, rest = text[:-1].split(" ", 2)
            ended = kind == END
            if not ended:
                events += _events(kind, rest)
    if not ended or lines[-1]:
        raise UserError(
            f"{path}: is cut off after line {len(lines) - 1}: its last line must be the end mark; "
            "record it again"
        )
    return header, events


def _first_line(path: Path, line: str) -> tuple[str, dict[str, Any]]:
    parts = line.split(" ", 2)
    try:
        if parts[0] == FORMAT:
            return parts[1], json.loads(parts[2][:-9])
    except (IndexError, ValueError):
        pass
    raise UserError(
        f"{path}: is no recording: its first line does not begin with {FORMAT!r}; give a file "
        "that `mgd train --record` wrote"
    )


def _events(kind: str, rest: str) -> list[Event]:
    if kind == FAILED:
        call, message = rest.split(" ", 1)
        return [Event(kind, call=call, message=message)]
    return [Event(kind, bytes.fromhex(portion)) for portion in rest.split("-")]
