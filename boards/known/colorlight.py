"""Colorlight's receiver cards for LED walls: the cheapest ECP5 with pins one can reach."""

from mgd.boards.board import Board

BOARDS = [
    Board(
        name="colorlight-i5",
        title="Colorlight i5 on its extension board",
        platform="mgd.boards.known.colorlight_i5_platform:ColorlightI5Platform",
        device_name="LFE5U-25F",
        clock_hz=25_000_000,
        serial="USB (the extension board's CMSIS-DAP)",
        baud=921_600,
        baud_max=1_000_000,
        pack_options=("--compress",),
        flash="openFPGALoader -b colorlight-i5 {bitstream}",
    ),
    Board(
        name="colorlight-5a-75b",
        title="Colorlight 5A-75B V7.0",
        platform="amaranth_boards.colorlight_5a75b_r7_0:Colorlight_5A75B_R70Platform",
        device_name="LFE5U-25F",
        clock_hz=25_000_000,
        serial="adapter on J19",
        # Its LED is on the pin that the UART sends on.
        led=None,
        pack_options=("--compress",),
        flash="openFPGALoader -c ft232 -m {bitstream}",
        note="No USB: a 3.3 V adapter on J19, its TX on KEY+ (ball M13), its RX on DATA_LED- "
        "(ball P11); JTAG on J27 to J30.",
    ),
]
