"""The state of a run between two steps: enough to continue it on any backend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.golden_model.settings import Settings


@dataclass(frozen=True)
class State:
    """A run after `step` steps, the last update applied.

    With the task's settings and seed this decides every later step, on any backend and any number
    of lanes: signs, random bits, samples and phases follow from the step's number.
    """

    step: int
    weights: list[np.ndarray]
    """Per layer integers of shape (nodes, fan_in + 1), the bias last."""
    accumulators: list[np.ndarray]
    """Likewise the accumulators; an empty list where the network has none."""
    cost_sum: int = 0
    weight_saturations: int = 0
    activation_saturations: int = 0
    train_clocks: int = 0
    wait_clocks: int = 0
    """Counters from step 0 on, see host.session.base.Counters."""

    def take(self, settings: Settings) -> int:
        """Number of the sample, counted through the run, that is in use, or is next if a new one
        is due."""
        return self.step // settings.tau_x
