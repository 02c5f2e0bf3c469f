"""Memories and multipliers of a core, and the blocks of an FPGA that they take.

The rules are those of Yosys, and the counts are its own: tests/boards/test_fit.py compares.
"""

from __future__ import annotations

from dataclasses import dataclass

from mgd.boards.devices import ECP5, GOWIN, ICE40, Device
from mgd.golden_model.network import ACT_BITS, Network, signed_bits
from mgd.golden_model.signs.sequence import STATE_BITS
from mgd.protocol.framing import FRAME_MAX
from mgd.rtl.folded.config import NONZERO_WORD, CoreConfig
from mgd.rtl.lib.piecewise import TABLE
from mgd.rtl.memory.samples import WORD_BITS, bank_rows
from mgd.rtl.units.activation import has_table
from mgd.rtl.units.costs import cost_kind

BLOCK_COST = {ICE40: 64, ECP5: 128, GOWIN: 128}
LUTRAM_COST = 4
"""What Yosys takes a block RAM, and 16 words of 4 bits in LUTs, to cost in flip-flops."""


@dataclass(frozen=True)
class Taken:
    """What memories take."""

    blocks: int = 0
    block_width: int = 0
    """Bits of a word of what is in blocks."""
    small_bits: int = 0
    """Bits in flip-flops, where the FPGA has no memory of LUTs."""
    lutrams: int = 0
    """Pieces of 16 words of 4 bits, in LUTs."""

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.blocks + other.blocks,
            self.block_width + other.block_width,
            self.small_bits + other.small_bits,
            self.lutrams + other.lutrams,
        )

    def __mul__(self, count: int) -> Taken:
        return Taken(
            self.blocks * count,
            self.block_width * count,
            self.small_bits * count,
            self.lutrams * count,
        )


def place(device: Device, words: int, width: int) -> Taken:
    """Where a memory of `words` words of `width` bits goes: block RAMs, or the logic."""
    cost = BLOCK_COST[device.family]

    def with_multiplexers(shape: tuple[int, int]) -> tuple[int, int]:
        deep, wide = -(-words // shape[0]), -(-width // shape[1])
        return cost * deep * wide + width * (deep - 1), deep * wide

    _, blocks = min(map(with_multiplexers, device.block_shapes))
    in_blocks = Taken(blocks, width)
    if device.family == ICE40:
        bits = words * width
        return Taken(small_bits=bits) if bits <= cost * blocks else in_blocks
    deep = -(-words // 16)
    pieces = deep * -(-width // 4)
    small = LUTRAM_COST * pieces + width * (deep - 1) / 2 <= cost * blocks
    return Taken(lutrams=pieces) if small else in_blocks


def lane_memories(device: Device, config: CoreConfig) -> Taken:
    """Of one lane: its weights, and its accumulators where there are any."""
    network, words = config.network, config.lane_words
    taken = place(device, words, network.weight_bits)
    if network.accumulators:
        taken += place(device, words, network.gradient_bits)
    return taken


def other_memories(device: Device, config: CoreConfig) -> Taken:
    """Of all beside lanes and samples: activations, outputs, signs, the link's buffer, identity."""
    network = config.network
    before = config.plus_words
    # The identity is 16 bits wide and a block whatever its size.
    taken = Taken(blocks=1) + place(device, 2 * FRAME_MAX, 8)
    taken += place(device, before + max(config.hidden_nodes, 1), ACT_BITS)
    if not config.weights_only:
        taken += place(device, before, ACT_BITS)
    taken += place(device, 2 * sum(config.groups), STATE_BITS)
    if config.phase_bits:
        taken += place(device, config.lane_words, config.lanes * config.phase_bits)
    if config.gate_words:
        taken += place(device, config.gate_words, 1)
    if config.nonzero_words:
        taken += place(device, config.nonzero_words, NONZERO_WORD) * 2
    if config.table_memory:
        taken += Taken(blocks=2)
    if network.cost == "cross_entropy":
        nodes = (max(config.hidden_nodes, network.outputs, 2) - 1).bit_length()
        depth = min(2 << nodes, 2 << (network.outputs - 1).bit_length())
        bound = network.output_bound
        taken += place(device, depth, signed_bits(-bound, bound))
    return taken


def sample_memories(device: Device, words: int) -> Taken:
    """Of `words` 16-bit words of samples, two in a row.  SPRAM is not counted here, nor the queue
    behind block RAM: all cores have that alike."""
    taken = Taken()
    if not device.sprams:
        for rows in bank_rows(-(-words // 2)):
            taken += place(device, rows, 2 * WORD_BITS)
    return taken


def lane_dsps(device: Device, network: Network) -> int:
    """DSP blocks of one lane."""
    return _product_blocks(device, network.weight_bits)


@dataclass(frozen=True)
class Product:
    """A product outside the lanes: widths of its factors, whether a DSP block may take it."""

    widths: tuple[int, int]
    dsp: bool

    @property
    def bits(self) -> int:
        return self.widths[0] * self.widths[1]


def shared_products(config: CoreConfig) -> list[Product]:
    """The products outside the lanes."""
    network = config.network
    products = []
    if not config.weights_only:
        products.append(Product((network.delta_cost_bits, ACT_BITS), config.broadcast_dsp))
    in_cost = cost_kind(network).product(network)
    if in_cost is not None:
        products.append(Product(in_cost, config.cost_dsp))
    if has_table(network) and not config.shared_tables:
        products.append(Product(TABLE, config.activation_dsp))
    return products


def core_dsps(device: Device, config: CoreConfig) -> int:
    """DSP blocks of all."""
    others = [product for product in shared_products(config) if product.dsp]
    return config.lanes * lane_dsps(device, config.network) + sum(
        _product_blocks(device, max(product.widths)) for product in others
    )


def _product_blocks(device: Device, width: int) -> int:
    """Of a factor of `width` bits with one of 16 or so.  What a block falls short by a single
    bit of, on iCE40, is added in logic."""
    if device.family == ICE40:
        return -(-(width - 1) // 16)
    return -(-width // 18)
