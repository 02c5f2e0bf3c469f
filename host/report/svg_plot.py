"""Curves as SVG that takes its colours from the page around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 10, 40
"""Around the area of the curves, for ticks and their labels."""
BUCKETS = 300
"""About two points for each pixel of a wide page."""


@dataclass(frozen=True)
class Curve:
    """points: (x, y), x ascending.  style: a class of the page's style sheet."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str


def plot(
    title: str,
    curves: Sequence[Curve],
    *,
    x_end: float,
    y_end: float | None = None,
    x_label: str,
    y_label: str,
    y_text: Callable[[float], str] = lambda y: f"{y:g}",
    level: tuple[float, str] | None = None,
) -> str:
    """An <svg> element with axes from 0, ticks and curves.

    title: the text for screen readers.  y_end: the top, by default above the largest value.
    level: a horizontal line and the class of its style.
    """
    x_ticks = ticks(x_end, 5)
    if y_end is None:
        y_end = max((y for curve in curves for _, y in curve.points), default=1.0) * 1.05 or 1.0
    y_ticks = ticks(y_end, 5)
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    bottom = TOP + inner_height

    def x_at(x: float) -> str:
        return f"{LEFT + inner_width * x / max(x_end, 1e-12):.1f}"

    def y_at(y: float) -> str:
        return f"{bottom - inner_height * min(y / y_end, 1.0):.1f}"

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for y in y_ticks:
        parts.append(
            f'<path class="grid" d="M{LEFT} {y_at(y)}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 6}" y="{y_at(y)}" dy=".35em" text-anchor="end">'
            f"{escape(y_text(y))}</text>"
        )
    for x in x_ticks:
        parts.append(
            f'<path class="grid" d="M{x_at(x)} {TOP}V{bottom}"/>'
            f'<text x="{x_at(x)}" y="{bottom + 16}" text-anchor="middle">{short(x)}</text>'
        )
    middle = TOP + inner_height / 2
    parts.append(
        f'<text x="{LEFT + inner_width / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">'
        f"{escape(y_label)}</text>"
    )
    if level is not None:
        parts.append(f'<path class="{level[1]}" d="M{LEFT} {y_at(level[0])}H{WIDTH - RIGHT}"/>')
    for curve in curves:
        points = thinned(curve.points, BUCKETS)
        if points:
            path = "L".join(f"{x_at(x)} {y_at(y)}" for x, y in points)
            parts.append(f'<path class="{curve.style}" d="M{path}"/>')
    return "".join(parts) + "</svg>"


def ticks(end: float, most: int) -> list[float]:
    """0 and round numbers up to `end`, at most `most` steps of 1, 2 or 5 times a power of ten."""
    if not end > 0:
        return [0.0]
    size = 10.0 ** math.floor(math.log10(end / most))
    step = next(size * k for k in (1, 2, 5, 10) if end / (size * k) <= most)
    # Multiples, as sums of a step would not be round.
    return [round(k * step, 12) for k in range(int(end / step + 1e-9) + 1)]


def short(x: float) -> str:
    """1500000 as 1.5M, 20000 as 20k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= size:
            return f"{x / size:g}{letter}"
    return f"{x:g}"


def thinned(points: Sequence[tuple[float, float]], buckets: int) -> list[tuple[float, float]]:
    """No more points than are seen: of each of `buckets` equal parts the first, lowest, highest
    and last, so that no peak is lost.  All, where there are few."""
    if len(points) <= 4 * buckets:
        return list(points)
    kept: list[tuple[float, float]] = []
    for k in range(buckets):
        a, b = k * len(points) // buckets, (k + 1) * len(points) // buckets
        part = range(a, b)
        lowest = min(part, key=lambda n: points[n][1])
        highest = max(part, key=lambda n: points[n][1])
        kept += [points[n] for n in sorted({a, lowest, highest, b - 1})]
    return kept
