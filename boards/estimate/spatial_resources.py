"""A spatial core on a board: who gets the DSP blocks, and how many samples have room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mgd.boards.board import Board
from mgd.boards.devices import ECP5
from mgd.boards.estimate.blocks import Taken, place
from mgd.boards.flow.commands import Design
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.fixed_settings import Fixed
from mgd.rtl.lib.product import DSP_BITS
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.shares import Shares, Sources
from mgd.rtl.units.activations import KINDS, Tabulated
from mgd.rtl.units.costs import parallel_kind

BLOCKS_BESIDE = 8
"""Block RAMs kept for the delays of node perturbation, the link and the identity."""


def spatial_config(
    board: Board, network: Network, settings: Settings, fixed: Fixed = ()
) -> SpatialConfig:
    """The core as this board's FPGA makes it best: products of weights get DSP blocks first,
    then tables and squares, then the broadcast, each kind as a whole or not at all.

    fixed: as of SpatialConfig.of.  Raises UserError where no spatial core is made for these
    settings.
    """
    config = SpatialConfig.of(network, settings, fixed, ccu2c=board.family == ECP5)
    left = board.device.dsps
    for kind, count in dsp_counts(config).items():
        takes = count <= left
        options: dict[str, Any] = {kind: takes}
        config = replace(config, **options)
        left -= count if takes else 0
    return config


def dsp_counts(config: SpatialConfig) -> dict[str, int]:
    """DSP blocks that each kind of product takes where it takes any, the dearest in logic first."""
    net, passes = config.network, config.passes
    layers = list(zip(net.layers, net.layers[1:], strict=False))
    per_weight = 1 if net.weight_bits <= DSP_BITS else 2
    products = sum(fan_in * nodes for fan_in, nodes in layers[1:])
    tabulated = {name for name, kind in KINDS.items() if isinstance(kind, Tabulated)}
    activations = sum(nodes for _, nodes in layers[:-1]) if net.hidden in tabulated else 0
    if not net.reads_sums:
        activations += net.outputs * (net.output in tabulated)
    costs = parallel_kind(net).products(net)
    shares = 0 if Shares.is_direct(config) else len(Sources.of(config).x)
    return {
        "product_dsp": products * per_weight * passes,
        "table_dsp": (activations + costs) * passes,
        "share_dsp": shares * (1 if net.delta_cost_bits <= DSP_BITS else 2),
    }


def record_memories(board: Board, config: SpatialConfig, records: int) -> Taken:
    """What so many samples take, a memory for each 16-bit word of a record."""
    return sum((place(board.device, records, width) for width in config.word_widths), Taken())


def spatial_design(
    board: Board, config: SpatialConfig, sample_memory: int, baud: int | None
) -> Design:
    """The design with memory for as many samples as there is room for, up to `sample_memory`
    16-bit words as the host counts them; two at least, which may be in flip-flops."""
    room = max(board.device.blocks - BLOCKS_BESIDE, 0)
    records = max(sample_memory // config.record_stride, 2)
    while records > 2 and record_memories(board, config, records).blocks > room:
        records -= max(records // 32, 1)
    return Design(board, config, records * config.record_stride, baud or board.baud)
