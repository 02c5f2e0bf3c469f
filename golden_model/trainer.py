"""The training loop, bit for bit as the hardware runs it, for many seeds at once.

Multiplexed gradient descent in discrete time (Oripov et al. 2025, Algorithm 1; McCaughan et
al. 2023, Algorithm 1), in the notation of those papers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from golden_model import costs
from golden_model.activations import activate
from golden_model.formats import floor_shift, saturate, stochastic_round
from golden_model.forward import evaluate, output_values, pre_activation, weighted_sums, with_bias
from golden_model.network import ACT_FRAC, ONE, ROUND_BITS, Network
from golden_model.seeds import start_state
from golden_model.settings import Settings
from golden_model.signs import BitReader, start_states_at, stream_states

ANTITHETIC = np.array([+1, -1])
BASELINE_AND_FORWARD = np.array([0, +1])
FORWARD = np.array([+1])
"""Factors of the perturbation in the passes of a step."""


@dataclass
class Step:
    """What happened in one step, for comparison with the hardware.  Arrays: seeds first."""

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
    """Whether the weights changed after this step."""


class SignSource:
    """Signs and random bytes of consecutive draws, for several seeds.

    draws, bytes_taken: how many of each are over already.
    """

    BLOCK_BITS = 4096
    BLOCK_SIGNS = 1 << 17
    """Draws made at once: few calls for small networks, but no more than caches hold."""

    def __init__(
        self,
        network: Network,
        start_states: Sequence[int],
        nodes: bool,
        draws: int = 0,
        bytes_taken: int = 0,
    ) -> None:
        self.network = network
        self.nodes = nodes
        bits = ROUND_BITS * bytes_taken
        starts = [
            start_states_at(state, network.layers[:-1], nodes, draws, bits)
            for state in start_states
        ]

        def windows(part: int) -> np.ndarray:
            states = [stream_states(one[part], network.neurons) for one in starts]
            return np.array(states, dtype=np.uint64)

        every = windows(0)
        self._layers: list[BitReader] = []
        first = 0
        for layer, size in enumerate(network.layers[1:]):
            own = windows(layer) if draws else every
            self._layers.append(BitReader(own[:, first : first + size]))
            first += size
        own = windows(network.depth) if draws or bytes_taken else every
        self._random = BitReader(own[:, network.neurons])
        widest = 1 if nodes else max(network.layers[:-1]) + 1
        total = (network.neurons if nodes else network.parameters) * len(start_states)
        self._block = max(1, min(self.BLOCK_BITS // widest, self.BLOCK_SIGNS // total))
        self._signs: list[np.ndarray] = []
        self._left = 0
        self._bytes = np.zeros((len(start_states), 0), dtype=np.int64)

    def draw(self) -> list[np.ndarray]:
        """Signs ±1 of the next draw, float64, per layer (seeds, nodes, fan_in+1 or 1)."""
        if not self._left:
            self._signs = []
            for reader, fan_in in zip(self._layers, self.network.layers, strict=False):
                width = 1 if self.nodes else fan_in + 1
                bits = reader.take(self._block * width)
                bits = bits.reshape(*bits.shape[:-1], self._block, width)
                self._signs.append(
                    np.moveaxis((1 - 2 * bits.view(np.int8)).astype(np.float64), -2, 0)
                )
            self._left = self._block
        index = self._block - self._left
        self._left -= 1
        return [signs[index] for signs in self._signs]

    def random_bytes(self) -> np.ndarray:
        """The next 8 bits of stretch K per seed: first bit = least significant."""
        if self._bytes.shape[1] == 0:
            bits = self._random.take(1024 * ROUND_BITS)
            bits = bits.reshape(bits.shape[0], 1024, ROUND_BITS).astype(np.int64)
            self._bytes = (bits << np.arange(ROUND_BITS)).sum(axis=-1)
        byte, self._bytes = self._bytes[:, 0], self._bytes[:, 1:]
        return byte


class Trainer:
    """A core in NumPy.  All arrays have the seeds as first axis.

    codes: (samples, inputs) integers; labels: (samples,); weights: per layer
    (seeds, nodes, fan_in+1) integers, the bias last; order: (seeds, samples) permutations, or
    None for the order given.  Raises UserError where the settings do not suit the network.

    weights and accumulators hold what a core's memories hold after the last step; they change
    in place, so copy what you keep.
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
    ) -> None:
        settings.check(network)
        self.network = network
        self.settings = settings
        self.shift = settings.shift(network)
        self.inputs = np.asarray(codes, dtype=np.int64) << settings.input_shift
        self.labels = np.asarray(labels, dtype=np.int64)
        self.order = order
        self.weights = [np.array(w, dtype=np.float64) for w in weights]
        # Integers: with the widest formats an accumulator may pass 2^53.
        self.accumulators = [np.zeros(w.shape, dtype=np.int64) for w in self.weights]
        self._seeds = list(seeds)
        self.signs = SignSource(
            network, [start_state(s) for s in seeds], nodes=settings.perturbs_nodes
        )
        seeds_count = len(seeds)
        self.step_number = 0
        self.cost_sum = np.zeros(seeds_count, dtype=np.int64)
        self.weight_saturations = np.zeros(seeds_count, dtype=np.int64)
        self.activation_saturations = np.zeros(seeds_count, dtype=np.int64)
        self._draw: list[np.ndarray] = []
        self._x = np.zeros((seeds_count, network.layers[0] + 1), dtype=np.int64)
        self._label = np.zeros(seeds_count, dtype=np.int64)
        self._baseline = np.zeros(seeds_count, dtype=np.int64)
        self._layer_inputs: list[np.ndarray] = []
        self._weights_changed = True

    def resume(self, step: int, accumulators: list[np.ndarray] | None = None) -> None:
        """Go on with step number `step`, as if those before had been done.

        The weights are those after them; accumulators likewise, in their shape, or None for 0.
        The steps that follow give the same numbers as in a run from the beginning.  Counters begin
        at 0; where a step of the forward difference goes on with a C0 from before, that is
        measured again, which gives the same C0 and may count its saturations once more.
        """
        s = self.settings
        states = [start_state(seed) for seed in self._seeds]
        self.signs = SignSource(self.network, states, s.perturbs_nodes, step // s.tau_p, step)
        if accumulators is not None:
            self.accumulators = [np.array(g, dtype=np.int64) for g in accumulators]
        self.step_number = step
        self._weights_changed = True
        if step % s.tau_x:
            self._next_sample(step // s.tau_x)
        if step % s.tau_p:
            self._draw = self.signs.draw()

    def step(self) -> Step:
        """One MGD step t, counted from 0 (design notes: docs/numerics.md, 'Schedule')."""
        s, t = self.settings, self.step_number
        new_sample = t % s.tau_x == 0
        if new_sample:
            self._next_sample(t // s.tau_x)
        if t % s.tau_p == 0:
            self._draw = self.signs.draw()

        baseline = cost_plus = None
        if s.antithetic:
            cost_plus, cost = self._costs(ANTITHETIC)
            delta = cost_plus - cost
            self.cost_sum += cost_plus + cost
        else:
            if new_sample or self._weights_changed:
                baseline, cost = self._costs(BASELINE_AND_FORWARD)
                self._baseline = baseline
            else:
                (cost,) = self._costs(FORWARD)
            delta = 2 * (cost - self._baseline)
            self.cost_sum += 2 * cost

        self._weights_changed = (t + 1) % s.tau_theta == 0
        self._update(delta, self.signs.random_bytes(), self._weights_changed)
        self.step_number += 1
        return Step(t, baseline, cost_plus, cost, delta, self._weights_changed)

    def train(self, until_step: int, on_step: Callable[[Step], None] | None = None) -> None:
        """Steps up to number `until_step`."""
        while self.step_number < until_step:
            record = self.step()
            if on_step is not None:
                on_step(record)

    def evaluate(self, codes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(correct samples, sum of costs) per seed."""
        inputs = np.asarray(codes, dtype=np.int64) << self.settings.input_shift
        return evaluate(self.weights, inputs, np.asarray(labels, dtype=np.int64), self.network)

    # -- parts of a step --------------------------------------------------------------------

    def _next_sample(self, number: int) -> None:
        index = number % len(self.labels)
        if self.order is None:
            x = np.broadcast_to(self.inputs[index], (len(self.cost_sum), self.inputs.shape[1]))
            self._label = np.broadcast_to(self.labels[index], len(self.cost_sum))
        else:
            x = self.inputs[self.order[:, index]]
            self._label = self.labels[self.order[:, index]]
        self._x = with_bias(x)

    def _costs(self, factors: np.ndarray) -> np.ndarray:
        """Costs with perturbation factor·θ, one row per factor; the passes share layer 1.

        Keeps the inputs of every layer in the first pass, unless that is a perturbed one of
        the forward difference: the update then goes by the baseline's, which stay.
        """
        net, last = self.network, self.network.depth - 1
        x = self._x[..., None]
        layer_inputs = []
        for layer, signs in enumerate(self._draw):
            layer_inputs.append(x[..., 0])
            base = weighted_sums(self.weights[layer], x, net)
            if self.settings.perturbs_nodes:
                sign_sum = signs.astype(np.int64) * ONE
            else:
                sign_sum = np.matmul(signs, x.astype(np.float64)).astype(np.int64)
            z = pre_activation(base, sign_sum, factors, self.settings.delta_exp, net)
            if layer < last:
                y, over = activate(net.hidden, z, net.pre_frac)
                x = np.empty((len(y), y.shape[1] + 1, y.shape[2]), dtype=np.int64)
                x[:, :-1], x[:, -1] = y, ONE
            else:
                y, over = output_values(z, net)
            if over.any():
                self.activation_saturations += over.sum(axis=(1, 2))
        if factors is not FORWARD:
            self._layer_inputs = layer_inputs
        labels = np.repeat(self._label[:, None], len(factors), axis=1)
        return costs.FUNCTIONS[net.cost](np.swapaxes(y, 1, 2), labels, net).T

    def _update(self, delta: np.ndarray, random: np.ndarray, change_weights: bool) -> None:
        """Give every synapse its share of the cost change; change the weights when due."""
        accumulate = self.settings.accumulates
        shift = ACT_FRAC if accumulate else self.shift + ACT_FRAC
        for layer, signs in enumerate(self._draw):
            if self.settings.perturbs_nodes:
                x = self._layer_inputs[layer]
            else:
                x = np.full((len(delta), 1), ONE, dtype=np.int64)
            share = stochastic_round(delta[:, None] * x, shift, random[:, None], ROUND_BITS)
            change = signs * share[:, None, :]
            if accumulate:
                self.accumulators[layer] += change.astype(np.int64)
                if not change_weights:
                    continue
                change = self._take_whole_units(layer)
            weights = self.weights[layer]
            weights -= change
            low, high = self.network.weight_min, self.network.weight_max
            if weights.min() < low or weights.max() > high:
                self.weight_saturations += ((weights < low) | (weights > high)).sum(axis=(1, 2))
                self.weights[layer] = saturate(weights, low, high)

    def _take_whole_units(self, layer: int) -> np.ndarray:
        """⌊G·2^-S⌋, leaving the residual in G, also where the weight then clips."""
        whole = floor_shift(self.accumulators[layer], self.shift)
        self.accumulators[layer] -= floor_shift(whole, -self.shift)
        return whole.astype(np.float64)
