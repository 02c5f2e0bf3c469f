"""The interface of a kind of layer: the shape of its parameters, its sums, its updates."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class Layer(ABC):
    """One layer of weights.  It holds no numbers, only the arithmetic on them.

    Shapes: `parameters` is (nodes, inputs), the bias's input among them.  Arrays of several seeds
    have the seeds as first axis.  Weights and a perturbation's values are float64 that holds
    integers; activations and sums are int64.
    """

    kind: str
    """The name in LAYERS."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[int, int]:
        """(nodes, inputs of a node): the shape of the layer's weights."""

    @abstractmethod
    def inputs(self, activations: np.ndarray, axis: int = -1) -> np.ndarray:
        """The inputs that the weights are multiplied by, of the activations along `axis`."""

    @abstractmethod
    def sums(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Σ W·x per node (..., nodes, passes), int64 and exact, for several passes.

        weights: (..., nodes, inputs); x: (..., inputs, passes).  The unit is that of the weights
        times 2^-ACT_FRAC.
        """

    @abstractmethod
    def sums_of_samples(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The same of many samples: (..., samples, nodes); x is (..., samples, inputs)."""

    @abstractmethod
    def by_input(self, values: np.ndarray, terms: np.ndarray) -> np.ndarray:
        """Each parameter's update from terms that are common to all nodes: value times term.

        values: (seeds, nodes, inputs or 1); terms: (seeds, inputs or 1).  Float64.
        """

    @abstractmethod
    def where_nonzero(self, changes: np.ndarray, nonzero: np.ndarray) -> np.ndarray:
        """`changes` of the parameters, but 0 where the input's flag (seeds, inputs) is false."""

    @abstractmethod
    def outer(self, errors: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The product of each node's error (seeds, nodes) and each input (seeds, inputs), int64 of
        the parameters' shape."""
