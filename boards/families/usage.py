"""Resource counts: of memories before synthesis, and of a netlist after it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryUsage:
    """Resources that memories use."""

    blocks: int = 0
    block_width: int = 0
    """Sum of the word widths, in bits, of the memories in block RAM."""
    small_bits: int = 0
    """Bits in flip-flops, on an FPGA without LUT RAM."""
    lutrams: int = 0
    """LUT RAMs of 16 words of 4 bits."""

    def __add__(self, other: MemoryUsage) -> MemoryUsage:
        return MemoryUsage(
            self.blocks + other.blocks,
            self.block_width + other.block_width,
            self.small_bits + other.small_bits,
            self.lutrams + other.lutrams,
        )

    def __mul__(self, count: int) -> MemoryUsage:
        return MemoryUsage(
            self.blocks * count,
            self.block_width * count,
            self.small_bits * count,
            self.lutrams * count,
        )


@dataclass(frozen=True)
class Area:
    """Cells of one netlist.  A count that a family does not have is 0."""

    logic_cells: int
    """iCE40: nextpnr's count, see boards.families.ice40_cells.  ECP5: nextpnr's "total LUT4s",
    including those of LUT RAM; flip-flops lie beside LUTs and are not added."""
    luts: int
    """With four inputs.  ECP5: CCU2C (two bits of an adder) counts as two, PFUMX and L6MUX21 as
    none."""
    carries: int
    """SB_CARRY."""
    ffs: int
    dsps: int
    """SB_MAC16 or MULT18X18D."""
    rams: int
    """Blocks of 4 kbit (SB_RAM40_4K) or 18 kbit (DP16KD)."""
    sprams: int
    """SB_SPRAM256KA, 256 kbit."""
    lutrams: int
    """TRELLIS_DPR16X4: 16 words of 4 bits; it replaces four LUTs and two for writing."""
