"""Memories and multipliers of the folded core, and the resources of an FPGA that they use.

The rules are those of Yosys; tests/boards/test_fit.py compares the counts with its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from mgd.boards.devices import Device
from mgd.boards.families.usage import MemoryUsage
from mgd.golden_model.network import ACT_BITS, Network, signed_bits
from mgd.golden_model.signs.sequence import STATE_BITS
from mgd.protocol.framing import FRAME_MAX
from mgd.rtl.folded.config import NONZERO_WORD, CoreConfig
from mgd.rtl.lib.piecewise import TABLE
from mgd.rtl.memory.samples import WORD_BITS, bank_rows
from mgd.rtl.units.activation import has_table
from mgd.rtl.units.costs import cost_kind


def memory_usage(device: Device, words: int, width: int) -> MemoryUsage:
    """The resources of a memory of `words` words of `width` bits: block RAMs or logic, whichever
    costs Yosys less."""
    cost = device.fpga_family.block_ram_cost

    def with_multiplexers(shape: tuple[int, int]) -> tuple[int, int]:
        deep, wide = -(-words // shape[0]), -(-width // shape[1])
        return cost * deep * wide + width * (deep - 1), deep * wide

    _, blocks = min(map(with_multiplexers, device.block_shapes))
    in_logic, logic_cost = device.fpga_family.memory_in_logic(words, width)
    return in_logic if logic_cost <= cost * blocks else MemoryUsage(blocks, width)


def lane_memories(device: Device, config: CoreConfig) -> MemoryUsage:
    """One lane's weights, and accumulators where there are any."""
    network, words = config.network, config.lane_words
    usage = memory_usage(device, words, network.weight_bits)
    if network.accumulators:
        usage += memory_usage(device, words, network.gradient_bits)
    return usage


def other_memories(device: Device, config: CoreConfig) -> MemoryUsage:
    """All but lanes and samples: activations, outputs, signs, the link's buffer, identity."""
    network = config.network
    plus = config.plus_words
    # The identity is 16 bits wide and takes a block at any size.
    usage = MemoryUsage(blocks=1) + memory_usage(device, 2 * FRAME_MAX, 8)
    usage += memory_usage(device, plus + max(config.hidden_nodes, 1), ACT_BITS)
    if not config.weights_only:
        usage += memory_usage(device, plus, ACT_BITS)
    usage += memory_usage(device, 2 * sum(config.groups), STATE_BITS)
    if config.phase_bits:
        usage += memory_usage(device, config.lane_words, config.lanes * config.phase_bits)
    if config.gate_words:
        usage += memory_usage(device, config.gate_words, 1)
    if config.nonzero_words:
        usage += memory_usage(device, config.nonzero_words, NONZERO_WORD) * 2
    if config.table_memory:
        usage += MemoryUsage(blocks=2)
    if network.cost == "cross_entropy":
        nodes = (max(config.hidden_nodes, network.outputs, 2) - 1).bit_length()
        depth = min(2 << nodes, 2 << (network.outputs - 1).bit_length())
        bound = network.output_bound
        usage += memory_usage(device, depth, signed_bits(-bound, bound))
    return usage


def sample_memories(device: Device, words: int) -> MemoryUsage:
    """`words` 16-bit words of samples, two side by side.  Neither SPRAM is counted here nor the
    queue behind block RAM, which is the same in all cores."""
    usage = MemoryUsage()
    if not device.sprams:
        for rows in bank_rows(-(-words // 2)):
            usage += memory_usage(device, rows, 2 * WORD_BITS)
    return usage


def lane_dsps(device: Device, network: Network) -> int:
    """DSP blocks of one lane."""
    return device.fpga_family.dsp_blocks(network.weight_bits)


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
        device.fpga_family.dsp_blocks(max(product.widths)) for product in others
    )
