"""Sequential perturbation (finite differences, coordinate descent): one quantity at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mgd.golden_model.network import Network
from mgd.golden_model.perturbations.base import Numbering, Perturbation
from mgd.golden_model.seeds import words


def stride_and_start(total: int, seed: int) -> tuple[int, int]:
    """(a, b): draw d perturbs quantity (b + a·d) mod N, which visits all in N draws.

    b is random word 0 for "codes" modulo N.  a is the first number without a common factor
    with N among c, c + 1, …, taken modulo N, from c = random word 1 modulo N on.
    """
    start, stride = (int(word) % total for word in words(2, seed, "codes"))
    while math.gcd(stride, total) != 1:
        stride = (stride + 1) % total
    return stride, start


class Sequential(Perturbation):
    """+1 for one quantity, 0 for all others, in a fixed order that one adder walks."""

    name, number = "sequential", 1
    power = 0.0

    def __init__(
        self, network: Network, numbering: list[Numbering | None], seeds: Sequence[int]
    ) -> None:
        self._numbering = numbering
        self._walks = {
            n.total: np.array([stride_and_start(n.total, seed) for seed in seeds])
            for n in numbering
            if n is not None
        }
        self._seeds = np.arange(len(seeds))
        self._number = 0

    def skip(self, draws: int) -> None:
        self._number += draws

    def draw(self) -> list[np.ndarray | None]:
        active = {
            total: (walk[:, 1] + walk[:, 0] * (self._number % total)) % total
            for total, walk in self._walks.items()
        }
        self._number += 1
        result: list[np.ndarray | None] = []
        for n in self._numbering:
            if n is None:
                result.append(None)
                continue
            count = n.shape[0] * n.shape[1]
            values = np.zeros((len(self._seeds), count))
            at = active[n.total] - n.first
            here = (at >= 0) & (at < count)
            values[self._seeds[here], at[here]] = 1.0
            result.append(values.reshape(len(self._seeds), *n.shape))
        return result

    @classmethod
    def excess(cls, total: int, tau: int) -> float:
        # Exact on average over the order: r of N components have one measurement more.
        rest = tau % total
        return rest * (total - rest) / tau**2

    @classmethod
    def period(cls, total: int) -> int | None:
        return total


PERTURBATION = Sequential
