"""Logic cells of a folded core, estimated from its widths alone.

A model per FPGA family, linear in a few sizes; `mgd bench fit` finds the coefficients from cores
that it synthesises, and writes logic_cells.json.  A family that is not calibrated names another
one whose coefficients are used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from mgd.boards.devices import Device
from mgd.boards.estimate.blocks import (
    lane_memories,
    other_memories,
    sample_memories,
    shared_products,
)
from mgd.golden_model.errors import UserError
from mgd.rtl.folded.config import CoreConfig

COEFFICIENTS = Path(__file__).parent / "logic_cells.json"

FEATURES = {
    "fixed": "link, control, sweeper: the same in every core",
    "lane bits": "lanes × width of a lane's sums, their output registers and its weight",
    "gradient bits": "lanes × widths of an accumulator, a contribution and a weight change",
    "weight perturbation": "1 where there is any: signs that change from input to input",
    "shared bits": "widths of a pre-activation, ΔC, a cost and an update term",
    "cross-entropy bits": "width of a kept output, where the cost is cross-entropy",
    "product bits": "width × width of products outside the lanes that have no DSP block",
    "small memories": "bits in flip-flops, or pieces of 64 bits in LUTs",
    "block bits": "ECP5: widths of the memories in block RAMs, and of the logic around them",
}
"""Name: the quantity, in the order of the coefficients."""


def features(device: Device, config: CoreConfig, sample_memory: int) -> dict[str, float]:
    """The quantities that the estimate is linear in.  sample_memory: 16-bit words."""
    network, lanes = config.network, config.lanes
    family = device.fpga_family
    # A sum has a register in the lane, which may be in the DSP block, and one at the output.
    widths = config.out_bits + config.sign_sum_bits
    if not (family.dsp_holds_sum or config.mac16):
        widths += network.acc_bits
    gradient = network.gradient_bits + network.contribution_bits if network.accumulators else 0
    memories = lane_memories(device, config) * lanes + other_memories(device, config)
    small = memories + sample_memories(device, sample_memory)
    entropy = network.cost == "cross_entropy"
    products = [product for product in shared_products(config) if not product.dsp]
    values = (
        1,
        lanes * (widths + network.weight_bits),
        lanes * (gradient + config.change_bits * network.accumulators),
        0 if config.nodes_only else 1,
        network.pre_bits + network.delta_cost_bits + network.cost_bits + config.share_bits,
        network.pre_bits * entropy,
        sum(product.bits for product in products),
        small.small_bits + small.lutrams,
        memories.block_width if family.block_ram_logic else 0,
    )
    return dict(zip(FEATURES, map(float, values), strict=True))


def apply(coefficients: Mapping[str, float], values: Mapping[str, float]) -> float:
    """Logic cells of a core with these features."""
    return sum(coefficients[name] * values[name] for name in FEATURES)


def logic_cells(device: Device, config: CoreConfig, sample_memory: int) -> int:
    """Logic cells (ECP5 and Gowin: LUTs) of a core on a board, estimated.

    Raises UserError where the coefficients cannot be read.
    """
    family = device.fpga_family
    model = coefficients()[family.logic_model or family.name]
    return round(apply(model, features(device, config, sample_memory)))


def is_calibrated(device: Device) -> bool:
    """Whether cores of this family were synthesised to find the coefficients."""
    return device.fpga_family.name in coefficients()


@cache
def coefficients() -> dict[str, dict[str, float]]:
    """Family: feature: logic cells per unit.  Raises UserError where they cannot be read."""
    try:
        found = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
        return {
            family: {name: float(model[name]) for name in FEATURES}
            for family, model in found.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{COEFFICIENTS}: cannot be read; it comes with the package, and "
            "`mgd bench fit --json benchmarks/fit.json` writes it again"
        ) from None
