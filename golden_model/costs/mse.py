"""The sum of squared errors, without a factor ½."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.costs.base import Cost, CostNetwork, real_targets, targets, worst_error
from mgd.golden_model.formats import ACT_FRAC, rescale


class SquaredError(Cost):
    """Σ (y − T)², exact, rounded once."""

    name, number = "mse", 0
    title = "sum of squared errors"
    reads_sums = False

    def exact(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        error = outputs - targets(labels, network)
        return rescale((error * error).sum(axis=-1), 2 * ACT_FRAC, network.cost_frac)

    def bound(self, network: CostNetwork) -> int:
        exact = network.outputs * worst_error(network) ** 2
        return (exact >> (2 * ACT_FRAC - network.cost_frac)) + 1

    def real(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        return ((outputs - real_targets(labels, network)) ** 2).sum(axis=-1)

    def slope(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        return 2.0 * (outputs - real_targets(labels, network))


COST = SquaredError()
