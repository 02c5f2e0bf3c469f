"""The clock of every event in the spatial core, counted from its token: sums of latencies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import lcm

from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.layer import Layer
from mgd.rtl.spatial.neuron import Synapses
from mgd.rtl.spatial.sums import FirstSums
from mgd.rtl.spatial.synapse import Synapse
from mgd.rtl.spatial.update_terms import X_TO_DELTA, UpdateTerms
from mgd.rtl.units.costs import parallel_kind


@dataclass(frozen=True)
class Timing:
    """Clocks from the clock of a token (0) to …"""

    inputs: tuple[int, ...]
    """… the inputs of each layer, and last the outputs that the cost unit reads."""
    cost: int
    """… the costs."""
    delta: int
    """… delta_cost."""
    previous_x: int
    """… the activations that delta_cost is multiplied with."""
    update_term: int
    """… the update terms, as they leave for the neurons."""
    update: int
    """… the clock in which a synapse sees its update term; G has changed a clock later."""
    change: int
    """… the clock in which an update begins: the window's last term is in the accumulators."""
    weights: int
    """… the clock with new weights in all layers; but in a pipelined core the next window's first
    token may enter."""
    skew: tuple[int, ...]
    """By how many clocks more than `update_term` each layer gets its terms in a pipelined core: a
    step then finds the weights of one and the same step in all layers."""
    delay: int
    """Steps that begin with a step or between it and the first one to find its update, in a
    pipelined core (golden_model.settings.Settings.update_delay); else 0."""

    @classmethod
    def of(cls, config: SpatialConfig) -> Timing:
        net = config.network
        inputs = [0]
        for layer in range(net.depth):
            inputs.append(inputs[-1] + Layer.latency_of(config, layer))
        cost = inputs[-1] + parallel_kind(net).latency_of(net)
        # A pipelined core has a register more on the long route from the difference to the
        # products, and one on the route from there to all neurons.
        delta = cost + 1 + config.pipelined
        update_term = delta + UpdateTerms.latency_of(config) + config.pipelined
        update = update_term + Synapses.latency_of(config)
        change = update + (1 if net.accumulators else 0)
        weights = change + Synapse.latency_of(config)
        skew, delay = (0,) * net.depth, 0
        if config.pipelined:
            # The first layer reads its weights with a token, the others when its outputs arrive.
            reads = [FirstSums.weights_after(config), *inputs[1:-1]]
            delay = weights - reads[0] - 1
            skew = tuple(clock - reads[0] for clock in reads)
            weights += skew[-1]
        return cls(
            inputs=tuple(inputs),
            cost=cost,
            delta=delta,
            previous_x=delta - X_TO_DELTA,
            update_term=update_term,
            update=update,
            change=change,
            weights=weights,
            skew=skew,
            delay=delay,
        )


def update_delay(network: Network, settings: Settings) -> int:
    """Settings.update_delay of the pipelined core for this network and these settings, of which it
    is ignored.  Raises UserError as SpatialConfig.of."""
    return Timing.of(SpatialConfig.of(network, replace(settings, update_delay=1))).delay


def window_clocks(config: SpatialConfig, settings: Settings) -> float:
    """Clocks from a window's first token to the next one's, on the average: those of its tokens,
    those that wait for a sample's planes, and the way of the last token to the weights.  A
    pipelined core never waits.

    Where tau_x is no divisor or multiple of tau_theta, the average over all windows.
    """
    steps = settings.tau_theta
    if config.pipelined:
        return steps
    # A window begins with a sample's planes; so does each sample that begins within one.
    samples = 1 + steps / settings.tau_x - steps / lcm(steps, settings.tau_x)
    planes = (config.planes - 1) * samples
    baselines = 0 if config.antithetic else samples
    return steps + planes + baselines + Timing.of(config).weights - 1


def clocks_per_step(config: SpatialConfig, settings: Settings) -> float:
    """Clocks of a training step, the updates included."""
    return window_clocks(config, settings) / settings.tau_theta
