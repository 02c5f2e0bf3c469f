"""Rows of choices in which every pair of values occurs, few of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

Row = dict[str, Any]
CANDIDATES = 40
"""Rows drawn for each one that is kept."""


def drawn(choices: Mapping[str, Sequence], random: np.random.Generator) -> Row:
    """A value of each, at random."""
    return {name: values[random.integers(len(values))] for name, values in choices.items()}


def pairs_of(row: Row) -> set[tuple]:
    """Its pairs ((name, value), (name, value))."""
    return set(combinations(row.items(), 2))


def wanted_pairs(choices: Mapping[str, Sequence], possible: Callable[[Row], bool]) -> set[tuple]:
    """All pairs of values of two names, but those that `possible` says no to."""
    pairs = set()
    for (a, xs), (b, ys) in combinations(choices.items(), 2):
        pairs |= {((a, x), (b, y)) for x in xs for y in ys if possible({a: x, b: y})}
    return pairs


def covering(
    choices: Mapping[str, Sequence],
    wanted: set[tuple],
    possible: Callable[[Row], bool],
    seed: int,
) -> list[Row]:
    """Rows, each with as many pairs of `wanted` that are new as the best of CANDIDATES has."""
    random = np.random.default_rng(seed)
    left, rows = set(wanted), []
    while left:
        (a, x), (b, y) = min(left, key=repr)
        best, most = None, 0
        while best is None:
            for _ in range(CANDIDATES):
                row = {**drawn(choices, random), a: x, b: y}
                new = len(pairs_of(row) & left) if possible(row) else 0
                if new > most:
                    best, most = row, new
        rows.append(best)
        left -= pairs_of(best)
    return rows
