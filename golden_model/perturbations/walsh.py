"""Walsh codes (code multiplexing): orthogonal rows of signs, one row a quantity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgd.golden_model.network import Network
from mgd.golden_model.perturbations.base import Numbering, Perturbation
from mgd.golden_model.seeds import words


def code_bits(total: int) -> int:
    """p: the code of N quantities repeats after 2^p draws, 2^p > N, since row 0 is unused."""
    return total.bit_length()


def rows(numbering: Numbering, seed: int) -> np.ndarray:
    """Row of each quantity: 2^p + (a·(k+1) mod 2^p), a = random word 1 for "codes", made odd.

    Bit p goes with bit p of the draw's number: it turns the signs of every other period.
    """
    length = 1 << code_bits(numbering.total)
    factor = int(words(2, seed, "codes")[1]) % length | 1
    return length + (factor * (numbering.numbers + 1)) % length


def parity(values: np.ndarray) -> np.ndarray:
    """Parity of the bits of non-negative numbers below 2^32."""
    for shift in (16, 8, 4, 2, 1):
        values = values ^ (values >> shift)
    return values & 1


class Walsh(Perturbation):
    """±1: the parity of (row AND number of the draw), 0 meaning +1."""

    name, number = "walsh", 2

    def __init__(
        self, network: Network, numbering: list[Numbering | None], seeds: Sequence[int]
    ) -> None:
        self._rows = [
            None if n is None else np.array([rows(n, seed) for seed in seeds]) for n in numbering
        ]
        self._number = 0

    def skip(self, draws: int) -> None:
        self._number += draws

    def draw(self) -> list[np.ndarray | None]:
        # Rows are below 2^32, so higher bits of the number change nothing.
        number = self._number & 0xFFFFFFFF
        self._number += 1
        return [
            None if r is None else (1 - 2 * parity(r & number)).astype(np.float64)
            for r in self._rows
        ]

    @classmethod
    def period(cls, total: int) -> int | None:
        return 1 << code_bits(total)


PERTURBATION = Walsh
