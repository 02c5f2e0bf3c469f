"""The interface of a perturbation: the values of one draw after another, for several seeds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mgd.golden_model.network import Network


@dataclass(frozen=True)
class Numbering:
    """The numbers of a layer's perturbed quantities: parameters, or nodes."""

    first: int
    """Number of the layer's first one."""
    shape: tuple[int, int]
    """(nodes, fan_in + 1) for parameters, (nodes, 1) for nodes; counted row by row."""
    total: int
    """N, how many are numbered together: those of the network, or of the layer alone."""

    @property
    def numbers(self) -> np.ndarray:
        """int64 array of `shape`."""
        count = self.shape[0] * self.shape[1]
        return np.arange(self.first, self.first + count).reshape(self.shape)


def number_quantities(
    shapes: Sequence[tuple[int, int]], by_layer: bool, trainable: Sequence[bool] = ()
) -> list[Numbering | None]:
    """Numbering per layer of weights; None for a layer that is not trained.

    shapes: (nodes, values per node) that are perturbed in each layer
    (golden_model.learning.LearningRule).  by_layer: each layer counts from 0.  trainable: a flag
    per layer; all are trained where it is empty.
    """
    trained = list(trainable) or [True] * len(shapes)
    counts = [a * b if use else 0 for (a, b), use in zip(shapes, trained, strict=True)]
    result: list[Numbering | None] = []
    for layer, shape in enumerate(shapes):
        if not trained[layer]:
            result.append(None)
        elif by_layer:
            result.append(Numbering(0, shape, counts[layer]))
        else:
            result.append(Numbering(sum(counts[:layer]), shape, sum(counts)))
    return result


class Perturbation(ABC):
    """One kind.  Made for a network, it returns draw after draw."""

    name: str
    """In task files."""
    number: int
    """In the identity record of a board: the next free one."""
    frac: int = 0
    """Fraction bits of the values; the largest is 1.0."""
    power: float = 1.0
    """Mean square of a value over a long time; 1/N where it is 0 (see mean_square)."""

    @abstractmethod
    def __init__(
        self, network: Network, numbering: list[Numbering | None], seeds: Sequence[int]
    ) -> None: ...

    @abstractmethod
    def draw(self) -> list[np.ndarray | None]:
        """Values of the next draw, per layer (seeds, *Numbering.shape), float64 that holds
        integers with `frac` fraction bits; None for a layer that is not trained."""

    @abstractmethod
    def skip(self, draws: int) -> None:
        """Continue as if so many draws had been made."""

    @classmethod
    def mean_square(cls, total: int) -> float:
        """⟨s²⟩ of one quantity of `total`: G estimates the gradient times this."""
        return cls.power or 1 / total

    @classmethod
    def period(cls, total: int) -> int | None:
        """Draws after which the values repeat but for sign; None where they never do."""
        return None

    @classmethod
    def excess(cls, total: int, tau: int) -> float:
        """E‖G‖²/‖∇C‖² − 1 for the mean of τ draws, divided by ⟨s²⟩; cos(G, ∇C) ≈ 1/√(1 + excess).

        (N−1)/τ for values that never repeat.  Where N orthogonal ones repeat after P draws only
        the r = τ mod P draws of the last period disturb: (N−1)·r·(1 − r/P)/τ².
        """
        period = cls.period(total)
        if period is None:
            return (total - 1) / tau
        rest = tau % period
        return (total - 1) * rest * (1 - rest / period) / tau**2

    @classmethod
    def amplitude(cls, norm: float, total: int) -> float:
        """The δ with which all perturbations together have the root mean square length `norm`."""
        return norm / math.sqrt(total * cls.mean_square(total))
