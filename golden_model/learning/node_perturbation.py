"""Node perturbation: pre-activations move; a weight's update is the node's times its input.

Widrow and Lehr 1990 (Madaline rule III); Fiete and Seung 2006.
"""

from __future__ import annotations

import numpy as np

from mgd.golden_model.formats import ONE
from mgd.golden_model.layers import Layer
from mgd.golden_model.learning.base import LearningRule


class NodePerturbation(LearningRule):
    """W_ij ← W_ij − η·ΔC·s_i·x_j/δ."""

    name, title = "np", "node perturbation"
    reads_inputs = True

    def perturbed(self, layer: Layer) -> tuple[int, int]:
        return layer.parameters[0], 1

    def perturbation_sums(self, layer: Layer, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        return values.astype(np.int64) * ONE

    def update_inputs(self, x: np.ndarray) -> np.ndarray:
        return x

    def displaced(
        self, weights: np.ndarray, displacement: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return weights, displacement[..., 0]


RULE = NodePerturbation()
