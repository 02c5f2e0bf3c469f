"""An accumulator per weight sums the update terms; an optimizer makes changes of the sum."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.formats import ACT_FRAC, stochastic_round
from mgd.golden_model.network import ROUND_BITS, Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.update.adam import Adam
from mgd.golden_model.update.error_feedback import ErrorFeedback
from mgd.golden_model.update.rule import LayerStep, UpdateRule


class WeightAccumulators(UpdateRule):
    """G_ij += s_ij·round(D·x_j); at a change the optimizer subtracts the part that it applies."""

    def __init__(
        self, network: Network, settings: Settings, accumulators: list[np.ndarray]
    ) -> None:
        """accumulators: per layer int64 of the weights' shape; they change in place."""
        super().__init__(network, settings)
        self.accumulators = accumulators
        self.optimizer: Adam | ErrorFeedback = (
            Adam(network, settings, accumulators)
            if settings.adam
            else ErrorFeedback(network, settings)
        )

    def change(self, part: LayerStep, weights: np.ndarray, due: bool) -> np.ndarray | None:
        number, layer = part.number, self.layers[part.number]
        x = self.learning.update_inputs(part.inputs)
        terms = stochastic_round(
            part.delta_cost[:, None] * x, ACT_FRAC, part.random[:, None], ROUND_BITS
        )
        self.update_terms[number] = terms
        contribution = layer.by_input(part.values, terms)
        if part.nonzero is not None:
            contribution = layer.where_nonzero(contribution, part.nonzero)
        self.accumulators[number] += contribution.astype(np.int64)
        if not due:
            return None
        return self.optimizer.change(
            number, self.accumulators[number], weights, part.shift, part.random
        )
