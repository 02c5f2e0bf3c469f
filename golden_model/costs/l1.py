"""The sum of the errors' sizes."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.costs.base import Cost, CostNetwork, real_targets, targets, worst_error
from mgd.golden_model.formats import ACT_FRAC, rescale


class AbsoluteError(Cost):
    """Σ |y − T|, exact, rounded once."""

    name, number = "l1", 3
    title = "sum of the errors' sizes"
    reads_sums = False

    def exact(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        error = np.abs(outputs - targets(labels, network))
        return rescale(error.sum(axis=-1), ACT_FRAC, network.cost_frac)

    def bound(self, network: CostNetwork) -> int:
        exact = network.outputs * worst_error(network) << max(0, network.cost_frac - ACT_FRAC)
        return (exact >> max(0, ACT_FRAC - network.cost_frac)) + 1

    def real(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        return np.abs(outputs - real_targets(labels, network)).sum(axis=-1)

    def slope(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        return np.sign(outputs - real_targets(labels, network))


COST = AbsoluteError()
