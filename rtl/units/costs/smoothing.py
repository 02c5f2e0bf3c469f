"""Label smoothing of cross-entropy: the term that golden_model.costs adds for smoothed labels."""

from __future__ import annotations

from amaranth import Const, Module

from mgd.golden_model.costs.cross_entropy import MEAN_FRAC
from mgd.golden_model.network import Network
from mgd.rtl.lib.adder_tree import add_tree, tree_latency


def distance_sum_bits(network: Network) -> int:
    """Width of Σ (zmax − z_k)."""
    return (network.outputs * 2 * network.output_bound).bit_length()


def signed_digits(constant: int) -> list[tuple[int, int]]:
    """(place, ±1) whose sum of ±2^place is the constant, no two of them neighbours: the canonical
    signed digits, which take the fewest adders for a product."""
    digits, place = [], 0
    while constant:
        if constant & 1:
            digit = 2 - (constant & 3)
            digits.append((place, digit))
            constant -= digit
        constant >>= 1
        place += 1
    return digits


def _mean_factor(network: Network) -> int:
    """1/n with MEAN_FRAC fraction bits, rounded."""
    return ((1 << MEAN_FRAC) + network.outputs // 2) // network.outputs


def _terms(network: Network) -> int:
    return len(signed_digits(_mean_factor(network))) + 2


def smoothing_latency(network: Network) -> int:
    """Clocks of smoothing()."""
    return tree_latency(_terms(network))


def smoothing(m: Module, network: Network, distances, margin):
    """ε·(distances/n − margin), rounded half up, in the cost's unit; smoothing_latency() later.

    distances: Σ (zmax − z_k); margin: zmax − z_label.  The division is a product with a constant,
    by adders alone.
    """
    cut = MEAN_FRAC + network.smoothing_exp - (network.cost_frac - network.pre_frac)
    terms = [
        (distances << place) if digit > 0 else -(distances << place)
        for place, digit in signed_digits(_mean_factor(network))
    ]
    # The constant is half of the last unit that is left: it rounds half up.
    terms += [-(margin << MEAN_FRAC), Const(1 << (cut - 1))]
    assert len(terms) == _terms(network)
    # The mean is at most the largest distance, but for the rounding of 1/n.
    bits = (2 * network.output_bound).bit_length() + MEAN_FRAC + 3
    return add_tree(m, terms, max(bits, cut + 2)) >> cut
