"""A sum per node over the steps of one sample, and one outer product for all of them.

The gradient of Σ ΔC·s_i·x_j over steps in which the sample stays is (Σ ΔC·s_i)·x_j but for terms
of order δ: a memory of nodes takes the place of one of weights.
"""

from __future__ import annotations

import numpy as np

from mgd.golden_model.formats import ACT_FRAC, ACT_MAX, ACT_MIN, saturate, stochastic_round
from mgd.golden_model.network import ROUND_BITS, Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.update.rule import LayerStep, UpdateRule

_REVERSED = np.array(
    [int(f"{byte:0{ROUND_BITS}b}"[::-1], 2) for byte in range(1 << ROUND_BITS)], dtype=np.int64
)


def node_error(sums: np.ndarray, shift: int, random: np.ndarray) -> np.ndarray:
    """The step e_i of a node's pre-activation, int64 in activation format, limited to it.

    sums: E_i in units of D, any shape; shift: bits that E_i is finer than an activation, negative
    where it is coarser; random: bytes that broadcast.  Rounded stochastically with the byte's bits
    in reverse: the pair of a byte and its reverse is spread over the square like two bytes that
    know nothing of each other, and the products are rounded with the byte itself.
    """
    if shift < 0:
        sums = saturate(sums, ACT_MIN, ACT_MAX)  # No integer beyond can be one after a left shift.
    rounded = stochastic_round(sums, shift, _REVERSED[random], ROUND_BITS)
    return saturate(rounded, ACT_MIN, ACT_MAX)


class NodeSums(UpdateRule):
    """E_i += D·s_i; at a change W_ij loses round(e_i·x_j), e_i = node_error(E_i), and E_i is 0.

    x_j are the inputs of the change's own step.  update_terms: e_i of the last change.
    """

    def __init__(self, network: Network, settings: Settings, seeds: int) -> None:
        super().__init__(network, settings)
        shapes = [layer.parameters for layer in self.layers]
        self.sums = [np.zeros((seeds, nodes), dtype=np.int64) for nodes, _ in shapes]
        """E_i in units of D, with the fraction bits of the perturbation's values; never rounded."""

    def change(self, part: LayerStep, weights: np.ndarray, due: bool) -> np.ndarray | None:
        sums = self.sums[part.number]
        sums += (part.delta_cost[:, None] * part.values[..., 0]).astype(np.int64)
        if not due:
            return None
        frac, random = self.network.weight_frac, part.random
        shift = part.shift + self.settings.value_frac + frac - ACT_FRAC
        errors = node_error(sums, shift, random[:, None])
        sums[:] = 0
        self.update_terms[part.number] = errors
        products = self.layers[part.number].outer(errors, part.inputs)
        changes = stochastic_round(products, 2 * ACT_FRAC - frac, random[:, None, None], ROUND_BITS)
        return changes.astype(np.float64)
