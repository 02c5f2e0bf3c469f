"""Fills a board's memories and reads them back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.host.selftest.check import Check
from mgd.host.session.board import BoardSession
from mgd.protocol.framing import Space

REMEDY = (
    "run it again: a fault at the same place is the design's or the chip's, at another place the "
    "power's or the clock's; look at the timing in the build's report.json, and build for a lower "
    "clock"
)


PATTERNS = ("0101", "1010", "address")


def patterns(count: int) -> dict[str, np.ndarray]:
    """Words of 32 bits to write, by name; every bit is 0 once and 1 once.

    In "address" all words of a memory differ, the low 16 bits also where there are no more.
    """
    # Times an odd number: a permutation, and all bits change from word to word.
    address = np.arange(count, dtype=np.uint64) * 0x9E3779B1 & 0xFFFFFFFF
    words = (
        np.full(count, 0x55555555, dtype=np.uint32),
        np.full(count, 0xAAAAAAAA, dtype=np.uint32),
        address.astype(np.uint32),
    )
    return dict(zip(PATTERNS, words, strict=True))


@dataclass(frozen=True)
class Difference:
    """Where a memory gave back something else than was written."""

    pattern: str
    first: int
    """Number of the first word that differed."""
    wrote: int
    read: int
    count: int
    """Words that differed, of `words`."""
    words: int
    bits: int
    """Every bit that differed anywhere."""

    def __str__(self) -> str:
        places = [str(k) for k in range(32) if self.bits >> k & 1]
        bits = f"bit {places[0]}" if len(places) == 1 else f"bits {', '.join(places)}"
        return (
            f"wrote {self.wrote:#06x}, read {self.read:#06x} (pattern {self.pattern}); "
            f"{self.count:,} of {self.words:,} words differ, in {bits}"
        )


def difference(pattern: str, wrote: np.ndarray, read: np.ndarray) -> Difference | None:
    """The difference of two arrays of words, or None."""
    wrong = np.flatnonzero(wrote != read)
    if not len(wrong):
        return None
    first = int(wrong[0])
    bits = int(np.bitwise_or.reduce(wrote[wrong] ^ read[wrong]))
    return Difference(
        pattern, first, int(wrote[first]), int(read[first]), len(wrong), len(wrote), bits
    )


def check_weights(session: BoardSession) -> Check:
    """Every word of every lane's weight memory."""
    lanes, words = session.layout.lanes, session.layout.lane_words
    bits = session.network.weight_bits
    mask = np.uint32((1 << bits) - 1)
    for name, pattern in patterns(lanes * words).items():
        wrote = pattern & mask
        # All of them first: a write that also lands elsewhere is seen when that is read.
        for lane, row in enumerate(wrote.reshape(lanes, words)):
            session.link.write(Space.WEIGHTS, lane << 16, row.tolist())
        rows = [session.link.read(Space.WEIGHTS, lane << 16, words) for lane in range(lanes)]
        read = np.array(rows, dtype=np.uint32).reshape(-1) & mask
        if found := difference(name, wrote, read):
            lane, word = divmod(found.first, words)
            address = lane << 16 | word
            return Check(
                "weights",
                False,
                f"lane {lane} word {word} (address {address:#08x}): {found}",
                REMEDY,
                {"lane": lane, "word": word, "address": address, "bits": found.bits},
            )
    return Check(
        "weights",
        True,
        f"{lanes} lanes of {words} words, {bits} bits, {len(PATTERNS)} patterns",
        measured={"words": lanes * words},
    )


def check_samples(session: BoardSession) -> Check:
    """Every word of the sample memory."""
    pairs = session.identity.sample_memory // 2
    for name, wrote in patterns(pairs).items():
        session.link.write(Space.SAMPLES, 0, wrote.tolist())
        read = np.array(session.link.read(Space.SAMPLES, 0, pairs), dtype="<u4")
        if found := difference(name, wrote.astype("<u4").view("<u2"), read.view("<u2")):
            return Check(
                "samples",
                False,
                f"word {found.first:,} (address {found.first:#08x}): {found}",
                REMEDY,
                {"address": found.first, "bits": found.bits},
            )
    return Check(
        "samples",
        True,
        f"{2 * pairs:,} words of 16 bits, {len(PATTERNS)} patterns",
        measured={"words": 2 * pairs},
    )
