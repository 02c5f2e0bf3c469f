"""Sipeed Tang Nano 9K and Tang Primer 20K: Gowin."""

from mgd.boards.board import DESCRIPTION_ONLY, Board

_NOTE = "nextpnr knows no delays of Gowin's multipliers: its fmax says nothing about a core."

BOARDS = [
    Board(
        name="tang-nano-9k",
        title="Sipeed Tang Nano 9K",
        platform="amaranth_boards.tang_nano_9k:TangNano9kPlatform",
        device_name="GW1NR-9C",
        clock_hz=27_000_000,
        serial="USB (BL702)",
        baud=1_000_000,
        baud_max=2_000_000,
        tier=DESCRIPTION_ONLY,
        flash="openFPGALoader -b tangnano9k {bitstream}",
        note=_NOTE,
    ),
    Board(
        name="tang-primer-20k",
        title="Sipeed Tang Primer 20K with its dock",
        platform="amaranth_boards.tang_primer_20k:TangPrimer20kDockPlatform",
        device_name="GW2A-18C",
        clock_hz=27_000_000,
        serial="USB (BL616 of the dock)",
        baud=1_000_000,
        baud_max=2_000_000,
        tier=DESCRIPTION_ONLY,
        flash="openFPGALoader -b tangprimer20k {bitstream}",
        note=_NOTE,
    ),
]
