"""What of a core is known before synthesis: its multipliers and memories, and a board's."""

from __future__ import annotations

from boards.board import Board
from boards.devices import blocks_for
from boards.flow import Design
from golden_model.errors import UserError
from golden_model.network import Network
from rtl.config import CoreConfig
from rtl.samples import SPRAM_DEPTHS, WORD_BITS

OTHER_BLOCKS = 4
"""Block RAMs for activations, signs and the link, about."""


def lane_blocks(board: Board, config: CoreConfig) -> int:
    """Block RAMs of one lane: its weights, and its accumulators where there are any."""
    network, words = config.network, config.lane_words
    blocks = blocks_for(board.device, words, network.weight_bits)
    if network.accumulators:
        blocks += blocks_for(board.device, words, network.gradient_bits)
    return blocks


def sample_room(board: Board, config: CoreConfig) -> int:
    """16-bit words of sample memory that a board has beside the lanes of a core."""
    device = board.device
    if device.sprams:
        return SPRAM_DEPTHS[-1]
    left = device.blocks - config.lanes * lane_blocks(board, config) - OTHER_BLOCKS
    # Two words side by side fill the widest shape but for its parity bits.
    deep, wide = device.block_shapes[0]
    return max(left, 0) * deep * (wide // WORD_BITS)


def fits(board: Board, config: CoreConfig, sample_memory: int) -> bool:
    """Whether multipliers and memories suffice; LUTs are not looked at."""
    device = board.device
    lanes = config.lanes * lane_blocks(board, config)
    return (
        config.lanes <= device.dsps
        and lanes + OTHER_BLOCKS <= device.blocks
        and sample_memory <= sample_room(board, config)
    )


def auto_lanes(board: Board, network: Network, sample_memory: int) -> int:
    """The most lanes that fit, less those that would not save a clock.

    sample_memory: 16-bit words that the data takes; where that is more than half of the block
    RAMs, half of them are kept for samples.  Raises UserError where not even one lane fits.
    """
    device = board.device
    if not device.sprams:
        sample_memory = min(sample_memory, device.blocks * device.block_bits // WORD_BITS // 2)
    for lanes in range(min(max(network.layers[1:]), device.dsps, 256), 0, -1):
        config = CoreConfig(network, lanes)
        if fits(board, config, min(sample_memory, SPRAM_DEPTHS[-1])):
            # Groups of neurons decide the clocks: fewer lanes with as many groups are as fast.
            return min(n for n in range(1, lanes + 1) if _groups(network, n) == config.groups)
    takes = lane_blocks(board, CoreConfig(network, 1)) + OTHER_BLOCKS
    raise UserError(
        f"{network.describe()} does not fit {board.name} even on one lane: weights and buffers "
        f"take about {takes} of its {device.blocks} block RAMs, which leaves too few for samples; "
        "use a smaller network or a larger board (`mgd boards`)"
    )


def _groups(network: Network, lanes: int) -> tuple[int, ...]:
    return CoreConfig(network, lanes).groups


def make_design(
    board: Board, network: Network, lanes: int | None, sample_memory: int, baud: int | None
) -> Design:
    """The design of a network on a board: how much memory for samples, and who gets the DSPs.

    lanes: None for as many as fit.  sample_memory: 16-bit words that the data takes; the design
    gets fewer where the board has no room for more.  Raises UserError where lanes are more than
    the network can use or the board has multipliers for, or where weights leave no room.
    """
    device = board.device
    count = auto_lanes(board, network, sample_memory) if lanes is None else lanes
    if count > device.dsps:
        raise UserError(
            f"lanes = {count}: {board.name} has {device.dsps} multipliers and each lane takes "
            "one; lower lanes or use a larger board (`mgd boards`)"
        )
    config = CoreConfig(network, count, shared_dsp=count < device.dsps)
    room = sample_room(board, config)
    words = min(sample_memory + sample_memory % 2, room)
    options: tuple[tuple[str, object], ...] = ()
    if device.sprams:
        options = (("storage", "spram"),)
        # The SPRAM is there for nothing else: room for other data of the same network.
        words = next((depth for depth in SPRAM_DEPTHS if depth >= words), room)
    least = 2 * network.sample_words
    if words < least:
        takes = count * lane_blocks(board, config) + OTHER_BLOCKS
        raise UserError(
            f"{network.describe()} on {count} lanes does not fit {board.name}: weights and buffers "
            f"take about {takes} of {device.blocks} block RAMs and leave {words:,} words for "
            f"samples, of which two take {least:,}; use fewer lanes or a larger board "
            "(`mgd boards`)"
        )
    return Design(board, config, words - words % 2, baud or board.baud, options)
