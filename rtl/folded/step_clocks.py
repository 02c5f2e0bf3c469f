"""How many clocks a training step takes, without building or simulating anything.

The sweeper's rules (rtl.folded.sweeper), applied to the clocks in which tokens are issued, sums
leave the lanes and costs are ready.  Equal to what the core counts; tests/rtl/test_step_clocks.py
compares.
"""

from __future__ import annotations

from collections.abc import Sequence

from mgd.rtl.folded.broadcast import Broadcast
from mgd.rtl.folded.collector import Collector
from mgd.rtl.folded.config import LIT_WORD, CoreConfig
from mgd.rtl.folded.lane import Lane
from mgd.rtl.folded.nonzero_inputs import LitInputs
from mgd.rtl.units.activation import Activation
from mgd.rtl.units.costs import SOON, cost_kind
from mgd.rtl.units.highpass import HighPass

FIRST, SECOND = 0, 1


def step_clocks(
    config: CoreConfig, *, passes: int = 2, visited: Sequence[bool] | None = None
) -> int:
    """Clocks of a training step whose sample is loaded in time; with scope = "layer", of all its
    parts, each of so many passes.

    passes: 2 for the antithetic difference, and for the forward difference where C0 is
    renewed; 1 for a step that uses the C0 of the step before.  A core for the continuous form has
    one in every step, whatever is asked for.

    visited: in a core with skip_zeros a flag for each input, whether a step visits it: those that
    are not 0 in its sample or, where that is a new one, in the sample before; all that follow a
    change of weights with accumulators.  None: all, which takes the most clocks.  With scope =
    "layer" only a step's first part visits what was lit before, and may have more than the others.
    """
    variant, continuous = config.variant, config.variant.continuous
    passes = 1 if continuous else passes
    network, depth = config.network, config.network.depth
    update = Lane.update_latency(config)
    # A token's clocks from its issue to the read of its activation, and to its sum in the ring.
    use = 1 + Broadcast.latency(config) + config.value_clocks - 2 + update
    late, to_ring = use - config.value_clocks - 2, use + config.operand_clocks + 2
    activation = Activation.latency_of(config.position_register)
    way = Collector.LATENCY + activation
    to_next_layer = max(way - late, 0 if config.memory_register else 1) + 1
    wanted = [FIRST, SECOND] if passes == 2 else [SECOND]

    clock = 1
    free = last = 0
    visits = Visits(network.layers[0], visited) if variant.skip_zeros else None
    there: dict[int, list[int]] = {}
    outputs: dict[int, int] = {}
    for layer in range(depth):
        arriving: dict[int, list[int]] = {FIRST: [], SECOND: []}
        fan_in, groups = network.layers[layer], config.groups[layer]
        shared = layer == 0 and depth > 1
        sweeps = [wanted] if shared else [[which] for which in wanted]
        for number, served in enumerate(sweeps):
            if number == 1:
                shortest = groups * (2 if visits and layer == 0 else fan_in + 1)
                clock = max(clock, last + 1 + update + 1 - shortest)
            for group in range(groups):
                if visits and layer == 0:
                    clock = visits.group(clock, free)
                elif layer and group == 0:
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
    unit, built = cost_kind(network), (network, config.cost_dsp, config.memory_register)
    way = config.cost_register if network.reads_sums else activation
    started = [outputs[which] + way for which in wanted]
    if len(started) == 2:
        started[1] = max(started[1], started[0] + unit.spacing(*built))
    # The next step begins in the clock after `soon`.
    clocks = started[-1] + unit.latency(*built) - SOON + 1
    clocks += HighPass.LATENCY if continuous else 0
    return clocks * (len(variant.layers(network)) if variant.by_layer else 1)


class Visits:
    """The clocks in which rtl.folded.nonzero_inputs has the first layer's visits ready, and in
    which they are taken.

    visited: a flag for each input; None: all of them.
    """

    def __init__(self, inputs: int, visited: Sequence[bool] | None) -> None:
        flags = [True] * inputs if visited is None else [bool(flag) for flag in visited]
        if not any(flags):
            flags[-1] = True
        flags.append(True)
        self._counts = [sum(flags[k : k + LIT_WORD]) for k in range(0, inputs + 1, LIT_WORD)]
        self._word = self._given = 0
        """The word under way, and how many visits it has given."""
        self._held = LitInputs.LATENCY - 1
        """Since when it is there."""
        self._moved = self._taken = 0
        """When the last visit left it, and when that was taken."""

    def group(self, clock: int, free: int) -> int:
        """The clock in which a group's bias is taken; its first visit may be from `clock` on, its
        bias from `free` on."""
        for _ in range(sum(self._counts) - 1):
            self._taken = max(clock, self._offered())
            clock = self._taken + 1
        self._taken = max(clock, free, self._offered())
        return self._taken

    def _offered(self) -> int:
        """The clock from which the next visit is ready."""
        while self._given == self._counts[self._word]:
            self._held = (self._moved if self._given else self._held) + 1
            self._word, self._given = (self._word + 1) % len(self._counts), 0
        self._given += 1
        self._moved = max(self._held, self._moved + 1, self._taken)
        return self._moved + 1
