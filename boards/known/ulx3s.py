"""Radiona ULX3S, with any of the four ECP5 it is sold with."""

from mgd.boards.board import BUILDS, NETLIST_CHECKED, Board

BOARDS = [
    Board(
        name=f"ulx3s-{size}f",
        title=f"Radiona ULX3S {size}F",
        platform=f"amaranth_boards.ulx3s:ULX3S_{size}F_Platform",
        device_name=f"LFE5U-{size}F",
        clock_hz=25_000_000,
        serial="USB (FT231X)",
        pack_options=("--compress",),
        tier=NETLIST_CHECKED if size == 25 else BUILDS,
        flash="openFPGALoader -b ulx3s {bitstream}",
        note="The open tools use the whole die of the 12F, the maker tests half."
        if size == 12
        else "",
    )
    for size in (12, 25, 45, 85)
]
