"""Stochastic rounding: each step's update terms in whole weight units, and no memory."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.formats import ACT_FRAC, stochastic_round
from mgd.golden_model.network import ROUND_BITS
from mgd.golden_model.update.rule import LayerStep, UpdateRule


class DirectUpdate(UpdateRule):
    """W_ij loses s_ij·round(D·x_j·2^-S): the term is rounded first, then takes the value's sign."""

    def change(self, part: LayerStep, weights: np.ndarray, due: bool) -> np.ndarray | None:
        if not due:
            return None
        x = self.learning.update_inputs(part.inputs)
        terms = stochastic_round(
            part.delta_cost[:, None] * x,
            part.shift + ACT_FRAC,
            part.random[:, None],
            ROUND_BITS,
        )
        self.update_terms[part.number] = terms
        layer = self.layers[part.number]
        change = layer.by_input(part.values, terms)
        return change if part.nonzero is None else layer.where_nonzero(change, part.nonzero)
