"""The training loop, bit for bit as the hardware runs it, for many seeds at once.

Multiplexed gradient descent in discrete time (Oripov et al. 2025, Algorithm 1; McCaughan et
al. 2023, Algorithm 1), in the notation of those papers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mgd.golden_model.forward import evaluate
from mgd.golden_model.imperfections import ImperfectHardware, Imperfections
from mgd.golden_model.layers import layers_of
from mgd.golden_model.measurement import Measurement
from mgd.golden_model.network import Network
from mgd.golden_model.passes import ALONE, ANTITHETIC, BASELINE_AND_FORWARD, FORWARD
from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.samples.nonzero import nonzero_signs
from mgd.golden_model.samples.order import SampleOrder
from mgd.golden_model.seeds import start_state
from mgd.golden_model.settings import Settings
from mgd.golden_model.signs.source import RandomBytes, SignSource
from mgd.golden_model.update.highpass import HighPass
from mgd.golden_model.update.memory import WeightMemory
from mgd.golden_model.update.rule import LayerStep

__all__ = ["SignSource", "Step", "StepTrace", "Trainer"]


@dataclass
class Step:
    """The results of one step, for comparison with the hardware.

    Arrays: (seeds,), or (trained layers, seeds) where scope = "layer", but for the baseline.
    """

    number: int
    baseline: np.ndarray | None
    """C0, where it was measured in this step (forward difference only)."""
    cost_plus: np.ndarray | None
    """C(+θ), antithetic difference only."""
    cost: np.ndarray
    """C(−θ) for the antithetic difference, C(+θ) for the forward one."""
    delta: np.ndarray
    """D: C⁺ − C⁻ or 2·(C − C0), that is ΔC in units of 2^-(cost_frac+1)."""
    updated: bool
    """Whether this step makes the weights change: after it, or update_delay steps later."""


@dataclass(frozen=True)
class StepTrace:
    """The operands of the last step.  The arrays are the trainer's own, valid until its next step.

    inputs: the first layer's (seeds, inputs), bias included; labels: (seeds,); draw: per layer the
    perturbation's values (seeds, nodes, inputs or 1), None for one that is not trained;
    layer_inputs: per layer (seeds, inputs) in the pass that the update uses; random: the step's
    bytes (seeds,); update_terms: per layer the rounded terms (golden_model.update.rule).
    """

    inputs: np.ndarray
    labels: np.ndarray
    draw: list[np.ndarray | None]
    layer_inputs: list[np.ndarray]
    random: np.ndarray
    update_terms: list[np.ndarray | None]

    @property
    def nonzero_inputs(self) -> np.ndarray:
        """Which inputs of the sample are not 0, the bias last: (seeds, inputs)."""
        return self.inputs != 0


class Trainer:
    """A core in NumPy.  All arrays have the seeds as first axis.

    codes: (samples, inputs) integers, an array or an object indexed like one; labels: (samples,);
    weights: per layer (seeds, nodes, fan_in+1) integers, the bias last; order: (seeds, samples)
    permutations, or None for the order given.  Raises UserError where the settings do not suit
    the network or the number of samples.

    weights and accumulators equal the contents of a core's memories after the last step; they
    change in place, so copy them to keep them.  With update_delay the last steps' updates may still
    be pending then; finish(), which train() ends with, makes them.  With updates=False weights do
    not change and accumulators sum without end: that measures the gradient.  imperfections: of
    the hardware, none by default.
    """

    def __init__(
        self,
        network: Network,
        settings: Settings,
        codes: np.ndarray,
        labels: np.ndarray,
        weights: list[np.ndarray],
        seeds: Sequence[int],
        order: np.ndarray | None = None,
        updates: bool = True,
        imperfections: Imperfections | None = None,
    ) -> None:
        settings.check(network)
        self.network = network
        self.settings = settings
        self.shift = settings.shift_at(0, network)
        self.codes = codes
        self.labels = np.asarray(labels, dtype=np.int64)
        self.order = order
        self.updates = updates
        self.hardware: ImperfectHardware | None = None
        if imperfections is not None and imperfections.any:
            self.hardware = ImperfectHardware(imperfections, network, seeds)
        self.perturbation = PERTURBATIONS[settings.perturbation](
            network, settings.numbering(network), seeds
        )
        self._start_states = states = [start_state(s) for s in seeds]
        self.sample_order = SampleOrder(
            settings.sample_order, network, states, len(self.labels), settings.window
        )
        self.memory = WeightMemory(network, settings, weights, self.hardware)
        seeds_count = len(seeds)
        self.measurement = Measurement(network, settings, seeds_count, self.hardware)
        self.random = RandomBytes(network, states)
        self.highpass = HighPass(settings.highpass_exp)
        self.step_number = 0
        self.cost_sum = np.zeros(seeds_count, dtype=np.int64)
        self._first_layer = layers_of(network.layers)[0]
        self._scheduled = bool(settings.halve_every or settings.warmup_exp)
        self._rate_ends: int | None = None
        self._seed_numbers = np.arange(seeds_count)
        self._drawn: list[np.ndarray | None] = []
        self._draw: list[np.ndarray | None] = []
        """The draw, matched to the sample."""
        self._x = np.zeros((seeds_count, self._first_layer.parameters[1]), dtype=np.int64)
        self._label = np.zeros((seeds_count, *self.labels.shape[1:]), dtype=np.int64)
        self._baseline = np.zeros(seeds_count, dtype=np.int64)
        self._random_byte = np.zeros(seeds_count, dtype=np.int64)
        self._weights_changed = True

    def resume(self, step: int, accumulators: list[np.ndarray] | None = None) -> None:
        """Of a new trainer: continue with step number `step`, as if it had done those before.

        The weights are those after them; accumulators likewise, in their shape, or None for 0.
        All later steps have the numbers of a run from the beginning.  Counters begin at 0; if the
        forward difference continues with an earlier C0, it is measured again, which gives the
        same C0 and may count its saturations once more.  Raises
        UserError for settings of which that is not all (Settings.check_resumable).
        """
        s = self.settings
        s.check_resumable()
        self.perturbation.skip(step // s.tau_p)
        self.sample_order.skip(step // s.tau_x)
        self.random = RandomBytes(self.network, self._start_states, taken=step)
        for mine, given in zip(self.accumulators, accumulators or [], strict=False):
            mine[:] = given
        self.step_number = step
        self._weights_changed = True
        if step % s.tau_x:
            self._next_sample()
        if step % s.tau_p:
            self._drawn = self.perturbation.draw()
        self._match_draw()

    def step(self) -> Step:
        """One MGD step t, counted from 0 (design notes: docs/numerics.md, 'Training step')."""
        s, t = self.settings, self.step_number
        if self._scheduled:
            if t == self._rate_ends:
                self.finish()  # A core gets the new rate between two TRAIN commands.
            self.shift = s.shift_at(t, self.network)
            self._rate_ends = s.next_rate(t, self.network)
        new_sample = t % s.tau_x == 0
        if new_sample:
            self._next_sample()
        if t % s.tau_p == 0:
            self._drawn = self.perturbation.draw()
        if new_sample or t % s.tau_p == 0:
            self._match_draw()

        baseline = cost_plus = None
        if s.antithetic:
            both = self._costs(ANTITHETIC)
            cost_plus, cost = both[0::2], both[1::2]
            delta = cost_plus - cost
            self.cost_sum += both[0] + both[1]
        elif s.continuous:
            cost = self._costs(ALONE)
            delta = self.highpass.delta(cost[0])[None]
            self.cost_sum += 2 * cost[0]
        else:
            if new_sample or self._weights_changed:
                both = self._costs(BASELINE_AND_FORWARD)
                self._baseline = baseline = both[0]
                cost = both[1:]
            else:
                cost = self._costs(FORWARD)
            delta = 2 * (cost - self._baseline)
            self.cost_sum += 2 * cost[0]
        if self.hardware is not None:
            delta = self.hardware.delta(delta)

        self._random_byte = self.random.take()
        self._weights_changed = self.updates and (t + 1) % s.tau_theta == 0
        self.memory.update(self._layer_steps(delta), self._weights_changed)
        self.step_number += 1
        if not s.by_layer:
            cost_plus = None if cost_plus is None else cost_plus[0]
            cost, delta = cost[0], delta[0]
        return Step(t, baseline, cost_plus, cost, delta, self._weights_changed)

    def train(self, until_step: int, on_step: Callable[[Step], None] | None = None) -> None:
        """Steps up to number `until_step`, and all their updates."""
        while self.step_number < until_step:
            record = self.step()
            if on_step is not None:
                on_step(record)
        self.finish()

    def finish(self) -> None:
        """Make the pending updates, as a core does at the end of a TRAIN command."""
        self.memory.finish()

    def evaluate(self, codes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(correct samples, sum of costs) per seed."""
        inputs = np.asarray(codes, dtype=np.int64) << self.settings.input_shift
        labels = np.asarray(labels, dtype=np.int64)
        return evaluate(self.weights, inputs, labels, self.network, self.hardware)

    # -- state after the last step -----------------------------------------------------------

    @property
    def weights(self) -> list[np.ndarray]:
        """Per layer (seeds, nodes, fan_in + 1), float64 that holds integers."""
        return self.memory.weights

    @weights.setter
    def weights(self, weights: list[np.ndarray]) -> None:
        self.memory.weights = weights
        self.weights_written()

    def weights_written(self) -> None:
        """The host has written weights between two steps: a C0 from before is measured again."""
        self._weights_changed = True

    @property
    def accumulators(self) -> list[np.ndarray]:
        """Of the same shape, int64; 0 where no synapse has one."""
        return self.memory.accumulators

    @property
    def settled(self) -> list[np.ndarray]:
        """The weights as finish() would leave them now."""
        return self.memory.settled

    @property
    def weight_saturations(self) -> np.ndarray:
        """Weights that an update would have taken beyond their format, per seed."""
        return self.memory.saturations

    @property
    def activation_saturations(self) -> np.ndarray:
        """Activations of training passes that left their format, per seed."""
        return self.measurement.saturations

    @property
    def trace(self) -> StepTrace:
        """The operands of the last step."""
        return StepTrace(
            self._x,
            self._label,
            self._draw,
            self.measurement.layer_inputs,
            self._random_byte,
            self.memory.rule.update_terms,
        )

    @property
    def inputs(self) -> np.ndarray:
        """All training samples' input activations, (samples, inputs) int64."""
        return self._inputs(slice(None))

    # -- parts of a step --------------------------------------------------------------------

    def _inputs(self, index: np.ndarray | int | slice) -> np.ndarray:
        # Sample by sample: a large set may be a mapped file.
        return np.asarray(self.codes[index], dtype=np.int64) << self.settings.input_shift

    def _next_sample(self) -> None:
        index, seeds = self.sample_order.take(), len(self.cost_sum)
        if self.order is not None:
            index = self.order[self._seed_numbers, index]
        x = np.broadcast_to(self._inputs(index), (seeds, self.codes.shape[1]))
        self._label = np.broadcast_to(self.labels[index], (seeds, *self.labels.shape[1:]))
        self._x = self._first_layer.inputs(x)

    def _match_draw(self) -> None:
        self._draw = list(self._drawn)
        if self.settings.skips_inputs and self._draw and self._draw[0] is not None:
            self._draw[0] = nonzero_signs(self._draw[0], self._x)

    def _costs(self, kind: str) -> np.ndarray:
        """Costs (passes, seeds) of the passes of that kind."""
        return self.measurement.costs(kind, self.weights, self._draw, self._x, self._label)

    def _layer_steps(self, delta: np.ndarray) -> list[LayerStep]:
        """The trained layers' parts of this step.

        delta: (1, seeds), or (trained layers, seeds), each layer with its own.
        """
        found = self.measurement
        gates, by_layer = self.settings.gates_inputs, self.settings.by_layer
        parts: list[LayerStep] = []
        for number, values in enumerate(self._draw):
            if values is not None:
                parts.append(
                    LayerStep(
                        number,
                        delta[len(parts) if by_layer else 0],
                        values,
                        found.layer_inputs[number],
                        found.nonzero[number] if gates else None,
                        self._random_byte,
                        self.shift,
                    )
                )
        return parts
