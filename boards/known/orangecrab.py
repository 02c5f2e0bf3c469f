"""OrangeCrab r0.2: its USB plug is wired to the FPGA, so the UART needs an adapter."""

from mgd.boards.board import Board, Pins

_UART = Pins(
    rx="N17", tx="M18", attrs=(("IO_TYPE", "LVCMOS33"),), where="feather pins 0 (RX) and 1 (TX)"
)

BOARDS = [
    Board(
        name=f"orangecrab-{size}f",
        title=f"OrangeCrab r0.2 {size}F",
        platform=f"amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_{size}FPlatform",
        device_name=f"LFE5U-{size}F",
        clock_hz=48_000_000,
        uart=_UART,
        serial="adapter on pins 0 and 1",
        led=("rgb_led", 0, "g"),
        pack_options=("--compress", "--freq", "38.8"),
        dfu=(0x1209, 0x5AF0),
        flash="dfu-util -d 1209:5af0 -a 0 -D {bitstream}",
        note="No USB-UART: a 3.3 V adapter (FT232H or the like), its TX on pin 0 (RX, ball N17), "
        "its RX on pin 1 (TX, ball M18), and GND.",
    )
    for size in (25, 85)
]
