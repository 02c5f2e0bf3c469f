"""Whether a spatial core fits a board, estimated before any synthesis.

Block RAMs and DSP blocks are counted.  Logic cells are added up from what the parts take on an
ECP5, synthesised by themselves; tests/boards/test_spatial_fit.py compares whole designs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from mgd.boards.board import Board
from mgd.boards.devices import ECP5
from mgd.boards.estimate.fit import ERROR, FITS, NO, TIGHT, Resource
from mgd.boards.estimate.spatial_resources import (
    BLOCKS_BESIDE,
    dsp_counts,
    record_memories,
    spatial_config,
)
from mgd.boards.estimate.spatial_resources import spatial_design as design_of
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.signs.sequence import STATE_BITS
from mgd.protocol.fixed_settings import Fixed
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.shares import Shares, Sources

OTHER_FAMILIES = 1.25
"""Logic cells of an iCE40 for one of an ECP5: no carry cell with room for sign and gate, no wide
LUTs, and hardly a DSP block."""
BASE = 1700
"""UART, link, registers, sequencer, counters."""
TABLE, TABLE_IN_LOGIC = 78, 230
"""An activation by table."""
PERTURBED, PERTURBED_FIXED = 5, 3
"""LUTs per bit of a perturbed sum: adding both ways, and shifting by δ's exponent unless that is
wiring."""
PERIOD = 80
"""Less, for each time constant that is always 1."""
RATE = 100
"""Less, in each share of which the update shift is wiring."""


def logic_cells(config: SpatialConfig, family: str) -> int:
    """Estimated LUTs with four inputs (iCE40: logic cells) of the whole design."""
    net = config.network
    weight = net.weight_bits
    if config.gradient_bits:
        # The adder, the way of its carry into it, the weight's register; a sign for each synapse
        # takes a gate for each bit of the weight.
        synapse = config.gradient_bits + 2 + 1.3 * weight + (0 if config.nodes else weight)
    elif config.pipelined:
        # One adder, and what limits the sum and turns the ring.
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
    if not Shares.is_direct(config):
        share = (130 if config.share_dsp else 500) - RATE * {"delta_exp", "eta_exp"}.issubset(
            config.constants
        )
        total += len(Sources.of(config).x) * share
    return round(total * (1 if family == ECP5 else OTHER_FAMILIES))


@dataclass(frozen=True)
class SpatialFit:
    """A spatial core on a board (boards.estimate.fit.Fit).  sample_memory: 16-bit words as the
    host counts them."""

    board: Board
    config: SpatialConfig
    cells: Resource
    dsps: Resource
    blocks: Resource
    sample_memory: int
    wanted: int

    @property
    def calibrated(self) -> bool:
        """Whether the parts were synthesised for this board's family."""
        return self.board.family == ECP5

    @property
    def short(self) -> list[Resource]:
        """What there is too little of."""
        return [part for part in (self.cells, self.dsps, self.blocks) if part.lacking]

    @property
    def verdict(self) -> str:
        if self.short:
            return NO
        return TIGHT if self.cells.used * (1 + ERROR) > self.cells.available else FITS


def assess(
    board: Board, network: Network, settings: Settings, wanted: int, fixed: Fixed = ()
) -> SpatialFit:
    """What the spatial core for these settings takes of a board.

    wanted: 16-bit words of the task's data, as the host counts them.  Raises UserError where no
    spatial core is made for the settings.
    """
    device = board.device
    config = spatial_config(board, network, settings, fixed)
    words = design_of(board, config, wanted, None).sample_memory
    records = max(words // config.record_stride, 2)
    blocks = record_memories(board, config, records).blocks + BLOCKS_BESIDE
    dsps = sum(n for kind, n in dsp_counts(config).items() if getattr(config, kind))
    return SpatialFit(
        board=board,
        config=config,
        cells=Resource("logic cells", logic_cells(config, device.family), device.luts),
        dsps=Resource("DSP blocks", dsps, device.dsps),
        blocks=Resource("block RAMs", blocks, device.blocks),
        sample_memory=words,
        wanted=wanted,
    )
