"""How many clocks a training step takes, without building or simulating anything.

The loop engine's rules (rtl.folded.program.loop_engine), applied to the core's program and to the
clocks in which tokens are issued, sums leave the lanes and costs are ready.  Equal to what the
core counts; tests/rtl/test_step_clocks.py compares.
"""

from __future__ import annotations

from collections.abc import Sequence

from mgd.golden_model.network import ROUND_BITS
from mgd.golden_model.settings import Settings
from mgd.rtl.folded.collector import Collector
from mgd.rtl.folded.config import NONZERO_WORD, CoreConfig
from mgd.rtl.folded.lanes.node_sums import NodeSums
from mgd.rtl.folded.program.nonzero_inputs import NonzeroInputs
from mgd.rtl.folded.program.rows import FIRST_PASS, SECOND_PASS, Mode, Program, Source
from mgd.rtl.folded.program.token_timing import TokenTiming
from mgd.rtl.units.activation import Activation
from mgd.rtl.units.costs import RESULT_IN, cost_kind
from mgd.rtl.units.highpass import HighPass


def step_clocks(
    config: CoreConfig,
    *,
    passes: int = 2,
    visited: Sequence[bool] | None = None,
) -> int:
    """Clocks of a training step whose sample is loaded in time; with scope = "layer", of all its
    parts, each of so many passes.  With sums per node, of a step alone, all of whose weights have
    changed before it; sum_clocks has the others.

    passes: 2 for the antithetic difference, and for the forward difference where C0 is
    renewed; 1 for a step that uses the C0 of the step before.  A core for the continuous form has
    one in every step, whatever is asked for.

    visited: in a core with skip_zeros a flag for each input, whether a step visits it: those that
    are not 0 in its sample or, where that is a new one, in the sample before; all that follow a
    change of weights with accumulators.  None: all, which takes the most clocks.  With scope =
    "layer" only a step's first part visits what was lit before, and may have more than the others.
    """
    variant, network = config.variant, config.network
    mode = Mode.TWO_PASSES if passes == 2 else Mode.SECOND_ONLY
    mode = Mode.ONE_PASS if variant.continuous else mode
    visits = Visits(network.layers[0], visited) if variant.skip_zeros else None
    # The next step begins in the clock after `result_in_3`.
    clocks = Sweeps(config, mode, visits=visits).result - RESULT_IN + 1
    return clocks * (len(variant.layers(network)) if variant.by_layer else 1)


def sum_clocks(config: CoreConfig, settings: Settings) -> int:
    """With sums per node: clocks of the tau_theta steps of a sum and of the outer sweep behind
    them.  The next sample is loaded in time."""
    first, others = Mode.TWO_PASSES, _recalled(settings.antithetic)
    overlaps, at = steps_overlap(config), TokenTiming.of(config)
    # The steps' starts; behind them the least clock of the next one.
    clock = free = measured = 0
    for number in range(settings.tau_theta):
        sweeps = Sweeps(config, others if number else first, free=max(free, 0))
        before, measured = measured, clock + sweeps.result
        # Two clocks until the engine is idle and one to go on; one, and one, behind a cost.
        length = sweeps.last + 3 if overlaps else sweeps.result - RESULT_IN + 1
        following = max(clock + length, before + 2) if overlaps else clock + length
        free, clock = sweeps.free - (following - clock), following
    clock = max(clock, measured + sum(config.groups) + NodeSums.WRITE + 1)
    # One clock more than the tokens need until all are seen to be written; two states.
    return clock + Sweeps(config, Mode.FLUSH).last + at.outer_written + 5


def _recalled(antithetic: bool) -> Mode:
    return Mode.RECALLED_TWO if antithetic else Mode.RECALLED_SECOND


def steps_overlap(config: CoreConfig) -> bool:
    """With sums per node: whether a step may begin when the tokens of the one before have been
    issued, since nothing in it depends on that one's cost.

    It may where costs come one after the other nevertheless: its first output enters the cost unit
    behind the result of the step before, and there is time for a walk over the sums and for a
    random byte between two results.
    """
    least = max(sum(config.groups) + NodeSums.WRITE, ROUND_BITS) + 3
    for antithetic in (True, False):
        recalled = _recalled(antithetic)
        for mode in (Mode.TWO_PASSES, recalled):
            before = Sweeps(config, mode)
            after = Sweeps(config, recalled)
            spacing = before.last + 3
            if spacing + after.first_output <= before.result:
                return False
            if spacing + after.result - before.result < least or spacing < least:
                return False
    return True


class Sweeps:
    """When what happens in a mode's sweeps, in clocks behind their start.

    free: from when on the lanes' output registers are free for a group's last token.
    """

    last: int
    """The last token is issued."""
    free: int
    """The output registers are free for the next group's last token."""
    first_output: int
    """The first output enters the cost unit."""
    result: int
    """The last pass's cost, or its ΔC where a filter makes it, is ready."""

    def __init__(
        self, config: CoreConfig, mode: Mode, *, visits: Visits | None = None, free: int = 0
    ) -> None:
        network, at, program = config.network, TokenTiming.of(config), Program.of(config)
        clock = 1
        last = 0
        # Per pass: the clocks from which tokens may read the layer's activations; a pass's outputs.
        written: dict[int, list[int]] = {}
        outputs: dict[int, int] = {}
        first_output = 0
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
                if not served:
                    continue
                free = last + active + (config.lanes if len(served) == 2 else 0)
                for turn, mask in enumerate(served):
                    first_sum = last + at.ring + turn * config.lanes
                    moments = range(first_sum, first_sum + active)
                    written[mask] += [moment + at.activation_written + 1 for moment in moments]
                    outputs[mask] = moments[-1] + Collector.latency
                    if row.layer == network.depth - 1 and not first_output:
                        first_output = first_sum + Collector.latency
        self.last, self.free = last, free
        if not outputs:
            return
        unit, built = cost_kind(network), (network, config.cost_dsp, config.memory_register)
        activation = Activation.latency_of(config.position_register)
        to_cost = config.cost_register if network.reads_sums else activation
        started = [outputs[mask] + to_cost for mask in outputs]
        if len(started) == 2:
            started[1] = max(started[1], started[0] + unit.spacing(*built))
        self.result = started[-1] + unit.latency_of(*built)
        self.result += HighPass.latency if config.variant.continuous else 0
        self.first_output = first_output + to_cost


class Visits:
    """The clocks in which rtl.folded.program.nonzero_inputs has the first layer's visits ready,
    and in which they are taken.

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
        self._held = NonzeroInputs.latency - 1
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
