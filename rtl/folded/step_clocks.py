"""How many clocks a training step takes, without building or simulating anything.

The loop engine's rules (rtl.folded.loop_engine), applied to the core's program and to the clocks in
which tokens are issued, sums leave the lanes and costs are ready.  Equal to what the core counts;
tests/rtl/test_step_clocks.py compares.
"""

from __future__ import annotations

from collections.abc import Sequence

from mgd.rtl.folded.collector import Collector
from mgd.rtl.folded.config import NONZERO_WORD, CoreConfig
from mgd.rtl.folded.nonzero_inputs import NonzeroInputs
from mgd.rtl.folded.program import FIRST_PASS, SECOND_PASS, Mode, Program, Source
from mgd.rtl.folded.token_timing import TokenTiming
from mgd.rtl.units.activation import Activation
from mgd.rtl.units.costs import RESULT_IN, cost_kind
from mgd.rtl.units.highpass import HighPass


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
    network, at, program = config.network, TokenTiming.of(config), Program.of(config)
    mode = Mode.TWO_PASSES if passes == 2 else Mode.SECOND_ONLY
    mode = Mode.ONE_PASS if continuous else mode
    clock = 1
    free = last = 0
    visits = Visits(network.layers[0], visited) if variant.skip_zeros else None
    # Per pass: the clocks from which tokens may read the layer's activations; a pass's outputs.
    written: dict[int, list[int]] = {}
    outputs: dict[int, int] = {}
    for row in program.sequence(mode):
        served = [mask for mask in (FIRST_PASS, SECOND_PASS) if row.passes & mode.value & mask]
        if row.lead:
            available, written = written, {FIRST_PASS: [], SECOND_PASS: []}
        clock = max(clock, last + 1 + row.wait)
        for group in range(row.groups):
            if visits and row.source is Source.SAMPLE:
                clock = visits.group(clock, free)
            elif row.follows and group == 0:
                for moment in available[served[0]]:
                    clock = max(clock, moment) + 1
            else:
                clock += row.inputs
            last = max(clock, free)
            clock = last + 2
            active = config.active(row.layer, group)
            free = last + active + (config.lanes if len(served) == 2 else 0)
            for turn, mask in enumerate(served):
                first_sum = last + at.ring + turn * config.lanes
                moments = range(first_sum, first_sum + active)
                written[mask] += [moment + at.activation_written + 1 for moment in moments]
                outputs[mask] = moments[-1] + Collector.LATENCY
    unit, built = cost_kind(network), (network, config.cost_dsp, config.memory_register)
    activation = Activation.latency_of(config.position_register)
    to_cost = config.cost_register if network.reads_sums else activation
    started = [outputs[mask] + to_cost for mask in outputs]
    if len(started) == 2:
        started[1] = max(started[1], started[0] + unit.spacing(*built))
    # The next step begins in the clock after `result_in_3`.
    clocks = started[-1] + unit.latency(*built) - RESULT_IN + 1
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
        self._counts = [
            sum(flags[k : k + NONZERO_WORD]) for k in range(0, inputs + 1, NONZERO_WORD)
        ]
        self._word = self._given = 0
        """The word under way, and how many visits it has given."""
        self._held = NonzeroInputs.LATENCY - 1
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
