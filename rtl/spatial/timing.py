"""When what happens in the spatial core: clocks behind a token, from the units' own latencies."""

from __future__ import annotations

from dataclasses import dataclass

from rtl.spatial.config import SpatialConfig
from rtl.spatial.costs import cost_latency
from rtl.spatial.layer import Layer
from rtl.spatial.shares import X_BEFORE_DELTA, Shares


@dataclass(frozen=True)
class Timing:
    """Clocks from the clock of a token (0) to …"""

    inputs: tuple[int, ...]
    """… the inputs of each layer, and last the outputs that the cost unit reads."""
    cost: int
    """… the costs."""
    delta: int
    """… D."""
    x_before: int
    """… the activations that D is multiplied with."""
    share: int
    """… the shares, as they leave for the neurons."""
    update: int
    """… the clock in which a synapse sees its share; what it changes is there a clock later."""
    weights: int
    """… the clock with new weights: the next window's first token may enter."""

    @classmethod
    def of(cls, config: SpatialConfig) -> Timing:
        net = config.network
        inputs = [0]
        for layer in range(net.depth):
            inputs.append(inputs[-1] + Layer.latency_of(config, layer))
        cost = inputs[-1] + cost_latency(net)
        delta = cost + 1
        share = delta + Shares.latency_of(config)
        update = share + 1
        # What a step adds to the accumulator must be there before the weight takes of it.
        weights = update + (2 if net.accumulators else 1)
        return cls(
            inputs=tuple(inputs),
            cost=cost,
            delta=delta,
            x_before=delta - X_BEFORE_DELTA,
            share=share,
            update=update,
            weights=weights,
        )
