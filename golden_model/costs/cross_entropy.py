"""Softmax cross-entropy to base 2, with label smoothing."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.costs.base import Cost, CostNetwork, at_label
from mgd.golden_model.formats import rescale, round_half_up
from mgd.golden_model.rules import Rule
from mgd.golden_model.tables import EXP2, LOG2, TABLE_FRAC

MEAN_FRAC = 24
"""Fraction bits of the 1/n by which smoothed labels make a mean of a sum."""


class CrossEntropy(Cost):
    """In bits: log2 Σ 2^(z − zmax) + zmax − z_label, and the term of smoothed labels."""

    name, number = "cross_entropy", 1
    title = "cross-entropy (base 2)"
    unit = "bits"
    reads_sums = True
    smooths = True
    rules = (
        Rule(
            "softmax-of-one",
            lambda n: n.outputs == 1,
            "cost = 'cross_entropy' with one output node: its softmax is always 1",
            "use cost = 'mse', or one output node per class",
        ),
    )

    def exact(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        highest = outputs.max(axis=-1, keepdims=True)
        terms = exp2_negative(highest - outputs, network.pre_frac)
        log_sum = log2(terms.sum(axis=-1), exp_sum_bits(network))
        own = np.where(at_label(outputs, labels), outputs, 0).sum(axis=-1)
        margin = highest[..., 0] - own
        cost = rescale(log_sum, TABLE_FRAC, network.cost_frac)
        cost += rescale(margin, network.pre_frac, network.cost_frac)
        if network.smoothing_exp:
            cost += _smoothing((highest - outputs).sum(axis=-1), margin, network)
        return cost

    def bound(self, network: CostNetwork) -> int:
        spread = 2 * network.output_bound << (network.cost_frac - network.pre_frac)
        if network.smoothing_exp:
            spread += spread >> 12  # the mean's factor is rounded
        return spread + ((network.outputs.bit_length() + 1) << network.cost_frac)

    def real(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        """log2 Σ 2^z − Σ q_k·z_k, q being the label's (1 − ε) and ε/n for every class."""
        highest = outputs.max(axis=-1)
        log_sum = np.log2(np.exp2(outputs - highest[..., None]).sum(axis=-1)) + highest
        return log_sum - (_aim(outputs, labels, network) * outputs).sum(axis=-1)

    def slope(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        powers = np.exp2(outputs - outputs.max(axis=-1, keepdims=True))
        probabilities = powers / powers.sum(axis=-1, keepdims=True)
        return probabilities - _aim(outputs, labels, network)


def exp2_negative(d: np.ndarray, pre_frac: int) -> np.ndarray:
    """2^-d with TABLE_FRAC fraction bits, d >= 0 with pre_frac; below one bit it is 0."""
    fraction = EXP2(d & ((1 << pre_frac) - 1), pre_frac)
    return fraction >> np.minimum(d >> pre_frac, TABLE_FRAC + 1)


def log2(s: np.ndarray, width: int) -> np.ndarray:
    """log2(s · 2^-TABLE_FRAC) with TABLE_FRAC fraction bits, for 2^TABLE_FRAC <= s < 2^width."""
    exponent = np.frexp(s.astype(np.float64))[1].astype(np.int64) - 1
    mantissa = (s << (width - 1 - exponent)) & ((1 << (width - 1)) - 1)
    return LOG2(mantissa, width - 1) + ((exponent - TABLE_FRAC) << TABLE_FRAC)


def exp_sum_bits(network: CostNetwork) -> int:
    """Width of Σ 2^(z − zmax): each of the terms is at most 1.0."""
    return (network.outputs << TABLE_FRAC).bit_length()


def _smoothing(total: np.ndarray, margin: np.ndarray, network: CostNetwork) -> np.ndarray:
    """ε·(mean of zmax − z_k over k, minus zmax − z_label): the term of smoothed labels.

    total: Σ (zmax − z_k); the division by their number is a product with a rounded 1/n.
    """
    part = ((1 << MEAN_FRAC) + network.outputs // 2) // network.outputs
    finer = network.cost_frac - network.pre_frac
    exact = (part * total - (margin << MEAN_FRAC)) << finer
    return round_half_up(exact, MEAN_FRAC + network.smoothing_exp)


def _aim(outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
    """The target probabilities of the classes, (..., nodes)."""
    part = 2.0**-network.smoothing_exp if network.smoothing_exp else 0.0
    return (1.0 - part) * at_label(outputs, labels) + part / network.outputs


COST = CrossEntropy()
