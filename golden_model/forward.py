"""The forward pass: exact sums, one rounding per pre-activation, one shared first layer."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.activations import activate
from mgd.golden_model.costs import classify
from mgd.golden_model.formats import round_half_up
from mgd.golden_model.imperfections import ImperfectHardware
from mgd.golden_model.network import ONE, Network


def with_bias(x: np.ndarray) -> np.ndarray:
    """Append the bias input, always 1.0, to the last axis."""
    return np.concatenate([x, np.full((*x.shape[:-1], 1), ONE, dtype=x.dtype)], axis=-1)


def weighted_sums(weights: np.ndarray, x: np.ndarray, network: Network) -> np.ndarray:
    """Σ W·x in accumulator units, for several passes.

    weights: (..., nodes, fan_in + 1) float64 holding integers; x: (..., fan_in + 1, passes).
    Sums of products of floats are exact, all being below 2^53, and BLAS is fast on them.
    """
    total = np.matmul(weights, x.astype(np.float64)).astype(np.int64)
    return total << (network.grid_frac - network.weight_frac)


def weighted_sum(weights: np.ndarray, x: np.ndarray, network: Network) -> np.ndarray:
    """weighted_sums of one pass: x is (..., fan_in + 1)."""
    return weighted_sums(weights, x[..., None], network)[..., 0]


def pre_activation(
    base: np.ndarray,
    sign_sum: np.ndarray | int,
    factor: np.ndarray | int,
    delta_exp: int,
    network: Network,
) -> np.ndarray:
    """(W·x + factor·δ·sign_sum), rounded once, half up.

    base: accumulator units; sign_sum: Σ s·x in activation units; factor: −1, 0 or +1.  Arrays
    of any shapes that broadcast.
    """
    perturbation = factor * (sign_sum << (network.grid_frac - delta_exp))
    return round_half_up(base + perturbation, network.pre_shift)


def output_values(z: np.ndarray, network: Network) -> tuple[np.ndarray, np.ndarray]:
    """What cost and classification read, and which elements saturated.

    The pre-activations themselves for cross-entropy and hinge, else the output activations.
    """
    if network.reads_sums:
        return z, np.zeros(z.shape, dtype=bool)
    return activate(network.output, z, network.pre_frac)


def predict(
    weights: list[np.ndarray],
    x: np.ndarray,
    network: Network,
    hardware: ImperfectHardware | None = None,
) -> np.ndarray:
    """Unperturbed forward pass of many samples: output values (..., samples, outputs).

    weights: per layer (..., nodes, fan_in + 1); x: (samples, inputs).  hardware: whose neurons
    are not all alike; the weights' first axis is then its seeds.
    """
    for layer, w in enumerate(weights):
        if hardware is not None:
            w = hardware.used(layer, w)
        inputs = with_bias(x).astype(np.float64)
        base = np.matmul(inputs, np.swapaxes(w, -1, -2).astype(np.float64)).astype(np.int64)
        base <<= network.grid_frac - network.weight_frac
        z = round_half_up(base, network.pre_shift)
        if hardware is not None:
            z = hardware.neurons(layer, z, axis=-1)
        if layer < network.depth - 1:
            x, _ = activate(network.hidden, z, network.pre_frac)
        else:
            x, _ = output_values(z, network)
    return x


def evaluate(
    weights: list[np.ndarray],
    x: np.ndarray,
    labels: np.ndarray,
    network: Network,
    hardware: ImperfectHardware | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(correct samples, sum of costs) over the samples; one number per leading index."""
    outputs = predict(weights, x, network, hardware)
    correct = (classify(outputs, network) == labels).sum(axis=-1)
    cost = network.cost_kind.exact(outputs, np.broadcast_to(labels, outputs.shape[:-1]), network)
    return correct, cost.sum(axis=-1)
