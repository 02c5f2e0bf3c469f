"""What of a core is known before synthesis: its multipliers and memories, and a board's."""

from __future__ import annotations

from dataclasses import replace

from mgd.boards.board import Board
from mgd.boards.devices import ICE40
from mgd.boards.estimate.blocks import lane_memories, other_memories, sample_memories
from mgd.boards.estimate.logic_cells import logic_cells
from mgd.boards.flow.commands import Design
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.protocol.build_options import PLAIN, BuildOptions
from mgd.protocol.fixed_settings import Fixed
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.mac16 import OPERAND_BITS
from mgd.rtl.memory.samples import SPRAM_DEPTHS, WORD_BITS
from mgd.rtl.units.activation import has_table

FIT_HINT = "`mgd fit TASK` shows what fits where"


def core_config(
    board: Board, network: Network, lanes: int, fixed: Fixed = (), variant: BuildOptions = PLAIN
) -> CoreConfig:
    """A core's layout: what the lanes leave of the DSP blocks is for the other units.

    Raises UserError where the network cannot use so many lanes.
    """
    device = board.device
    config = CoreConfig(
        network,
        lanes,
        shared_dsps=min(max(device.dsps - lanes, 0), 4),
        mac16=device.family == ICE40 and network.weight_bits <= OPERAND_BITS,
        memory_register=device.family != ICE40,
        fixed=fixed,
        variant=variant,
    )
    # Block RAMs that are left beside SPRAM are good for nothing else.
    with_tables = replace(config, table_memory=has_table(network))
    if device.sprams and core_blocks(board, with_tables) <= device.blocks:
        return with_tables
    return config


def core_blocks(board: Board, config: CoreConfig) -> int:
    """Block RAMs of a core without its samples."""
    device = board.device
    taken = lane_memories(device, config) * config.lanes + other_memories(device, config)
    return taken.blocks


def sample_room(board: Board, config: CoreConfig) -> int:
    """16-bit words of sample memory that a board has beside the lanes of a core."""
    device = board.device
    if device.sprams:
        return SPRAM_DEPTHS[-1]
    left = max(device.blocks - core_blocks(board, config), 0)
    # Two words side by side fill the widest shape but for its parity bits.
    deep, wide = device.block_shapes[0]
    step = deep * (wide // WORD_BITS)
    words = left * step
    # Yosys may take more blocks than it must where that saves multiplexers.
    while words and sample_memories(device, words).blocks > left:
        words -= step
    return words


def sample_depth(board: Board, config: CoreConfig, wanted: int) -> int:
    """16-bit words of sample memory that a core gets where the data takes `wanted`, even."""
    room = sample_room(board, config)
    words = min(wanted + wanted % 2, room)
    if board.device.sprams:
        # The SPRAM is there for nothing else: room for other data of the same network.
        words = next((depth for depth in SPRAM_DEPTHS if depth >= words), room)
    return words - words % 2


def fits(board: Board, config: CoreConfig, sample_memory: int) -> bool:
    """Whether multipliers and memories suffice, and logic cells by their estimate."""
    device = board.device
    return (
        config.lanes <= device.dsps
        and core_blocks(board, config) <= device.blocks
        and sample_memory <= sample_room(board, config)
        and logic_cells(device, config, sample_memory) <= device.luts
    )


def auto_lanes(
    board: Board,
    network: Network,
    sample_memory: int,
    fixed: Fixed = (),
    variant: BuildOptions = PLAIN,
) -> int:
    """The most lanes that fit, less those that would not save a clock.

    sample_memory: 16-bit words that the data takes; where that is more than half of the block
    RAMs, half of them are kept for samples.  Raises UserError where not even one lane fits.
    """
    device = board.device
    if not device.sprams:
        sample_memory = min(sample_memory, device.blocks * device.block_bits // WORD_BITS // 2)
    for lanes in range(min(max(network.layers[1:]), device.dsps, 256), 0, -1):
        config = core_config(board, network, lanes, fixed, variant)
        if fits(board, config, min(sample_memory, SPRAM_DEPTHS[-1])):
            # Groups of neurons decide the clocks: fewer lanes with as many groups are as fast.
            return min(n for n in range(1, lanes + 1) if _groups(network, n) == config.groups)
    takes = core_blocks(board, CoreConfig(network, 1, variant=variant))
    raise UserError(
        f"{network.describe()} does not fit {board.name} even on one lane: weights and buffers "
        f"take about {takes} of its {device.blocks} block RAMs, which leaves too few for samples; "
        f"use a smaller network or a larger board ({FIT_HINT})"
    )


def _groups(network: Network, lanes: int) -> tuple[int, ...]:
    return CoreConfig(network, lanes).groups


def make_design(
    board: Board,
    network: Network,
    lanes: int | None,
    sample_memory: int,
    baud: int | None,
    fixed: Fixed = (),
    variant: BuildOptions = PLAIN,
) -> Design:
    """The design of a network on a board: how much memory for samples, and who gets the DSPs.

    lanes: None for as many as fit.  sample_memory: 16-bit words that the data takes; the design
    gets fewer where the board has no room for more.  fixed: as of rtl.folded.config.CoreConfig.
    Raises UserError where lanes are more than the network can use or the board has multipliers
    for, or where weights leave no room.
    """
    device = board.device
    count = lanes
    if count is None:
        count = auto_lanes(board, network, sample_memory, fixed, variant)
    if count > device.dsps:
        raise UserError(
            f"lanes = {count}: {board.name} has {device.dsps} multipliers and each lane takes "
            f"one; lower lanes or use a larger board ({FIT_HINT})"
        )
    config = core_config(board, network, count, fixed, variant)
    words = sample_depth(board, config, sample_memory)
    least = 2 * network.sample_words
    takes = core_blocks(board, config)
    if words < least or takes > device.blocks:
        raise UserError(
            f"{network.describe()} on {count} lanes does not fit {board.name}: weights and buffers "
            f"take {takes} of {device.blocks} block RAMs and leave {words:,} words for samples, of "
            f"which two take {least:,}; use fewer lanes or a larger board "
            f"({FIT_HINT})"
        )
    return core_design(board, config, sample_memory, baud)


def core_design(board: Board, config: CoreConfig, sample_memory: int, baud: int | None) -> Design:
    """As make_design, of a core that may well not fit."""
    options: tuple[tuple[str, object], ...] = (("storage", "spram"),) if board.device.sprams else ()
    words = sample_depth(board, config, sample_memory)
    return Design(board, config, words, baud or board.baud, options)
