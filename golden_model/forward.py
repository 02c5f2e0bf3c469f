"""The forward pass: exact sums, one rounding per pre-activation, one shared first layer."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.activations import activate
from mgd.golden_model.costs import broadcast_labels, classify
from mgd.golden_model.formats import round_half_up
from mgd.golden_model.imperfections import ImperfectHardware
from mgd.golden_model.layers import layers_of
from mgd.golden_model.layers.dense import Dense, with_bias
from mgd.golden_model.network import Network

__all__ = ["evaluate", "output_values", "pre_activation", "predict", "weighted_sum", "with_bias"]


def weighted_sum(weights: np.ndarray, x: np.ndarray, network: Network) -> np.ndarray:
    """Σ W·x of a dense layer's nodes, in accumulator units.

    weights: (..., nodes, fan_in + 1); x: (..., fan_in + 1).
    """
    layer = Dense(weights.shape[-1] - 1, weights.shape[-2])
    return accumulator_units(layer.sums(weights, x[..., None])[..., 0], network)


def accumulator_units(sums: np.ndarray, network: Network) -> np.ndarray:
    """Sums of a layer, in weight units times 2^-ACT_FRAC, in units of 2^-acc_frac."""
    return sums << (network.grid_frac - network.weight_frac)


def pre_activation(
    base: np.ndarray,
    sign_sum: np.ndarray | int,
    factor: np.ndarray | int,
    delta_exp: int,
    network: Network,
) -> np.ndarray:
    """W·x + factor·δ·sign_sum, rounded once, half up.

    base: accumulator units; sign_sum: Σ s·x in activation units; factor: −1, 0 or +1.  Arrays
    of any shapes that broadcast.
    """
    perturbation = factor * (sign_sum << (network.grid_frac - delta_exp))
    return round_half_up(base + perturbation, network.pre_shift)


def output_values(z: np.ndarray, network: Network) -> tuple[np.ndarray, np.ndarray]:
    """The values that cost and classification read, and which elements saturated.

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

    weights: per layer (..., nodes, fan_in + 1); x: (samples, inputs).  hardware: imperfect
    neurons; the weights' first axis is then its seeds.
    """
    for number, (layer, w) in enumerate(zip(layers_of(network.layers), weights, strict=True)):
        if hardware is not None:
            w = hardware.used(number, w)
        base = accumulator_units(layer.sums_of_samples(w, layer.inputs(x)), network)
        z = round_half_up(base, network.pre_shift)
        if hardware is not None:
            z = hardware.neurons(number, z, axis=-1)
        if number < network.depth - 1:
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
    """(correct samples, sum of costs) over the samples; one number per leading index.

    Of samples with target values none is correct.
    """
    outputs = predict(weights, x, network, hardware)
    if network.regression:
        correct = np.zeros(outputs.shape[:-2], dtype=np.int64)
    else:
        correct = (classify(outputs, network) == labels).sum(axis=-1)
    cost = network.cost_kind.exact(outputs, broadcast_labels(labels, outputs, network), network)
    return correct, cost.sum(axis=-1)
