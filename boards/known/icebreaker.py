"""1BitSquared iCEBreaker: a UP5K with SPRAM and a fast USB converter."""

from mgd.boards.board import NETLIST_CHECKED, Board

BOARDS = [
    Board(
        name="icebreaker",
        title="1BitSquared iCEBreaker",
        platform="amaranth_boards.icebreaker:ICEBreakerPlatform",
        device_name="iCE40UP5K",
        clock_hz=12_000_000,
        serial="USB (FT2232H, its second port)",
        baud_max=12_000_000,
        led=("led", 1, ""),
        tier=NETLIST_CHECKED,
        flash="openFPGALoader -b ice40_generic {bitstream}",
    )
]
