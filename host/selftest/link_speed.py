"""The speed of the link to a board, against the rate of its wire."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from mgd.host.link.transport import Transport
from mgd.host.selftest.check import Check
from mgd.host.selftest.memory_check import patterns
from mgd.host.session.board import BoardSession
from mgd.protocol.framing import (
    CRC_BYTES,
    MAX_READ,
    MAX_WRITE,
    REPLY_HEADER,
    REPLY_TAIL,
    REQUEST_HEADER,
    Space,
)
from mgd.protocol.registers import Register

BULK_WORDS = 2048
BULK_SECONDS = 0.3
ROUND_TRIPS = 50
SLOW_PART = 0.5
"""Below this part of the wire's rate, or above SLOW_SECONDS, the link is called slow."""
SLOW_SECONDS = 0.004
FRAMING_BYTES, FLAG_BYTES = 2, 1
"""Flags of a request and of a reply."""
BITS_PER_BYTE = 10
COUNT_MODULUS = 1 << 16
"""Of the board's count of damaged frames."""


def check_link(session: BoardSession, damaged_before: int) -> Check:
    """Bytes per second both ways and the time of a round trip.  Slow is no failure."""
    link, transport = session.link, session.link.transport
    count = min(BULK_WORDS, session.identity.sample_memory // 2)
    words = patterns(count)["address"].tolist()
    write = _rate(count, lambda: link.write(Space.SAMPLES, 0, words))
    read = _rate(count, lambda: link.read(Space.SAMPLES, 0, count))
    same = link.read(Space.SAMPLES, 0, count) == words
    trips = []
    for _ in range(ROUND_TRIPS):
        begin = time.perf_counter()
        link.read_register(Register.STEP)
        trips.append(time.perf_counter() - begin)
    trip = statistics.median(trips)
    damaged = (damaged_frames(session) - damaged_before) % COUNT_MODULUS
    measured: dict[str, Any] = {
        "write_bytes_per_s": write,
        "read_bytes_per_s": read,
        "round_trip_s": trip,
        "damaged_frames": damaged,
        "repeated_frames": link.repeats,
    }
    detail = f"write {_kilo(write)}, read {_kilo(read)}, round trip {1e3 * trip:.2f} ms"
    baud = getattr(transport, "baud", None)
    if session.backend == "sim":
        detail += " (a simulation has no baud rate)"
    elif baud:
        limits = wire_limits(baud, count)
        measured |= {"baud": baud, "limits": limits}
        detail += (
            f"; the wire allows {_kilo(limits['write_bytes_per_s'])}, "
            f"{_kilo(limits['read_bytes_per_s'])} and {1e3 * limits['round_trip_s']:.2f} ms at "
            f"{baud:,} baud"
        )
        slow = min(
            write / limits["write_bytes_per_s"], read / limits["read_bytes_per_s"]
        ) < SLOW_PART or trip > max(SLOW_SECONDS, 2 * limits["round_trip_s"])
        measured["slow"] = slow
        if slow:
            detail += f"; slow: {_why_slow(transport)}"
    if link.repeats:
        detail += f"; {link.repeats} frames had to be repeated"
    if damaged or not same:
        return Check(
            "link",
            False,
            f"{damaged} frames were damaged on the wire; {detail}"
            if same
            else f"other words came back than were sent; {detail}",
            "use a short cable without a hub, or build the design for a lower baud rate",
            measured,
        )
    return Check("link", True, detail, measured=measured)


def wire_limits(baud: int, words: int) -> dict[str, float]:
    """The most that `baud` allows for `words` words in a row, nothing escaped or repeated.

    Payload bytes per second, and the seconds that a request and reply of one word need.
    """
    bytes_per_s = baud / BITS_PER_BYTE
    request = REQUEST_HEADER + CRC_BYTES + FRAMING_BYTES
    reply = REPLY_HEADER + REPLY_TAIL + CRC_BYTES + FLAG_BYTES
    written, read = 4 * min(words, MAX_WRITE), 4 * min(words, MAX_READ)
    return {
        "write_bytes_per_s": bytes_per_s * written / (request + written),
        "read_bytes_per_s": bytes_per_s * read / (reply + read),
        "round_trip_s": (request + reply + 4) / bytes_per_s,
    }


def _rate(words: int, transfer: Callable[[], object]) -> float:
    """Bytes per second of a transfer that is repeated for BULK_SECONDS."""
    begin, done = time.perf_counter(), 0
    while True:
        transfer()
        done += 4 * words
        seconds = time.perf_counter() - begin
        if seconds >= BULK_SECONDS:
            return done / seconds


def _why_slow(transport: Transport) -> str:
    latency = getattr(transport, "latency_ms", lambda: None)()
    if latency is not None and latency > 1:
        return (
            f"the adapter keeps bytes back for {latency} ms; install the udev rules that "
            "`mgd flash --udev` prints"
        )
    return "try another USB port, without a hub, on a machine that is not busy"


def _kilo(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e3:.1f} kB/s"


def damaged_frames(session: BoardSession) -> int:
    """Frames damaged on the wire so far, in both directions."""
    return session.link.errors + session.link.read_register(Register.FRAME_ERRORS)
