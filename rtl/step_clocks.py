"""How many clocks a training step takes, without building or simulating anything.

The sweeper's rules (rtl.sweeper), applied to the clocks in which tokens are issued, sums leave
the lanes and costs are ready.  Equal to what the core counts; tests/test_step_clocks.py compares.
"""

from __future__ import annotations

from rtl.activation import Activation
from rtl.broadcast import Broadcast
from rtl.collector import Collector
from rtl.config import CoreConfig
from rtl.costs import SOON, cost_kind
from rtl.highpass import HighPass
from rtl.lane import Lane

FIRST, SECOND = 0, 1


def step_clocks(config: CoreConfig, *, passes: int = 2) -> int:
    """Clocks of a training step whose sample is loaded in time; with scope = "layer", of all its
    parts, each of so many passes.

    passes: 2 for the antithetic difference, and for the forward difference where C0 is
    renewed; 1 for a step that uses the C0 of the step before.  A core for the continuous form has
    one in every step, whatever is asked for.
    """
    continuous = config.variant.continuous
    passes = 1 if continuous else passes
    network, depth = config.network, config.network.depth
    update = Lane.update_latency(config)
    # A token's clocks from its issue to the read of its activation, and to its sum in the ring.
    use = 1 + Broadcast.latency(config) + config.value_clocks - 2 + update
    late, to_ring = use - config.value_clocks - 2, use + 2
    activation = Activation.latency_of(config.position_register)
    way = Collector.LATENCY + activation
    more = Broadcast.latency(config) - Broadcast.LATENCY
    to_next_layer = max(way + more - late, 0) + 1
    wanted = [FIRST, SECOND] if passes == 2 else [SECOND]

    clock = 1
    free = last = 0
    there: dict[int, list[int]] = {}
    outputs: dict[int, int] = {}
    for layer in range(depth):
        arriving: dict[int, list[int]] = {FIRST: [], SECOND: []}
        fan_in, groups = network.layers[layer], config.groups[layer]
        shared = layer == 0 and depth > 1
        sweeps = [wanted] if shared else [[which] for which in wanted]
        for number, served in enumerate(sweeps):
            if number == 1:
                clock = max(clock, last + 1 + update + 1 - groups * (fan_in + 1))
            for group in range(groups):
                if layer and group == 0:
                    for moment in there[served[0]]:
                        clock = max(clock, moment) + 1
                else:
                    clock += fan_in
                last = max(clock, free)
                clock = last + 2
                active = config.active(layer, group)
                free = last + active + (config.lanes if len(served) == 2 else 0)
                for turn, which in enumerate(served):
                    first_sum = last + to_ring + turn * config.lanes
                    arriving[which] += [first_sum + k + to_next_layer for k in range(active)]
                    outputs[which] = first_sum + active - 1 + Collector.LATENCY
        there = arriving
    unit = cost_kind(network)
    way = 0 if network.reads_sums else activation
    started = [outputs[which] + way for which in wanted]
    if len(started) == 2:
        started[1] = max(started[1], started[0] + unit.spacing(network, config.cost_dsp))
    # The next step begins in the clock after `soon`.
    clocks = started[-1] + unit.latency(network, config.cost_dsp) - SOON + 1
    clocks += HighPass.LATENCY if continuous else 0
    variant = config.variant
    return clocks * (len(variant.layers(network)) if variant.by_layer else 1)
