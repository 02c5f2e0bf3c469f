"""A board's whole design: clock, PLL, reset, the top level, and the pins."""

from __future__ import annotations

from fractions import Fraction

from amaranth import ClockDomain, ClockSignal, Elaboratable, Module, ResetSignal, Signal
from amaranth.build import Attrs, Pins, Resource, Subsignal
from amaranth.lib import cdc, io

from boards import pll
from boards.board import Board
from boards.devices import ICE40
from rtl.top import AnyConfig, Top

RESET_SECONDS = Fraction(15, 1_000_000)
"""From the PLL's lock to the start.  Block RAM of the iCE40 reads as zero for about 3 µs after
configuration; five times that leaves a margin, and costs others nothing."""


class Clocking(Elaboratable):
    """Drives domain `sync` from the PLL: in reset until it has locked and for 15 µs more.

    The reset is released by a register of the domain and so at a clock edge.  Where the PLL
    loses its lock the domain is reset again.
    """

    def __init__(self, board: Board, setting: pll.Setting) -> None:
        self.board = board
        self.setting = setting

    def elaborate(self, platform):
        m = Module()
        clock, lock, locked = Signal(), Signal(), Signal()
        pin = platform.request(platform.default_clk, dir="-")
        if self.board.family == ICE40:
            # The pad is the PLL's own: no other buffer may stand there.
            source = pin.io
        else:
            m.submodules.buffer = buffer = io.Buffer("i", pin)
            source = buffer.i
        device = getattr(platform, "family", "")
        m.submodules.pll = pll.instance(self.setting, source, clock, lock, device)
        m.domains.start = ClockDomain("start", reset_less=True, local=True)
        # nextpnr derives the constraint from the input's and the PLL's dividers.
        m.d.comb += [ClockSignal("sync").eq(clock), ClockSignal("start").eq(clock)]

        m.submodules.lock = cdc.FFSynchronizer(lock, locked, o_domain="start", init=0)
        clocks = -int(-RESET_SECONDS * self.setting.output_hz)
        count = Signal(range(clocks + 1))
        # High from the start, as no inverter fits between it and registers all over the device.
        held = Signal(init=1)
        with m.If(~locked):
            m.d.start += [count.eq(0), held.eq(1)]
        with m.Elif(count == clocks):
            m.d.start += held.eq(0)
        with m.Else():
            m.d.start += count.eq(count + 1)
        m.d.comb += ResetSignal("sync").eq(held)
        return m


class BoardTop(Elaboratable):
    """What becomes the bitstream.

    sample_memory: 16-bit words, even.  baud: bits per second of the UART.  top_options: more
    arguments of rtl.top.Top.  The LED is on while the core works.
    """

    def __init__(
        self,
        board: Board,
        config: AnyConfig,
        sample_memory: int,
        setting: pll.Setting,
        baud: int,
        **top_options,
    ) -> None:
        self.board = board
        self.setting = setting
        self.top = Top(
            config,
            sample_memory,
            setting.output_hz / baud,
            round(setting.output_hz),
            **top_options,
        )

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain("sync")
        m.submodules.clocking = Clocking(self.board, self.setting)
        m.submodules.top = top = self.top
        if self.board.uart is not None:
            pins = self.board.uart
            platform.add_resources(
                [
                    Resource(
                        "uart",
                        0,
                        Subsignal("rx", Pins(pins.rx, dir="i")),
                        Subsignal("tx", Pins(pins.tx, dir="o")),
                        Attrs(**dict(pins.attrs)),
                    )
                ]
            )
        uart = platform.request("uart", 0, dir={"rx": "-", "tx": "-"} | _others(platform))
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [top.rx.eq(rx.i), tx.o.eq(top.tx)]
        if self.board.led is not None:
            name, number, part = self.board.led
            led = platform.request(name, number, dir="-")
            m.submodules.led = buffer = io.Buffer("o", getattr(led, part) if part else led)
            m.d.comb += buffer.o.eq(top.busy)
        return m


def _others(platform) -> dict[str, str]:
    """The UART's further lines (RTS, DTR …), which stay unused."""
    resource = platform.lookup("uart", 0)
    return {part.name: "-" for part in resource.ios if part.name not in ("rx", "tx")}
