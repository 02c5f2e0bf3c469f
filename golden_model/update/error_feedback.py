"""Error feedback: accumulators keep the part of their sum that a change does not apply."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.formats import floor_shift, round_half_up
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings


class ErrorFeedback:
    """q = ⌊G·2^-(S+F+k)⌋ weight units, and q·2^(S+F) is subtracted from G.

    For k = momentum_exp = 0 that is gradient descent.  Else each change subtracts 2^-k of G from G
    and applies it to the weights: momentum 1 − 2^-k, whose memory is the accumulator itself.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        self._frac = settings.value_frac
        self._momentum = settings.momentum_exp
        self._decay = settings.decay_exp

    def change(
        self, layer: int, G: np.ndarray, weights: np.ndarray, shift: int, random: np.ndarray
    ) -> np.ndarray:
        """The decrease of the weights, float64 integers of their shape; G (int64) changes in place.

        shift: S of this step.  random: bytes (seeds,), not used here.
        """
        unit = shift + self._frac
        if self._decay:
            by = unit - self._decay
            whole = weights.astype(np.int64)
            G += whole << by if by >= 0 else round_half_up(whole, -by)
        applied = floor_shift(G, unit + self._momentum)
        G -= floor_shift(applied, -unit)
        return applied.astype(np.float64)
