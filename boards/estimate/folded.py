"""The folded core on a board: lanes, memories and multipliers, known before synthesis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Self

import numpy as np

from mgd.boards.board import Board
from mgd.boards.design import Design
from mgd.boards.estimate import logic_cells
from mgd.boards.estimate.blocks import (
    core_dsps,
    lane_memories,
    other_memories,
    sample_memories,
)
from mgd.boards.estimate.clocks import average_clocks
from mgd.boards.estimate.resources import FIT_HINT, TRIMMED, CoreResources
from mgd.golden_model.errors import UserError
from mgd.golden_model.settings import SEQUENTIAL, Settings
from mgd.protocol.build_options import PLAIN
from mgd.protocol.fixed_settings import NAMED, fixed_settings
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.mac16 import OPERAND_BITS
from mgd.rtl.memory.samples import SPRAM_DEPTHS, WORD_BITS
from mgd.rtl.memory.spram import WORDS as SPRAM_WORDS
from mgd.rtl.units.activation import has_table

WORTH_FIXING = ("method", "difference")
"""Settings that save most logic where they are fixed."""


class FoldedResources(CoreResources[CoreConfig]):
    """A network folded onto lanes, each with a multiplier and memories of its own."""

    @staticmethod
    def simulable(config: CoreConfig) -> CoreConfig:
        return replace(config, mac16=False)

    @staticmethod
    def clocks_per_step(
        config: CoreConfig, settings: Settings, codes: np.ndarray | None = None
    ) -> float:
        return average_clocks(config, settings, codes)

    @classmethod
    def fitted(cls, board: Board, config: CoreConfig) -> Self:
        """The DSP blocks that the lanes leave are for the other units.

        Raises UserError where the network cannot use so many lanes.
        """
        device, family = board.device, board.fpga_family
        config = replace(
            config,
            shared_dsps=min(max(device.dsps - config.lanes, 0), 4),
            # There the products of an outer sweep do not leave the block.
            mac16=family.mac16
            and config.network.weight_bits <= OPERAND_BITS
            and not config.variant.by_node,
            memory_register=family.memory_register,
            table_memory=False,
        )
        # Samples in SPRAM leave block RAMs that nothing else would use.
        with_tables = cls(board, replace(config, table_memory=has_table(config.network)))
        if device.sprams and with_tables.core_blocks() <= device.blocks:
            return with_tables
        return cls(board, config)

    def with_lanes(self, lanes: int) -> Self:
        """The same network on so many lanes."""
        return self.fitted(self.board, replace(self.config, lanes=lanes))

    @property
    def label(self) -> str:
        named = (str(value) for name, value in self.config.fixed if name in NAMED)
        return "-".join([str(self.config.lanes), *named])

    @property
    def lanes(self) -> int | None:
        return self.config.lanes

    @property
    def pipelining(self) -> str:
        return SEQUENTIAL

    @property
    def calibrated(self) -> bool:
        return logic_cells.is_calibrated(self.board.device)

    @property
    def least_samples(self) -> int:
        return 2 * self.config.network.sample_words

    def sample_room(self) -> int:
        """Sample words for which the board has room beside the core."""
        device = self.board.device
        if device.sprams:
            return SPRAM_DEPTHS[-1]
        left = max(device.blocks - self.core_blocks(), 0)
        # Two words side by side fill the widest shape but for its parity bits.
        deep, wide = device.block_shapes[0]
        step = deep * (wide // WORD_BITS)
        words = left * step
        # Yosys may use more blocks than necessary where that saves multiplexers.
        while words and sample_memories(device, words).blocks > left:
            words -= step
        return words

    def sample_depth(self, wanted: int) -> int:
        room = self.sample_room()
        words = min(wanted + wanted % 2, room)
        if self.board.device.sprams:
            # Nothing else uses the SPRAM: this leaves room for other data of the same network.
            words = next((depth for depth in SPRAM_DEPTHS if depth >= words), room)
        return words - words % 2

    def logic_cells(self, sample_memory: int) -> int:
        return logic_cells.logic_cells(self.board.device, self.config, sample_memory)

    def dsps(self) -> int:
        return core_dsps(self.board.device, self.config)

    def core_blocks(self) -> int:
        """Block RAMs without those of samples."""
        device, config = self.board.device, self.config
        return (
            lane_memories(device, config) * config.lanes + other_memories(device, config)
        ).blocks

    def blocks(self, sample_memory: int) -> int:
        return self.core_blocks() + sample_memories(self.board.device, sample_memory).blocks

    def sprams(self, sample_memory: int) -> int:
        return -(-sample_memory // SPRAM_WORDS) if self.board.device.sprams else 0

    def fits(self, sample_memory: int) -> bool:
        """Whether multipliers and memories suffice, and logic cells by their estimate."""
        device = self.board.device
        return (
            self.config.lanes <= device.dsps
            and self.core_blocks() <= device.blocks
            and sample_memory <= self.sample_room()
            and self.logic_cells(sample_memory) <= device.luts
        )

    def with_most_lanes(self, sample_memory: int) -> Self:
        """If the data needs more than half of the block RAMs, half of them are reserved for it."""
        board, device, network = self.board, self.board.device, self.config.network
        if not device.sprams:
            sample_memory = min(sample_memory, device.blocks * device.block_bits // WORD_BITS // 2)
        for lanes in range(min(max(network.layers[1:]), device.dsps, 256), 0, -1):
            core = self.with_lanes(lanes)
            if core.fits(min(sample_memory, SPRAM_DEPTHS[-1])):
                # The number of groups of neurons decides the clocks: fewer lanes with as many
                # groups are as fast.
                groups = core.config.groups
                return next(
                    self.with_lanes(fewer)
                    for fewer in range(1, lanes + 1)
                    if replace(self.config, lanes=fewer).groups == groups
                )
        one = type(self)(board, replace(self.config, lanes=1, table_memory=False))
        raise UserError(
            f"{network.describe()} does not fit {board.name} even on one lane: weights and buffers "
            f"take about {one.core_blocks()} of its {device.blocks} block RAMs, which leaves too "
            f"few for samples; use a smaller network or a larger board ({FIT_HINT})"
        )

    def design(self, sample_memory: int, baud: int | None) -> Design:
        """Raises UserError where the board has not a multiplier for each lane, or where weights
        leave no room for two samples."""
        board, device, config = self.board, self.board.device, self.config
        if config.lanes > device.dsps:
            raise UserError(
                f"lanes = {config.lanes}: {board.name} has {device.dsps} multipliers and each lane "
                f"takes one; lower lanes or use a larger board ({FIT_HINT})"
            )
        words, blocks = self.sample_depth(sample_memory), self.core_blocks()
        if words < self.least_samples or blocks > device.blocks:
            raise UserError(
                f"{config.network.describe()} on {config.lanes} lanes does not fit {board.name}: "
                f"weights and buffers take {blocks} of {device.blocks} block RAMs and leave "
                f"{words:,} words for samples, of which two take {self.least_samples:,}; use fewer "
                f"lanes or a larger board ({FIT_HINT})"
            )
        return self.unchecked_design(sample_memory, baud)

    def unchecked_design(self, sample_memory: int, baud: int | None) -> Design:
        """As design(), of a core that may not fit."""
        sprams = self.board.device.sprams
        options: tuple[tuple[str, object], ...] = (("storage", "spram"),) if sprams else ()
        words = self.sample_depth(sample_memory)
        return Design(self.board, self.config, words, baud or self.board.baud, options)

    def smaller(self, settings: Settings | None) -> Iterator[list[tuple[str, CoreConfig]]]:
        config = self.config
        yield [
            (f"{lanes} lane{'s' * (lanes > 1)}", replace(config, lanes=lanes))
            for lanes in range(config.lanes - 1, 0, -1)
        ]
        network, options = config.network, config.variant
        needed = options.value_frac or options.momentum_exp or options.decay_exp
        if network.accumulators and not needed:
            without = replace(network, accumulators=False, tau_theta_max=1)
            yield [("no accumulators (tau_theta = 1)", replace(config, network=without))]
        if settings is not None and not config.fixed and options == PLAIN:
            fixed = fixed_settings(settings, WORTH_FIXING)
            yield [(f"--fix {','.join(WORTH_FIXING)}", replace(config, fixed=fixed))]

    def check_netlist(self, cells: Mapping[str, int], sample_memory: int) -> None:
        self._check_multipliers(cells)
        self._check_storage(cells, sample_memory)

    def _check_multipliers(self, cells: Mapping[str, int]) -> None:
        wanted = self.config.lanes
        dsps = cells.get(self.netlist_cells.multiplier, 0)
        if dsps < wanted:
            raise UserError(
                f"the netlist has {dsps} DSP blocks: {wanted} lanes multiply in one each; "
                f"{TRIMMED}, or give -dsp to synth_ice40"
            )

    def _check_storage(self, cells: Mapping[str, int], sample_memory: int) -> None:
        config, known = self.config, self.netlist_cells
        network = config.network
        widths = {"weights": network.weight_bits}
        if network.accumulators:
            widths["accumulators"] = network.gradient_bits
        block_bits = max(known.block_rams.values())
        blocks = sum(cells.get(name, 0) for name in known.block_rams)
        big = sum(bits * cells.get(name, 0) for name, bits in known.single_port_rams.items())
        loose = self.flip_flops(cells)
        loose += sum(bits * cells.get(name, 0) for name, bits in known.lut_rams.items())

        # Each lane has memories of its own; Yosys may build small ones from flip-flops or LUTs.
        least = -(-max(16 * sample_memory - big, 0) // block_bits)
        for width in widths.values():
            least += config.lanes * -(-config.lane_words * width // block_bits)
        lane_bits = config.lane_words * min(widths.values())
        if blocks < least and loose < (least - blocks) * min(lane_bits, block_bits):
            samples = f" and {sample_memory:,} words of samples" if sample_memory else ""
            raise UserError(
                f"the netlist has {blocks} memory blocks: {' and '.join(widths)} of {config.lanes} "
                f"lanes with {config.lane_words:,} words each{samples} take {least}; {TRIMMED}"
            )
        held = loose + big
        held += sum(bits * cells.get(name, 0) for name, bits in known.block_rams.items())
        needed = config.lanes * config.lane_words * sum(widths.values()) + 16 * sample_memory
        if held < needed:
            raise UserError(
                f"the netlist can hold {held:,} bits: weights and samples alone take {needed:,}; "
                f"{TRIMMED}"
            )
