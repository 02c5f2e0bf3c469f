"""Random signs (simultaneous perturbation): every quantity ±1 in every draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgd.golden_model.network import Network
from mgd.golden_model.perturbations.base import Numbering, Perturbation
from mgd.golden_model.seeds import start_state
from mgd.golden_model.signs.source import SignSource


class RandomSigns(Perturbation):
    """Signs from the neurons' stretches of the sign sequence, untouched by the numbering."""

    name, number = "random", 0

    def __init__(
        self, network: Network, numbering: list[Numbering | None], seeds: Sequence[int]
    ) -> None:
        self._network = network
        # Of a neuron that is not perturbed any number of bits will do.
        self._widths = [1 if numbers is None else numbers.shape[1] for numbers in numbering]
        self._states = [start_state(seed) for seed in seeds]
        self._source = SignSource(network, self._states, self._widths)
        self._number = 0
        self._frozen = [layer for layer, numbers in enumerate(numbering) if numbers is None]

    def skip(self, draws: int) -> None:
        self._number += draws
        self._source = SignSource(self._network, self._states, self._widths, self._number)

    def draw(self) -> list[np.ndarray | None]:
        self._number += 1
        signs: list[np.ndarray | None] = list(self._source.draw())
        for layer in self._frozen:
            signs[layer] = None
        return signs


PERTURBATION = RandomSigns
