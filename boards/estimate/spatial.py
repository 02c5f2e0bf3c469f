"""The spatial core on a board: DSP blocks for its products, and room for samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np

from mgd.boards.board import Board
from mgd.boards.design import Design
from mgd.boards.estimate.blocks import memory_usage
from mgd.boards.estimate.resources import TRIMMED, CoreResources
from mgd.boards.estimate.spatial_cells import luts
from mgd.boards.families.usage import MemoryUsage
from mgd.golden_model.errors import UserError
from mgd.golden_model.settings import Settings
from mgd.golden_model.signs.sequence import STATE_BITS
from mgd.rtl.lib.product import DSP_BITS
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.timing import clocks_per_step
from mgd.rtl.spatial.update_terms import Sources, UpdateTerms
from mgd.rtl.units.activations import KINDS, Tabulated
from mgd.rtl.units.costs import parallel_kind

BLOCKS_BESIDE = 8
"""Block RAMs reserved for the delays of node perturbation, the link and the identity."""


class SpatialResources(CoreResources[SpatialConfig]):
    """A network with a circuit for every synapse."""

    @staticmethod
    def simulable(config: SpatialConfig) -> SpatialConfig:
        return replace(config, ccu2c=False)

    @staticmethod
    def clocks_per_step(
        config: SpatialConfig, settings: Settings, codes: np.ndarray | None = None
    ) -> float:
        return clocks_per_step(config, settings)

    @classmethod
    def fitted(cls, board: Board, config: SpatialConfig) -> Self:
        """Products of weights get DSP blocks first, then tables and squares, then the broadcast,
        each kind as a whole or not at all."""
        config = replace(config, ccu2c=board.fpga_family.ccu2c)
        left = board.device.dsps
        for kind, count in dsp_counts(config).items():
            in_dsps = count <= left
            options: dict[str, Any] = {kind: in_dsps}
            config = replace(config, **options)
            left -= count if in_dsps else 0
        return cls(board, config)

    @property
    def label(self) -> str:
        method = "np" if self.config.nodes else "wp"
        return f"spatial-{method}{'-pipelined' * self.config.pipelined}"

    @property
    def lanes(self) -> int | None:
        return None

    @property
    def pipelining(self) -> str:
        return self.config.schedule

    @property
    def calibrated(self) -> bool:
        return self.board.fpga_family.spatial_calibrated

    @property
    def least_samples(self) -> int:
        return 2 * self.config.record_stride

    def record_memories(self, records: int) -> MemoryUsage:
        """Of so many samples: a memory for each 16-bit word of a record."""
        memories = (
            memory_usage(self.board.device, records, width) for width in self.config.word_widths
        )
        return sum(memories, MemoryUsage())

    def sample_depth(self, wanted: int) -> int:
        """Two records at least, which may be in flip-flops."""
        room = max(self.board.device.blocks - BLOCKS_BESIDE, 0)
        stride = self.config.record_stride
        records = max(wanted // stride, 2)
        while records > 2 and self.record_memories(records).blocks > room:
            records -= max(records // 32, 1)
        return records * stride

    def logic_cells(self, sample_memory: int) -> int:
        return round(luts(self.config) * self.board.fpga_family.spatial_cells_per_lut)

    def dsps(self) -> int:
        return sum(n for kind, n in dsp_counts(self.config).items() if getattr(self.config, kind))

    def blocks(self, sample_memory: int) -> int:
        records = max(sample_memory // self.config.record_stride, 2)
        return self.record_memories(records).blocks + BLOCKS_BESIDE

    def sprams(self, sample_memory: int) -> int:
        return 0

    def design(self, sample_memory: int, baud: int | None) -> Design:
        """Nothing is checked: synthesis and nextpnr refuse a core that does not fit."""
        words = self.sample_depth(sample_memory)
        return Design(self.board, self.config, words, baud or self.board.baud)

    def with_most_lanes(self, sample_memory: int) -> Self:
        return self

    def smaller(self, settings: Settings | None) -> Iterator[list[tuple[str, SpatialConfig]]]:
        return iter(())

    def check_netlist(self, cells: Mapping[str, int], sample_memory: int) -> None:
        config, network = self.config, self.config.network
        needed = network.parameters * (network.weight_bits + config.gradient_bits)
        needed += 2 * network.neurons * STATE_BITS
        found = self.flip_flops(cells)
        if found < needed:
            raise UserError(
                f"the netlist has {found:,} flip-flops: {network.parameters} synapses and the "
                f"signs of {network.neurons} neurons alone take {needed:,}; {TRIMMED}"
            )


def dsp_counts(config: SpatialConfig) -> dict[str, int]:
    """Field of the config: DSP blocks that this kind of product takes where it takes any; the kind
    that costs most logic is first."""
    net, passes = config.network, config.passes
    layers = list(zip(net.layers, net.layers[1:], strict=False))
    per_weight = 1 if net.weight_bits <= DSP_BITS else 2
    products = sum(fan_in * nodes for fan_in, nodes in layers[1:])
    tabulated = {name for name, kind in KINDS.items() if isinstance(kind, Tabulated)}
    activations = sum(nodes for _, nodes in layers[:-1]) if net.hidden in tabulated else 0
    if not net.reads_sums:
        activations += net.outputs * (net.output in tabulated)
    costs = parallel_kind(net).products(net)
    shares = 0 if UpdateTerms.is_direct(config) else len(Sources.of(config).x)
    return {
        "product_dsp": products * per_weight * passes,
        "table_dsp": (activations + costs) * passes,
        "share_dsp": shares * (1 if net.delta_cost_bits <= DSP_BITS else 2),
    }
