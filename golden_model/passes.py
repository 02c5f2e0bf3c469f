"""The forward passes of a step: which layer is perturbed in which of them, and how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ANTITHETIC = "antithetic"
BASELINE_AND_FORWARD = "baseline and forward"
FORWARD = "forward"
ALONE = "alone"

_FACTORS = {ANTITHETIC: (+1, -1), BASELINE_AND_FORWARD: (+1,), FORWARD: (+1,), ALONE: (+1,)}
"""Factors of the perturbation in the passes of one cost change."""


@dataclass(frozen=True)
class PassTable:
    """The passes of one kind of measurement, in the order of the costs."""

    factors: list[np.ndarray]
    """Per layer (passes,): −1, 0 or +1.  One number where all passes have the same."""
    own: list[int]
    """Per layer the pass whose inputs its update uses: the layer's first perturbed one, or
    the baseline."""
    measuring: list[list[int]]
    """Per layer the passes of this kind that its cost change is made of."""


class Passes:
    """Tables of the passes for trained layers that are perturbed together or one at a time.

    trained: a flag per layer of weights.
    """

    def __init__(self, trained: list[bool], by_layer: bool) -> None:
        self._trained = trained
        layers = [layer for layer, flag in enumerate(trained) if flag]
        self._together = [{layer} for layer in layers] if by_layer else [set(layers)]
        self._tables = {kind: self._table(kind) for kind in _FACTORS}

    def of(self, kind: str) -> PassTable:
        """ANTITHETIC: C⁺ and C⁻ of each group of layers in turn; BASELINE_AND_FORWARD: C0, then
        C⁺ of each; FORWARD: C⁺ of each, whose updates go by an earlier C0's pass; ALONE: C⁺ of
        each, without any C0."""
        return self._tables[kind]

    def _table(self, kind: str) -> PassTable:
        start = [0] if kind == BASELINE_AND_FORWARD else []
        factors: list[np.ndarray] = []
        own: list[int] = []
        measuring: list[list[int]] = []
        for layer in range(len(self._trained)):
            row, mine, made_of = list(start), 0, list(range(len(start)))
            for group in self._together:
                if layer in group and not start:
                    mine = len(row)
                if layer in group:
                    made_of += range(len(row), len(row) + len(_FACTORS[kind]))
                row += [factor if layer in group else 0 for factor in _FACTORS[kind]]
            factors.append(np.array(row))
            own.append(mine)
            measuring.append(made_of)
        return PassTable(factors, own, measuring)
