"""A core's weights and accumulators over the link, as arrays per layer."""

from __future__ import annotations

import numpy as np

from mgd.host.link.board_link import Link
from mgd.protocol.framing import LANE_SHIFT, Space
from mgd.protocol.layout.base import CoreLayout
from mgd.protocol.registers import WORD_BITS


def write_weights(link: Link, layout: CoreLayout, weights: list[np.ndarray]) -> None:
    """Per layer an integer array (nodes, fan_in + 1)."""
    rows = enumerate(layout.to_lanes(weights))
    link.write_blocks(Space.WEIGHTS, [(lane << LANE_SHIFT, _words(row)) for lane, row in rows])


def read_weights(link: Link, layout: CoreLayout) -> list[np.ndarray]:
    """Inverse of write_weights; int64."""
    return layout.from_lanes(
        _signed(_read(link, layout, Space.WEIGHTS), layout.network.weight_bits)
    )


def read_accumulators(link: Link, layout: CoreLayout) -> list[np.ndarray]:
    """Per layer an int64 array (nodes, fan_in + 1); empty where there are none to access."""
    bits = layout.host_gradient_bits
    if not bits:
        return []
    memory = _read(link, layout, Space.ACCUMULATORS)
    if bits > WORD_BITS:
        memory |= _read(link, layout, Space.ACCUMULATORS_HIGH) << WORD_BITS
    return layout.from_lanes(_signed(memory, bits))


def write_accumulators(link: Link, layout: CoreLayout, accumulators: list[np.ndarray]) -> None:
    """Inverse of read_accumulators, for a core whose accumulators were cleared."""
    if not accumulators:
        return
    wide = layout.host_gradient_bits > WORD_BITS
    rows = list(enumerate(layout.to_lanes(accumulators)))
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


def _read(link: Link, layout: CoreLayout, space: Space) -> np.ndarray:
    count = layout.lane_words
    words = link.read_blocks(space, [(lane << LANE_SHIFT, count) for lane in range(layout.lanes)])
    return np.array(words, dtype=np.int64).reshape(layout.lanes, count)


def _signed(memory: np.ndarray, bits: int) -> np.ndarray:
    sign = 1 << (bits - 1)
    return ((memory & (2 * sign - 1)) ^ sign) - sign
