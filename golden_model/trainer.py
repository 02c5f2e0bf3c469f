"""The training loop, bit for bit as the hardware runs it, for many seeds at once.

Multiplexed gradient descent in discrete time (Oripov et al. 2025, Algorithm 1; McCaughan et
al. 2023, Algorithm 1), in the notation of those papers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from mgd.golden_model.activations import activate
from mgd.golden_model.formats import saturate, stochastic_round
from mgd.golden_model.forward import (
    evaluate,
    output_values,
    pre_activation,
    weighted_sums,
    with_bias,
)
from mgd.golden_model.imperfections import ImperfectHardware, Imperfections
from mgd.golden_model.network import ACT_FRAC, ONE, ROUND_BITS, Network
from mgd.golden_model.passes import ALONE, ANTITHETIC, BASELINE_AND_FORWARD, FORWARD, Passes
from mgd.golden_model.perturbations import FAMILIES
from mgd.golden_model.samples.nonzero import lit_signs
from mgd.golden_model.samples.order import SampleOrder
from mgd.golden_model.seeds import start_state
from mgd.golden_model.settings import Settings
from mgd.golden_model.signs.source import RandomBytes, SignSource
from mgd.golden_model.update.adam import Adam
from mgd.golden_model.update.error_feedback import Residual
from mgd.golden_model.update.highpass import HighPass

__all__ = ["SignSource", "Step", "Trainer"]


@dataclass
class Step:
    """What happened in one step, for comparison with the hardware.

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


class Trainer:
    """A core in NumPy.  All arrays have the seeds as first axis.

    codes: (samples, inputs) integers, an array or what is indexed like one; labels: (samples,);
    weights: per layer (seeds, nodes, fan_in+1) integers, the bias last; order: (seeds, samples)
    permutations, or None for the order given.  Raises UserError where the settings do not suit
    the network or the number of samples.

    weights and accumulators hold what a core's memories hold after the last step; they change
    in place, so copy what you keep.  With update_delay the last steps' updates may still be under
    way then; finish(), with which train() ends, makes them.  With updates=False weights stay as
    they are and accumulators sum up for ever: that measures the gradient.  imperfections: of the
    hardware, none by default.
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
        self.weights = [np.array(w, dtype=np.float64) for w in weights]
        # Integers: with the widest formats an accumulator may pass 2^53.
        self.accumulators = [np.zeros(w.shape, dtype=np.int64) for w in self.weights]
        self.updates = updates
        self.hardware: ImperfectHardware | None = None
        if imperfections is not None and imperfections.any:
            self.hardware = ImperfectHardware(imperfections, network, seeds)
            self.weights = [self.hardware.stored(k, w) for k, w in enumerate(self.weights)]
        numbering = settings.numbering(network)
        self.perturbation = FAMILIES[settings.perturbation](
            network, numbering, settings.perturbs_nodes, seeds
        )
        self._start_states = states = [start_state(s) for s in seeds]
        self.sample_order = SampleOrder(
            settings.sample_order, network, states, len(self.labels), settings.window
        )
        self.passes = Passes([n is not None for n in numbering], settings.by_layer)
        self.random = RandomBytes(network, states)
        seeds_count = len(seeds)
        self.step_number = 0
        self.cost_sum = np.zeros(seeds_count, dtype=np.int64)
        self.weight_saturations = np.zeros(seeds_count, dtype=np.int64)
        self.activation_saturations = np.zeros(seeds_count, dtype=np.int64)
        self.rule: Adam | Residual = (
            Adam(network, settings, self.weights) if settings.adam else Residual(network, settings)
        )
        self.highpass = HighPass(settings.highpass_exp)
        self._scheduled = bool(settings.halve_every or settings.warmup_exp)
        self._rate_ends: int | None = None
        self._gated = settings.gate_zeros and not settings.perturbs_nodes
        nothing = [np.zeros((len(seeds), f + 1), dtype=bool) for f in network.layers[:-1]]
        self._open, self._baseline_open = nothing, list(nothing)
        self._seed_numbers = np.arange(seeds_count)
        self._skips = settings.skip_zeros and not settings.perturbs_nodes
        self._drawn: list[np.ndarray | None] = []
        self._under_way: deque[list[tuple[int, np.ndarray]]] = deque()
        """Updates to come, (layer, what its weights lose), the oldest first."""
        self._draw: list[np.ndarray | None] = []
        """What was drawn, as it goes with the sample."""
        self._x = np.zeros((seeds_count, network.layers[0] + 1), dtype=np.int64)
        self._label = np.zeros(seeds_count, dtype=np.int64)
        self._baseline = np.zeros(seeds_count, dtype=np.int64)
        self._layer_inputs: list[np.ndarray] = []
        self._weights_changed = True

    def resume(self, step: int, accumulators: list[np.ndarray] | None = None) -> None:
        """Of a new trainer: go on with step number `step`, as if those before had been done.

        The weights are those after them; accumulators likewise, in their shape, or None for 0.
        The steps that follow give the same numbers as in a run from the beginning.  Counters begin
        at 0; where a step of the forward difference goes on with a C0 from before, that is
        measured again, which gives the same C0 and may count its saturations once more.  Raises
        UserError for settings of which that is not all (Settings.check_resumable).
        """
        s = self.settings
        s.check_resumable()
        self.perturbation.skip(step // s.tau_p)
        self.sample_order.skip(step // s.tau_x)
        self.random = RandomBytes(self.network, self._start_states, taken=step)
        if accumulators is not None:
            self.accumulators = [np.array(g, dtype=np.int64) for g in accumulators]
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
                self.finish()  # A core is told between two TRAIN commands.
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

        self._weights_changed = self.updates and (t + 1) % s.tau_theta == 0
        self._update(delta, self.random.take(), self._weights_changed)
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
        """Make the updates that are under way, as a core does at the end of a TRAIN command."""
        while self._under_way:
            self._change(self._under_way.popleft())

    def evaluate(self, codes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(correct samples, sum of costs) per seed."""
        inputs = np.asarray(codes, dtype=np.int64) << self.settings.input_shift
        labels = np.asarray(labels, dtype=np.int64)
        return evaluate(self.weights, inputs, labels, self.network, self.hardware)

    @property
    def settled(self) -> list[np.ndarray]:
        """The weights as finish() would leave them now."""
        later = copy(self)
        later.weights = [w.copy() for w in self.weights]
        later.weight_saturations = self.weight_saturations.copy()
        later._under_way = self._under_way.copy()
        later.finish()
        return later.weights

    @property
    def lit(self) -> np.ndarray:
        """Which inputs of the last step's sample are not 0, the bias last: (seeds, inputs + 1)."""
        return self._x != 0

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
        self._label = np.broadcast_to(self.labels[index], seeds)
        self._x = with_bias(x)

    def _match_draw(self) -> None:
        self._draw = list(self._drawn)
        if self._skips and self._draw and self._draw[0] is not None:
            self._draw[0] = lit_signs(self._draw[0], self._x)

    def _costs(self, kind: str) -> np.ndarray:
        """Costs (passes, seeds) of the passes of that kind; they share the first layer's sums.

        Keeps the inputs that every layer has in the pass its update goes by.
        """
        net, last, s = self.network, self.network.depth - 1, self.settings
        passes = self.passes.of(kind)
        exp = s.delta_exp + s.value_frac
        x = self._x[..., None]
        layer_inputs = []
        for layer, values in enumerate(self._draw):
            layer_inputs.append(x[..., min(passes.own[layer], x.shape[-1] - 1)])
            if self._gated:
                self._note_inputs(kind, layer, x)
            weights = self.weights[layer]
            if self.hardware is not None:
                weights = self.hardware.used(layer, weights)
            base = weighted_sums(weights, x, net)
            if values is None:
                sign_sum: np.ndarray | int = 0
            elif s.perturbs_nodes:
                sign_sum = values.astype(np.int64) * ONE
            else:
                sign_sum = np.matmul(values, x.astype(np.float64)).astype(np.int64)
            z = pre_activation(base, sign_sum, passes.factors[layer], exp, net)
            if self.hardware is not None:
                z = self.hardware.neurons(layer, z, axis=1)
            if layer < last:
                y, over = activate(net.hidden, z, net.pre_frac)
                x = np.empty((len(y), y.shape[1] + 1, y.shape[2]), dtype=np.int64)
                x[:, :-1], x[:, -1] = y, ONE
            else:
                y, over = output_values(z, net)
            if over.any():
                self.activation_saturations += over.sum(axis=(1, 2))
        if kind != FORWARD:
            self._layer_inputs = layer_inputs
        labels = np.repeat(self._label[:, None], y.shape[-1], axis=1)
        found = net.cost_kind.exact(np.swapaxes(y, 1, 2), labels, net).T
        return found if self.hardware is None else self.hardware.costs(found)

    def _note_inputs(self, kind: str, layer: int, x: np.ndarray) -> None:
        """Which inputs (seeds, fan_in + 1, passes) are not 0 in a pass that D is made of."""
        used = x if x.shape[-1] == 1 else x[..., self.passes.of(kind).measuring[layer]]
        found = (used != 0).any(axis=-1)
        if kind == BASELINE_AND_FORWARD:
            self._baseline_open[layer] = x[..., 0] != 0
        elif kind == FORWARD:
            found |= self._baseline_open[layer]
        self._open[layer] = found

    def _update(self, delta: np.ndarray, random: np.ndarray, change_weights: bool) -> None:
        """Give every synapse its share of the cost change; change the weights when due.

        delta: (1, seeds), or (trained layers, seeds), each layer with its own.
        """
        accumulate = self.settings.accumulates
        shift = ACT_FRAC if accumulate else self.shift + ACT_FRAC
        own, noise = 0, None
        update = []
        if change_weights and self.hardware is not None:
            noise = self.hardware.change_noise()
        for layer, values in enumerate(self._draw):
            if values is None:
                continue
            change_of_cost = delta[own]
            if self.settings.by_layer:
                own += 1
            if self.settings.perturbs_nodes:
                x = self._layer_inputs[layer]
            else:
                x = np.full((len(random), 1), ONE, dtype=np.int64)
            share = stochastic_round(
                change_of_cost[:, None] * x, shift, random[:, None], ROUND_BITS
            )
            change = values * share[:, None, :]
            if self._gated:
                change *= self._open[layer][:, None, :]
            if accumulate:
                self.accumulators[layer] += change.astype(np.int64)
                if not change_weights:
                    continue
                change = self.rule.change(
                    layer, self.accumulators[layer], self.weights[layer], self.shift, random
                )
            elif not change_weights:
                continue
            if self.hardware is not None and noise is not None:
                change = self.hardware.disturbed(change, noise[layer])
            update.append((layer, change))
        if change_weights:
            self._under_way.append(update)
            if len(self._under_way) > self.settings.update_delay:
                self._change(self._under_way.popleft())

    def _change(self, update: list[tuple[int, np.ndarray]]) -> None:
        """Make an update, and count the weights that it would take beyond their format."""
        low, high = self.network.weight_min, self.network.weight_max
        for layer, change in update:
            weights = self.weights[layer]
            weights -= change
            if weights.min() < low or weights.max() > high:
                self.weight_saturations += ((weights < low) | (weights > high)).sum(axis=(1, 2))
                self.weights[layer] = saturate(weights, low, high)
            if self.hardware is not None:
                self.weights[layer] = self.hardware.stored(layer, self.weights[layer])
