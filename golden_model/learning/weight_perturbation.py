"""Weight perturbation: weights and biases move, and only the cost is needed to update them.

Jabri and Flower 1992; Algorithm 1 of McCaughan et al. 2023 (APL Machine Learning 1, 026118).
"""

from __future__ import annotations

import numpy as np

from mgd.golden_model.formats import ONE
from mgd.golden_model.layers import Layer
from mgd.golden_model.learning.base import LearningRule


class WeightPerturbation(LearningRule):
    """W_ij ← W_ij − η·ΔC·s_ij/δ."""

    name, title = "wp", "weight perturbation"
    reads_inputs = False

    def perturbed(self, layer: Layer) -> tuple[int, int]:
        return layer.parameters

    def perturbation_sums(self, layer: Layer, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        return layer.sums(values, x)

    def update_inputs(self, x: np.ndarray) -> np.ndarray:
        return np.full((len(x), 1), ONE, dtype=np.int64)

    def displaced(
        self, weights: np.ndarray, displacement: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return weights + displacement, np.zeros(weights.shape[:2])


RULE = WeightPerturbation()
