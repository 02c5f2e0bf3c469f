"""The interface of a learning rule: the quantities it perturbs, and how it updates weights."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from mgd.golden_model.layers import Layer, layers_of


class LearningRule(ABC):
    """A rule that turns cost changes into updates.  It holds no state.

    Arrays have the seeds as first axis.  A perturbation's values are float64 that holds integers
    (golden_model.perturbations), of the shape that `perturbed` gives.
    """

    name: str
    """In task files."""
    title: str
    """In reports."""
    reads_inputs: bool
    """Whether an update needs the inputs of its layer, and not their being nonzero alone."""

    @abstractmethod
    def perturbed(self, layer: Layer) -> tuple[int, int]:
        """(nodes, values per node): the quantities of a layer that a draw perturbs."""

    def perturbed_of(self, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
        """The same of all layers of a network with these numbers of nodes, inputs first."""
        return [self.perturbed(layer) for layer in layers_of(sizes)]

    def widths_of(self, sizes: tuple[int, ...]) -> list[int]:
        """Values per node of each of these layers, that is bits that a draw of signs takes."""
        return [width for _, width in self.perturbed_of(sizes)]

    @abstractmethod
    def perturbation_sums(self, layer: Layer, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The effect of a perturbation of size 1 on the nodes' sums, int64 (seeds, nodes, passes or
        1).

        x: the layer's inputs (seeds, inputs, passes).  The unit is that of an activation times
        that of `values`.
        """

    @abstractmethod
    def update_inputs(self, x: np.ndarray) -> np.ndarray:
        """The factors of the cost change in an update, int64 (seeds, inputs or 1), of the layer's
        inputs (seeds, inputs) in the pass that updates use."""

    @abstractmethod
    def displaced(
        self, weights: np.ndarray, displacement: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """In float64: the weights of a layer perturbed by `displacement`, and the change of its
        pre-activations (seeds, nodes)."""
