"""A core's weights and accumulators over the link, as arrays per layer."""

from __future__ import annotations

import numpy as np

from mgd.host.link.board_link import Link
from mgd.protocol.link_protocol import Space
from mgd.rtl.folded.config import CoreLayout

WORD_BITS = 32
LANE_SHIFT = 16
"""A lane's number in an address."""


def write_weights(link: Link, config: CoreLayout, weights: list[np.ndarray]) -> None:
    """Per layer an integer array (nodes, fan_in + 1)."""
    rows = enumerate(config.to_lanes(weights))
    link.write_blocks(Space.WEIGHTS, [(lane << LANE_SHIFT, _words(row)) for lane, row in rows])


def read_weights(link: Link, config: CoreLayout) -> list[np.ndarray]:
    """Inverse of write_weights; int64."""
    return config.from_lanes(
        _signed(_read(link, config, Space.WEIGHTS), config.network.weight_bits)
    )


def read_accumulators(link: Link, config: CoreLayout) -> list[np.ndarray]:
    """Per layer an int64 array (nodes, fan_in + 1); empty where there are none to access."""
    bits = config.host_gradient_bits
    if not bits:
        return []
    memory = _read(link, config, Space.ACCUMULATORS)
    if bits > WORD_BITS:
        memory |= _read(link, config, Space.ACCUMULATORS_HIGH) << WORD_BITS
    return config.from_lanes(_signed(memory, bits))


def write_accumulators(link: Link, config: CoreLayout, accumulators: list[np.ndarray]) -> None:
    """Inverse of read_accumulators, for a core whose accumulators were cleared."""
    if not accumulators:
        return
    wide = config.host_gradient_bits > WORD_BITS
    rows = list(enumerate(config.to_lanes(accumulators)))
    if not wide:
        blocks = [(lane << LANE_SHIFT, _words(row)) for lane, row in rows]
        link.write_blocks(Space.ACCUMULATORS, blocks)
        return
    for lane, row in rows:
        # The high word is said once for all words that follow it: first the most, then the others.
        highs, counts = np.unique(row >> WORD_BITS, return_counts=True)
        order = highs[np.argsort(-counts, kind="stable")]
        for high in order.tolist():
            link.write(Space.ACCUMULATORS_HIGH, 0, [high % (1 << WORD_BITS)])
            for first, end in _runs(row >> WORD_BITS == high, whole=high == order[0]):
                link.write(Space.ACCUMULATORS, lane << LANE_SHIFT | first, _words(row[first:end]))


def _runs(chosen: np.ndarray, whole: bool) -> list[tuple[int, int]]:
    """First and end of each run of chosen words; all words as one run if `whole`."""
    if whole:
        return [(0, len(chosen))]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _words(row: np.ndarray) -> list[int]:
    return [int(value) % (1 << WORD_BITS) for value in row]


def _read(link: Link, config: CoreLayout, space: Space) -> np.ndarray:
    count = config.lane_words
    words = link.read_blocks(space, [(lane << LANE_SHIFT, count) for lane in range(config.lanes)])
    return np.array(words, dtype=np.int64).reshape(config.lanes, count)


def _signed(memory: np.ndarray, bits: int) -> np.ndarray:
    sign = 1 << (bits - 1)
    return ((memory & (2 * sign - 1)) ^ sign) - sign
