"""Cost functions and classification, over the last axis (the output nodes).

Costs are unsigned integers with network.cost_frac fraction bits; they never clip, since their
width is derived from the network (network.cost_bits).
"""

from __future__ import annotations

import numpy as np

from golden_model.formats import rescale, round_half_up
from golden_model.network import ACT_FRAC, Network
from golden_model.tables import EXP2, LOG2, TABLE_FRAC


def targets(labels: np.ndarray, network: Network) -> np.ndarray:
    """MSE targets, shape labels.shape + (outputs,), activation format.

    target_high at the node whose number is the label, target_low elsewhere; a single node
    has target_high for label 1.
    """
    first = 1 if network.outputs == 1 else 0
    nodes = np.arange(first, first + network.outputs)
    return np.where(labels[..., None] == nodes, network.target_high, network.target_low)


def mse(y: np.ndarray, labels: np.ndarray, network: Network) -> np.ndarray:
    """Σ (y − T)², exact, rounded once.  No factor ½."""
    error = y - targets(labels, network)
    return rescale((error * error).sum(axis=-1), 2 * ACT_FRAC, network.cost_frac)


def exp2_negative(d: np.ndarray, pre_frac: int) -> np.ndarray:
    """2^-d with TABLE_FRAC fraction bits, d >= 0 with pre_frac; below one bit it is 0."""
    fraction = EXP2(d & ((1 << pre_frac) - 1), pre_frac)
    return fraction >> np.minimum(d >> pre_frac, TABLE_FRAC + 1)


def log2(s: np.ndarray, width: int) -> np.ndarray:
    """log2(s · 2^-TABLE_FRAC) with TABLE_FRAC fraction bits, for 2^TABLE_FRAC <= s < 2^width."""
    exponent = np.frexp(s.astype(np.float64))[1].astype(np.int64) - 1
    mantissa = (s << (width - 1 - exponent)) & ((1 << (width - 1)) - 1)
    return LOG2(mantissa, width - 1) + ((exponent - TABLE_FRAC) << TABLE_FRAC)


def exp_sum_bits(network: Network) -> int:
    """Width of Σ 2^(z − zmax): each of the terms is at most 1.0."""
    return (network.outputs << TABLE_FRAC).bit_length()


def cross_entropy(z: np.ndarray, labels: np.ndarray, network: Network) -> np.ndarray:
    """Softmax cross-entropy in bits: log2 Σ 2^(z − zmax) + zmax − z_label."""
    highest = z.max(axis=-1, keepdims=True)
    terms = exp2_negative(highest - z, network.pre_frac)
    log_sum = log2(terms.sum(axis=-1), exp_sum_bits(network))
    at_label = np.where(labels[..., None] == np.arange(network.outputs), z, 0).sum(axis=-1)
    margin = highest[..., 0] - at_label
    cost = rescale(log_sum, TABLE_FRAC, network.cost_frac)
    cost += rescale(margin, network.pre_frac, network.cost_frac)
    if network.smoothing_exp:
        cost += _smoothing((highest - z).sum(axis=-1), margin, network)
    return cost


MEAN_FRAC = 24


def _smoothing(total: np.ndarray, margin: np.ndarray, network: Network) -> np.ndarray:
    """ε·(mean of zmax − z_k over k, minus zmax − z_label): what smoothed labels add.

    total: Σ (zmax − z_k); the division by their number is a product with a rounded 1/n.
    """
    part = ((1 << MEAN_FRAC) + network.outputs // 2) // network.outputs
    finer = network.cost_frac - network.pre_frac
    exact = (part * total - (margin << MEAN_FRAC)) << finer
    return round_half_up(exact, MEAN_FRAC + network.smoothing_exp)


def hinge(z: np.ndarray, labels: np.ndarray, network: Network) -> np.ndarray:
    """max(0, 1 + the largest other z − z_label); max(0, 1 ∓ z) for a single output."""
    one = 1 << network.pre_frac
    if network.outputs == 1:
        excess = one + np.where(labels == 1, -z[..., 0], z[..., 0])
    else:
        mine = labels[..., None] == np.arange(network.outputs)
        at_label = np.where(mine, z, 0).sum(axis=-1)
        other = np.where(mine, np.iinfo(np.int64).min, z).max(axis=-1)
        excess = one + other - at_label
    return np.maximum(excess, 0) << (network.cost_frac - network.pre_frac)


def l1(y: np.ndarray, labels: np.ndarray, network: Network) -> np.ndarray:
    """Σ |y − T|, exact, rounded once."""
    error = np.abs(y - targets(labels, network))
    return rescale(error.sum(axis=-1), ACT_FRAC, network.cost_frac)


def classify(outputs: np.ndarray, network: Network) -> np.ndarray:
    """Class number: the largest output, the lowest index of equal ones.

    A single output is class 1 from the middle of the two targets (rounded half up) upwards; for
    hinge, from 0 upwards.
    """
    if network.outputs == 1 and network.reads_sums:
        return (outputs[..., 0] >= 0).astype(np.int64)
    if network.outputs == 1:
        middle = round_half_up(network.target_low + network.target_high, 1)
        return (outputs[..., 0] >= middle).astype(np.int64)
    return outputs.argmax(axis=-1)


FUNCTIONS = {"mse": mse, "cross_entropy": cross_entropy, "hinge": hinge, "l1": l1}
