"""What a run is between two steps: enough to go on with it anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.golden_model.network import ROUND_BITS, Network
from mgd.golden_model.seeds import start_state
from mgd.golden_model.settings import Settings
from mgd.golden_model.signs.sequence import start_states_at


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
    """Likewise, what each synapse has summed; an empty list where the network has none."""
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


def sign_starts(
    network: Network, settings: Settings, seed: int, step: int, moves: bool = True
) -> list[tuple[int, int]]:
    """(first layer, start state) of each loading of the sign streams that `step` steps leave.

    Each one loads the layers from its first on, and the rounding stream; network.depth as first
    layer is the rounding stream alone.  moves: whether draws move the neurons' stretches on.
    """
    states = start_states_at(
        start_state(seed),
        settings.learning.widths_of(network.layers),
        draws=step // settings.tau_p if moves else 0,
        random_bits=ROUND_BITS * step,
    )
    return [(k, state) for k, state in enumerate(states) if k == 0 or state != states[k - 1]]
