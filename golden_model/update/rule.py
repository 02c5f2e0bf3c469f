"""The interface of an update rule: from a step's cost change to the change of a layer's weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from mgd.golden_model.layers import layers_of
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings


@dataclass(slots=True)
class LayerStep:
    """One trained layer's part of a step.  Arrays have the seeds as first axis."""

    number: int
    """Of the layer."""
    delta_cost: np.ndarray
    """D (seeds,), in units of 2^-(cost_frac+1)."""
    values: np.ndarray
    """The perturbation's values (seeds, nodes, inputs or 1), float64 that holds integers."""
    inputs: np.ndarray
    """(seeds, inputs) in the pass that the update uses, activation format."""
    nonzero: np.ndarray | None
    """Which inputs (seeds, inputs) were not 0; None where updates do not ask."""
    random: np.ndarray
    """The step's random bytes (seeds,)."""
    shift: int
    """S of this step; for Adam its eta_exp."""


class UpdateRule(ABC):
    """One of direct, per_weight and per_node, for all layers of a network."""

    def __init__(self, network: Network, settings: Settings) -> None:
        self.network = network
        self.settings = settings
        self.layers = layers_of(network.layers)
        self.learning = settings.learning
        self.update_terms: list[np.ndarray | None] = [None] * network.depth
        """Per layer the rounded numbers that the last step or change took times a value or an
        input: (seeds, inputs or 1), or each node's error (seeds, nodes)."""

    @abstractmethod
    def change(self, part: LayerStep, weights: np.ndarray, due: bool) -> np.ndarray | None:
        """The decrease of the layer's weights in this step, float64 integers of their shape; None
        where they do not change.

        weights: those that the change will be made of.  due: whether weights change after this
        step.
        """
