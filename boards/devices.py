"""The FPGAs: resources of each device, and its family."""

from __future__ import annotations

from dataclasses import dataclass

from mgd.boards.families.ecp5 import ECP5
from mgd.boards.families.family import FpgaFamily
from mgd.boards.families.gowin import GOWIN
from mgd.boards.families.ice40 import ICE40


@dataclass(frozen=True)
class Device:
    """An FPGA.  name: as amaranth's platforms spell it (Gowin: the family)."""

    name: str
    fpga_family: FpgaFamily
    luts: int
    """Four-input LUTs; there are as many flip-flops (Gowin: three quarters)."""
    dsps: int
    """Multipliers of 16×16 bits (iCE40) or 18×18."""
    blocks: int
    """Block RAMs."""
    block_bits: int
    """Bits of data in one, parity bits not counted."""
    block_shapes: tuple[tuple[int, int], ...]
    """Depths and widths that one block RAM can have with separate ports to read and to write."""
    start_hz: int
    """The first clock that a build tries; some core of ours reaches it."""
    sprams: int = 0
    """Single-ported memories of 16,384 words of 16 bits."""


_EBR = ((256, 16), (512, 8), (1024, 4), (2048, 2))
_DP16KD = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
# Its 36 bits wide shape is refused with separate clocks of two ports of different enables.
_BSRAM = ((512, 32), (1024, 16), (2048, 8), (4096, 4), (8192, 2), (16384, 1))


def _ecp5(name: str, luts: int, dsps: int, blocks: int) -> Device:
    return Device(name, ECP5, luts, dsps, blocks, 18432, _DP16KD, 100_000_000)


DEVICES = {
    device.name: device
    for device in (
        Device("iCE40UP5K", ICE40, 5280, 8, 30, 4096, _EBR, 32_000_000, sprams=4),
        # Lattice sells half of this die's logic; the open tools use the whole die, of which the
        # maker has not tested the other half.
        _ecp5("LFE5U-12F", 12_144, 28, 32),
        _ecp5("LFE5U-25F", 24_288, 28, 56),
        _ecp5("LFE5U-45F", 43_848, 72, 108),
        _ecp5("LFE5U-85F", 83_640, 156, 208),
        Device("GW1NR-9C", GOWIN, 8640, 20, 26, 16384, _BSRAM, 27_000_000),
        Device("GW2A-18C", GOWIN, 20736, 48, 46, 16384, _BSRAM, 54_000_000),
    )
}


def blocks_for(device: Device, words: int, width: int) -> int:
    """Fewest block RAMs for a memory of `words` words of `width` bits."""
    return min(-(-words // deep) * -(-width // wide) for deep, wide in device.block_shapes)
