"""The multi-class hinge of the pre-activations."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.costs.base import Cost, CostNetwork, at_label


class Hinge(Cost):
    """max(0, 1 + the largest other z − z_label); max(0, 1 ∓ z) for a single output."""

    name, number = "hinge", 2
    title = "hinge"
    reads_sums = True

    def exact(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        one = 1 << network.pre_frac
        if network.outputs == 1:
            excess = one + np.where(labels == 1, -outputs[..., 0], outputs[..., 0])
        else:
            mine = at_label(outputs, labels)
            own = np.where(mine, outputs, 0).sum(axis=-1)
            other = np.where(mine, np.iinfo(np.int64).min, outputs).max(axis=-1)
            excess = one + other - own
        return np.maximum(excess, 0) << (network.cost_frac - network.pre_frac)

    def bound(self, network: CostNetwork) -> int:
        spread = 2 * network.output_bound << (network.cost_frac - network.pre_frac)
        return spread + (1 << network.cost_frac)

    def real(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        return np.maximum(0.0, 1.0 + _excess(outputs, labels)[0])

    def slope(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        excess, direction = _excess(outputs, labels)
        return (1.0 + excess > 0)[..., None] * direction


def _excess(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(largest other z − z_label, its gradient); (∓z, ∓1) for a single output."""
    if z.shape[-1] == 1:
        sign = np.where(labels == 1, -1.0, 1.0)
        return sign * z[..., 0], sign[..., None]
    mine = at_label(z, labels)
    other = np.where(mine, -np.inf, z)
    first = at_label(z, other.argmax(axis=-1))
    return other.max(axis=-1) - (mine * z).sum(axis=-1), first * 1.0 - mine


COST = Hinge()
