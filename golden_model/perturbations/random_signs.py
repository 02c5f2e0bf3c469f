"""Random signs (simultaneous perturbation): every quantity ±1 in every draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from golden_model.network import Network
from golden_model.perturbations.base import Numbering, Perturbation
from golden_model.seeds import start_state
from golden_model.sign_source import SignSource


class RandomSigns(Perturbation):
    """Signs from the neurons' stretches of the sign sequence, untouched by the numbering."""

    name = "random"

    def __init__(
        self, network: Network, numbering: list[Numbering | None], nodes: bool, seeds: Sequence[int]
    ) -> None:
        self._source = SignSource(network, [start_state(seed) for seed in seeds], nodes)
        self._frozen = [layer for layer, numbers in enumerate(numbering) if numbers is None]

    def draw(self) -> list[np.ndarray | None]:
        signs: list[np.ndarray | None] = list(self._source.draw())
        for layer in self._frozen:
            signs[layer] = None
        return signs


FAMILY = RandomSigns
