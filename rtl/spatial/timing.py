"""When what happens in the spatial core: clocks behind a token, from the units' own latencies."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

from golden_model.settings import Settings
from rtl.costs import cost_latency
from rtl.spatial.config import SpatialConfig
from rtl.spatial.layer import Layer
from rtl.spatial.shares import X_BEFORE_DELTA, Shares
from rtl.spatial.synapse import Synapse


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
    change: int
    """… the clock in which an update begins: all that its window adds is in the accumulators."""
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
        change = update + (1 if net.accumulators else 0)
        return cls(
            inputs=tuple(inputs),
            cost=cost,
            delta=delta,
            x_before=delta - X_BEFORE_DELTA,
            share=share,
            update=update,
            change=change,
            weights=change + Synapse.latency_of(config),
        )


def window_clocks(config: SpatialConfig, settings: Settings) -> float:
    """Clocks from a window's first token to the next one's, on the average: those of its tokens,
    those that wait for a sample's planes, and the way of the last token to the weights.

    Where tau_x is no divisor or multiple of tau_theta, the average over all windows.
    """
    steps = settings.tau_theta
    # A window begins with a sample's planes; so does each sample that begins within one.
    samples = 1 + steps / settings.tau_x - steps / lcm(steps, settings.tau_x)
    planes = (config.network.sample_bits - 1) * samples
    baselines = 0 if config.antithetic else samples
    return steps + planes + baselines + Timing.of(config).weights - 1


def clocks_per_step(config: SpatialConfig, settings: Settings) -> float:
    """Clocks of a training step, the updates included."""
    return window_clocks(config, settings) / settings.tau_theta
