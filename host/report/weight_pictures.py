"""Weights as pictures: blue is negative, orange positive, white zero."""

from __future__ import annotations

import math

import numpy as np

from mgd.host.report.png import png

ZERO = 127
"""Index of the colour of 0; 0 is the most negative, 2·ZERO the most positive."""
GAP = 2 * ZERO + 1
"""Palette index of the gaps between the parts of a picture."""
TILE_INPUTS = 36
"""From so many inputs on, a square number of them is shown as small pictures."""
TILE_COLUMNS = 8

_ENDS = np.array([[8, 69, 148], [247, 247, 247], [166, 54, 3]], dtype=np.float64)


def palette() -> np.ndarray:
    """(GAP + 1, 3) uint8; colours change fastest near zero, to show small weights."""
    way = np.abs(np.arange(-ZERO, ZERO + 1) / ZERO)[:, None] ** 0.75
    ends = np.where(np.arange(2 * ZERO + 1)[:, None] < ZERO, _ENDS[0], _ENDS[2])
    colours = _ENDS[1] + way * (ends - _ENDS[1])
    return np.concatenate([colours, np.zeros((1, 3))]).round().astype(np.uint8)


def indices(weights: np.ndarray, largest: int) -> np.ndarray:
    """Colours of integer weights, any shape, where ±largest are the palette's ends."""
    scaled = weights / max(largest, 1) * ZERO
    return (np.rint(scaled) + ZERO).clip(0, 2 * ZERO).astype(np.uint8)


def matrix(weights: np.ndarray, largest: int) -> np.ndarray:
    """(nodes, fan_in + 2) colours: a row per node, its bias on the right behind a gap."""
    pixels = indices(weights, largest)
    gap = np.full((len(pixels), 1), GAP, dtype=np.uint8)
    return np.concatenate([pixels[:, :-1], gap, pixels[:, -1:]], axis=1)


def tile_side(inputs: int) -> int | None:
    """The side of the square that the inputs fill, None where they do not or are few."""
    side = math.isqrt(inputs)
    return side if side * side == inputs >= TILE_INPUTS else None


def tiles(weights: np.ndarray, largest: int) -> np.ndarray:
    """Colours of a grid with a square per node, its inputs in rows; biases are left out.

    weights: (nodes, side² + 1).
    """
    nodes, side = len(weights), math.isqrt(weights.shape[1] - 1)
    columns = min(TILE_COLUMNS, nodes)
    rows = -(-nodes // columns)
    pixels = np.full((rows * (side + 1) - 1, columns * (side + 1) - 1), GAP, dtype=np.uint8)
    for node, picture in enumerate(indices(weights[:, :-1], largest).reshape(nodes, side, side)):
        row, column = divmod(node, columns)
        top, left = row * (side + 1), column * (side + 1)
        pixels[top : top + side, left : left + side] = picture
    return pixels


def scale() -> np.ndarray:
    """(1, 2·ZERO + 1): every colour, from the most negative on."""
    return np.arange(2 * ZERO + 1, dtype=np.uint8)[None]


def picture(pixels: np.ndarray) -> bytes:
    """Colours as a PNG file."""
    return png(pixels, palette(), transparent=GAP)
