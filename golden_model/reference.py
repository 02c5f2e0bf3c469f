"""A float64 reference beside the fixed-point model: exact functions, gradients and updates.

Forward pass, cost and gradient are the textbook ones; `backpropagation_sgd` trains with them.
`FloatTrainer` is multiplexed gradient descent (McCaughan et al. 2023, APL Machine Learning 1,
026118; Oripov et al. 2025, Algorithm 1) with the signs and the schedule of
golden_model.trainer.Trainer, but without rounding, saturation or tables.

Everything is in natural units (1.0 is 1.0) and costs are in bits for cross-entropy.  Leading
axes ("...": samples, or seeds) of weights and inputs broadcast against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from golden_model.network import ACT_FRAC, ONE, Network
from golden_model.seeds import start_state
from golden_model.settings import Settings
from golden_model.trainer import SignSource


def float_weights(weights: list[np.ndarray], network: Network) -> list[np.ndarray]:
    """Integer weights in natural units, same shapes."""
    return [np.asarray(w, dtype=np.float64) * 2.0**-network.weight_frac for w in weights]


def float_inputs(codes: np.ndarray, input_shift: int) -> np.ndarray:
    """Input codes in natural units, same shape."""
    return np.asarray(codes, dtype=np.float64) * 2.0 ** (input_shift - ACT_FRAC)


def activation(kind: str, z: np.ndarray) -> np.ndarray:
    """tanh, relu or identity, without the activation format's ends."""
    if kind == "tanh":
        return np.tanh(z)
    return np.maximum(z, 0.0) if kind == "relu" else z


def slope(kind: str, z: np.ndarray) -> np.ndarray:
    """Derivative of activation(kind, z); 0 at the corner of relu."""
    if kind == "tanh":
        return 1.0 - np.tanh(z) ** 2
    return (z > 0).astype(np.float64) if kind == "relu" else np.ones_like(z)


@dataclass(frozen=True)
class Pass:
    """One forward pass."""

    inputs: list[np.ndarray]
    """Per layer (..., fan_in + 1), the bias input 1.0 last."""
    pre_activations: list[np.ndarray]
    """Per layer (..., nodes)."""
    outputs: np.ndarray
    """(..., outputs): pre-activations for cross-entropy, else activations."""


def forward(
    weights: list[np.ndarray],
    x: np.ndarray,
    network: Network,
    perturbation: Sequence[np.ndarray] | None = None,
) -> Pass:
    """Forward pass.

    weights: per layer (..., nodes, fan_in + 1); x: (..., inputs); perturbation: per layer
    (..., nodes), added to the pre-activations.
    """
    inputs, sums = [], []
    for layer, w in enumerate(weights):
        x = np.concatenate([x, np.ones((*x.shape[:-1], 1))], axis=-1)
        z = np.matmul(w, x[..., None])[..., 0]
        if perturbation is not None:
            z = z + perturbation[layer]
        inputs.append(x)
        sums.append(z)
        if layer < network.depth - 1:
            x = activation(network.hidden, z)
        else:
            x = z if network.cost == "cross_entropy" else activation(network.output, z)
    return Pass(inputs, sums, x)


def targets(labels: np.ndarray, network: Network) -> np.ndarray:
    """MSE targets, shape labels.shape + (outputs,)."""
    first = 1 if network.outputs == 1 else 0
    hit = np.asarray(labels)[..., None] == np.arange(first, first + network.outputs)
    return np.where(hit, network.target_high, network.target_low) / ONE


def cost(outputs: np.ndarray, labels: np.ndarray, network: Network) -> np.ndarray:
    """Σ (y − T)², or the softmax cross-entropy to base 2, log2 Σ 2^z − z_label; shape (...)."""
    labels = np.broadcast_to(labels, outputs.shape[:-1])
    if network.cost == "mse":
        return ((outputs - targets(labels, network)) ** 2).sum(axis=-1)
    highest = outputs.max(axis=-1)
    log_sum = np.log2(np.exp2(outputs - highest[..., None]).sum(axis=-1)) + highest
    return log_sum - np.take_along_axis(outputs, labels[..., None], -1)[..., 0]


def classify(outputs: np.ndarray, network: Network) -> np.ndarray:
    """Class numbers (...): the largest output, or the middle of the targets for one output."""
    if network.outputs == 1:
        middle = (network.target_low + network.target_high) / 2 / ONE
        return (outputs[..., 0] >= middle).astype(np.int64)
    return outputs.argmax(axis=-1)


def node_gradient(
    weights: list[np.ndarray], x: np.ndarray, labels: np.ndarray, network: Network
) -> tuple[Pass, list[np.ndarray]]:
    """The forward pass and ∂C/∂z per layer, (..., nodes), by backpropagation."""
    result = forward(weights, x, network)
    labels = np.broadcast_to(labels, result.outputs.shape[:-1])
    if network.cost == "mse":
        error = 2.0 * (result.outputs - targets(labels, network))
        error = error * slope(network.output, result.pre_activations[-1])
    else:
        powers = np.exp2(result.outputs - result.outputs.max(axis=-1, keepdims=True))
        error = powers / powers.sum(axis=-1, keepdims=True)
        error = error - (labels[..., None] == np.arange(network.outputs))
    errors = [error]
    for layer in range(network.depth - 1, 0, -1):
        back = np.matmul(np.swapaxes(weights[layer][..., :-1], -1, -2), errors[0][..., None])
        errors.insert(0, back[..., 0] * slope(network.hidden, result.pre_activations[layer - 1]))
    return result, errors


def gradient(
    weights: list[np.ndarray], x: np.ndarray, labels: np.ndarray, network: Network
) -> list[np.ndarray]:
    """∂C/∂W per layer, (..., nodes, fan_in + 1), one for each leading index (no mean)."""
    result, errors = node_gradient(weights, x, labels, network)
    return [e[..., :, None] * i[..., None, :] for e, i in zip(errors, result.inputs, strict=True)]


def evaluate(
    weights: list[np.ndarray], x: np.ndarray, labels: np.ndarray, network: Network
) -> tuple[np.ndarray, np.ndarray]:
    """(share of correct samples, mean cost), one number per leading index of the weights.

    weights: per layer (..., nodes, fan_in + 1); x: (samples, inputs); labels: (samples,).
    """
    outputs = forward([w[..., None, :, :] for w in weights], x, network).outputs
    correct = (classify(outputs, network) == labels).mean(axis=-1)
    return correct, cost(outputs, labels, network).mean(axis=-1)


def backpropagation_sgd(
    network: Network,
    x: np.ndarray,
    labels: np.ndarray,
    weights: list[np.ndarray],
    learning_rate: float,
    steps: int,
    every: int = 100,
    test: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[list[np.ndarray], list[tuple[int, float, float]]]:
    """Stochastic gradient descent, one sample per step, cycling through the samples in order.

    x: (samples, inputs); labels: (samples,); weights: per layer (nodes, fan_in + 1), float64,
    not changed.  Returns the final weights and a curve of (step, accuracy, mean cost) over
    `test` (the training samples by default) at step 0 and after each `every` steps.
    """
    weights = [np.array(w, dtype=np.float64) for w in weights]
    test_x, test_labels = (x, labels) if test is None else test
    curve = []
    for step in range(steps + 1):
        if step % every == 0:
            accuracy, mean = evaluate(weights, test_x, test_labels, network)
            curve.append((step, float(accuracy), float(mean)))
        if step < steps:
            index = step % len(labels)
            for w, g in zip(
                weights, gradient(weights, x[index], labels[index], network), strict=True
            ):
                w -= learning_rate * g
    return weights, curve


class FloatTrainer:
    """Multiplexed gradient descent in float64, all arrays with the seeds as first axis.

    Draws, samples and updates happen at the steps at which Trainer has them, with the same
    signs; settings.rounding and the widths of `network` mean nothing here.

    x: (samples, inputs); labels: (samples,); weights: per layer (seeds, nodes, fan_in + 1),
    float64; order: (seeds, samples) permutations, or None for the order given.
    """

    def __init__(
        self,
        network: Network,
        settings: Settings,
        x: np.ndarray,
        labels: np.ndarray,
        weights: list[np.ndarray],
        seeds: Sequence[int],
        order: np.ndarray | None = None,
    ) -> None:
        self.network = network
        self.settings = settings
        self.x = np.asarray(x, dtype=np.float64)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.order = (
            np.tile(np.arange(len(self.labels)), (len(seeds), 1)) if order is None else order
        )
        self.weights = [np.array(w, dtype=np.float64) for w in weights]
        self.accumulators = [np.zeros_like(w) for w in self.weights]
        """Σ ΔC·s/δ (·x_j for node perturbation) since the last update: tau_theta times G."""
        self.signs = SignSource(
            network, [start_state(s) for s in seeds], nodes=settings.perturbs_nodes
        )
        self.delta = 2.0**-settings.delta_exp
        self.step_number = 0
        self._draw: list[np.ndarray] = []
        self._sample = np.zeros(len(seeds), dtype=np.int64)
        self._baseline = np.zeros(len(seeds))
        self._inputs: list[np.ndarray] = []
        self._weights_changed = True

    def step(self) -> np.ndarray:
        """One step; returns ΔC per seed."""
        s, t = self.settings, self.step_number
        new_sample = t % s.tau_x == 0
        if new_sample:
            self._sample = self.order[:, (t // s.tau_x) % len(self.labels)]
        if t % s.tau_p == 0:
            self._draw = self.signs.draw()
        if s.antithetic:
            plus, self._inputs = self._cost(+1)
            minus, _ = self._cost(-1)
            change = (plus - minus) / 2
        else:
            if new_sample or self._weights_changed:
                self._baseline, self._inputs = self._cost(0)
            change = self._cost(+1)[0] - self._baseline
        for layer, signs in enumerate(self._draw):
            share = (change / self.delta)[:, None, None] * signs
            if s.perturbs_nodes:
                share = share * self._inputs[layer][:, None, :]
            self.accumulators[layer] += share
        self._weights_changed = (t + 1) % s.tau_theta == 0
        if self._weights_changed:
            for w, g in zip(self.weights, self.accumulators, strict=True):
                w -= 2.0**-s.eta_exp * g
                g[:] = 0.0
        self.step_number += 1
        return change

    def train(self, until_step: int) -> None:
        """Steps up to number `until_step`."""
        while self.step_number < until_step:
            self.step()

    def _cost(self, factor: int) -> tuple[np.ndarray, list[np.ndarray]]:
        weights, added = self.weights, None
        if self.settings.perturbs_nodes:
            added = [factor * self.delta * signs[..., 0] for signs in self._draw]
        else:
            pairs = zip(weights, self._draw, strict=True)
            weights = [w + factor * self.delta * signs for w, signs in pairs]
        result = forward(weights, self.x[self._sample], self.network, added)
        return cost(result.outputs, self.labels[self._sample], self.network), result.inputs
