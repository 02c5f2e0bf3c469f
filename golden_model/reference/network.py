"""A float64 reference beside the fixed-point model: exact functions and gradients.

Forward pass, cost and gradient are the textbook ones; `backpropagation_sgd` trains with them.
golden_model.reference.trainer is multiplexed gradient descent on them.

Everything is in natural units (1.0 is 1.0) and costs are in bits for cross-entropy.  Leading
axes ("...": samples, or seeds) of weights and inputs broadcast against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mgd.golden_model.activations import LEAK_EXP
from mgd.golden_model.costs import broadcast_labels
from mgd.golden_model.network import ACT_FRAC, ONE, Network


def float_weights(weights: list[np.ndarray], network: Network) -> list[np.ndarray]:
    """Integer weights in natural units, same shapes."""
    return [np.asarray(w, dtype=np.float64) * 2.0**-network.weight_frac for w in weights]


def float_inputs(codes: np.ndarray, input_shift: int) -> np.ndarray:
    """Input codes in natural units, same shape."""
    return np.asarray(codes, dtype=np.float64) * 2.0 ** (input_shift - ACT_FRAC)


def activation(kind: str, z: np.ndarray) -> np.ndarray:
    """One of golden_model.activations.ACTIVATIONS, without the activation format's ends."""
    return _ACTIVATIONS[kind][0](z)


def slope(kind: str, z: np.ndarray) -> np.ndarray:
    """Derivative of activation(kind, z); at a corner that of the flatter side."""
    return _ACTIVATIONS[kind][1](z)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(z / 2)


LEAK = 2.0**-LEAK_EXP
_ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "tanh": (np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0.0), lambda z: (z > 0).astype(np.float64)),
    "identity": (lambda z: z, np.ones_like),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * (1.0 - _sigmoid(z))),
    "leaky_relu": (lambda z: np.where(z > 0, z, LEAK * z), lambda z: np.where(z > 0, 1.0, LEAK)),
    "hard_tanh": (lambda z: np.clip(z, -1, 1), lambda z: (np.abs(z) < 1).astype(np.float64)),
}
"""Function and derivative."""


@dataclass(frozen=True)
class Pass:
    """One forward pass."""

    inputs: list[np.ndarray]
    """Per layer (..., fan_in + 1), the bias input 1.0 last."""
    pre_activations: list[np.ndarray]
    """Per layer (..., nodes)."""
    outputs: np.ndarray
    """(..., outputs): pre-activations for cross-entropy and hinge, else activations."""


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
            x = z if network.reads_sums else activation(network.output, z)
    return Pass(inputs, sums, x)


def cost(outputs: np.ndarray, labels: np.ndarray, network: Network) -> np.ndarray:
    """The network's cost of outputs (..., outputs) and labels: (...), in its unit."""
    labels = broadcast_labels(labels, outputs, network)
    return network.cost_kind.real(outputs, labels, network)


def classify(outputs: np.ndarray, network: Network) -> np.ndarray:
    """Class numbers (...): the largest output; for one output the middle of the targets, or 0
    for hinge."""
    if network.outputs == 1 and network.reads_sums:
        return (outputs[..., 0] >= 0).astype(np.int64)
    if network.outputs == 1:
        middle = (network.target_low + network.target_high) / 2 / ONE
        return (outputs[..., 0] >= middle).astype(np.int64)
    return outputs.argmax(axis=-1)


def node_gradient(
    weights: list[np.ndarray], x: np.ndarray, labels: np.ndarray, network: Network
) -> tuple[Pass, list[np.ndarray]]:
    """The forward pass and ∂C/∂z per layer, (..., nodes), by backpropagation."""
    result = forward(weights, x, network)
    labels = broadcast_labels(labels, result.outputs, network)
    error = network.cost_kind.slope(result.outputs, labels, network)
    if not network.reads_sums:
        error = error * slope(network.output, result.pre_activations[-1])
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
    """(accuracy, mean cost), one number per leading index of the weights.

    weights: per layer (..., nodes, fan_in + 1); x: (samples, inputs); labels: (samples,).
    """
    outputs = forward([w[..., None, :, :] for w in weights], x, network).outputs
    if network.regression:
        correct = np.zeros(outputs.shape[:-2])
    else:
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
