"""The logic of a spatial core, estimated: a sum over its parts.

Each part was synthesised by itself for an ECP5; tests/boards/test_spatial_fit.py compares whole
designs.
"""

from __future__ import annotations

from itertools import pairwise

from mgd.golden_model.signs.sequence import STATE_BITS
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.update_terms import Sources, UpdateTerms

BASE = 1700
"""UART, link, registers, sequencer, counters."""
TABLE, TABLE_IN_LOGIC = 78, 230
"""An activation by table."""
PERTURBED, PERTURBED_FIXED = 5, 3
"""LUTs per bit of a perturbed sum: adding both ways, and shifting by δ's exponent unless that is
fixed."""
PERIOD = 80
"""Saved by each time constant that is always 1."""
RATE = 100
"""Saved in each update term whose shift is fixed."""


def luts(config: SpatialConfig) -> float:
    """LUTs with four inputs of the whole design on an ECP5, estimated."""
    net = config.network
    weight = net.weight_bits
    if config.gradient_bits:
        # The adder, its carry input, the weight's register; a sign for each synapse takes a gate
        # for each bit of the weight.
        synapse = config.gradient_bits + 2 + 1.3 * weight + (0 if config.nodes else weight)
    elif config.pipelined:
        # One adder, and the logic that limits the sum and turns the ring.
        synapse = config.share_bits + 1.6 * weight
    else:
        synapse = 2 * config.share_bits + 2.75 * weight
    total = BASE + net.parameters * synapse
    table = TABLE if config.table_dsp else TABLE_IN_LOGIC
    perturbed = PERTURBED_FIXED if "delta_exp" in config.constants else PERTURBED
    total -= PERIOD * sum(config.constants.get(f"tau_{x}") == 1 for x in ("x", "p", "theta"))
    for layer, (fan_in, nodes) in enumerate(pairwise(net.layers)):
        inputs = fan_in + 1
        stream = 5.0 if config.nodes else STATE_BITS * (1.9 if inputs > STATE_BITS // 4 else 1.2)
        total += nodes * 2 * stream
        sums = perturbed * net.sum_bits
        if layer == 0:
            # As many adder trees as a code has bits, where all enter at once.
            trees = net.sample_bits // config.planes
            total += nodes * (trees * inputs * 1.4 * weight + sums)
            total += 0 if config.nodes else nodes * inputs * 3 * net.sample_bits
        else:
            each = inputs * 1.8 * weight + sums + (0 if config.nodes else inputs * 34)
            each += 0 if config.product_dsp else fan_in * weight * 18
            total += nodes * config.passes * each
        if layer < net.depth - 1 or not net.reads_sums:
            total += nodes * config.passes * table
    total += config.passes * net.outputs * (240 if net.cost == "cross_entropy" else 120)
    if not UpdateTerms.is_direct(config):
        share = (130 if config.share_dsp else 500) - RATE * {"delta_exp", "eta_exp"}.issubset(
            config.constants
        )
        total += len(Sources.of(config).x) * share
    return total
