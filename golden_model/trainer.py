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
from golden_model.forward import evaluate, output_values, pre_activation, weighted_sum, with_bias
from golden_model.network import ACT_FRAC, ONE, ROUND_BITS, Network
from golden_model.seeds import start_state
from golden_model.settings import Settings
from golden_model.signs import BitReader, stream_states


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
    """Signs and random bytes of consecutive draws, for several seeds."""

    BLOCK_BITS = 4096

    def __init__(self, network: Network, start_states: Sequence[int], nodes: bool) -> None:
        self.network = network
        self.nodes = nodes
        windows = np.array(
            [stream_states(state, network.neurons) for state in start_states], dtype=np.uint64
        )
        self._layers: list[BitReader] = []
        first = 0
        for size in network.layers[1:]:
            self._layers.append(BitReader(windows[:, first : first + size]))
            first += size
        self._random = BitReader(windows[:, network.neurons])
        widest = 1 if nodes else max(network.layers[:-1]) + 1
        total = (network.neurons if nodes else network.parameters) * len(start_states)
        self._block = max(1, min(self.BLOCK_BITS // widest, (1 << 24) // total))
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
                self._signs.append(np.moveaxis(1.0 - 2.0 * bits, -2, 0).copy())
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

    def step(self) -> Step:
        """One MGD step t, counted from 0 (design notes: docs/numerics.md, 'Schedule')."""
        s, t = self.settings, self.step_number
        new_sample = t % s.tau_x == 0
        if new_sample:
            self._next_sample(t // s.tau_x)
        if t % s.tau_p == 0:
            self._draw = self.signs.draw()

        first_sums = weighted_sum(self.weights[0], self._x, self.network)
        baseline = cost_plus = None
        if s.antithetic:
            cost_plus, self._layer_inputs = self._cost(first_sums, +1)
            cost, _ = self._cost(first_sums, -1)
            delta = cost_plus - cost
            self.cost_sum += cost_plus + cost
        else:
            if new_sample or self._weights_changed:
                baseline, self._layer_inputs = self._cost(first_sums, 0)
                self._baseline = baseline
            cost, _ = self._cost(first_sums, +1)
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

    def _cost(self, first_sums: np.ndarray, factor: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Cost with perturbation factor·θ, and the inputs (bias included) of every layer."""
        net = self.network
        x, layer_inputs = self._x, []
        for layer, signs in enumerate(self._draw):
            layer_inputs.append(x)
            base = first_sums if layer == 0 else weighted_sum(self.weights[layer], x, net)
            sign_sum: np.ndarray | int = 0
            if factor:
                if self.settings.perturbs_nodes:
                    sign_sum = signs[..., 0].astype(np.int64) * ONE
                else:
                    products = np.matmul(signs, x[..., None].astype(np.float64))
                    sign_sum = products[..., 0].astype(np.int64)
            z = pre_activation(base, sign_sum, factor, self.settings.delta_exp, net)
            if layer < net.depth - 1:
                y, over = activate(net.hidden, z, net.pre_frac)
                x = with_bias(y)
            else:
                y, over = output_values(z, net)
            self.activation_saturations += over.sum(axis=-1)
        return costs.FUNCTIONS[net.cost](y, self._label, net), layer_inputs

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
            change = signs * share[:, None, :].astype(np.float64)
            if accumulate:
                self.accumulators[layer] += change.astype(np.int64)
                if not change_weights:
                    continue
                change = self._take_whole_units(layer)
            moved = self.weights[layer] - change
            limited = saturate(moved, self.network.weight_min, self.network.weight_max)
            self.weight_saturations += (limited != moved).sum(axis=(1, 2))
            self.weights[layer] = limited

    def _take_whole_units(self, layer: int) -> np.ndarray:
        """⌊G·2^-S⌋, leaving the residual in G, also where the weight then clips."""
        whole = floor_shift(self.accumulators[layer], self.shift)
        self.accumulators[layer] -= floor_shift(whole, -self.shift)
        return whole.astype(np.float64)
