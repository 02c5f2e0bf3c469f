"""A board's whole design: clock, PLL, reset, the top level, and the pins."""

from __future__ import annotations

from fractions import Fraction

from amaranth import (
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Elaboratable,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.build import Attrs, Pins, Resource, Subsignal
from amaranth.lib import cdc, io, wiring
from amaranth.lib.wiring import In, Out

from mgd.boards.board import Board
from mgd.boards.families.pll import ClockPlan
from mgd.rtl.core_kinds import AnyConfig
from mgd.rtl.system.top import Top

RESET_SECONDS = Fraction(15, 1_000_000)
"""From the PLL's lock to the start.  Block RAM of the iCE40 reads as zero for about 3 µs after
configuration; five times that is a margin that costs other families nothing."""


def is_gated(board: Board) -> bool:
    """Whether a gate keeps the clock of domain `sync` off until the start, in place of a reset."""
    return board.fpga_family.gates_clock


class Start(wiring.Component):
    """When domain `sync` starts: after `locked`, which is asynchronous, was high for `clocks`
    clocks without a gap.  `run` is high from then on and `held` low, both registers.

    Where the PLL loses its lock both return to their first values until it has locked again, with
    `once` for ever.
    """

    def __init__(self, clocks: int, *, once: bool) -> None:
        self.clocks = clocks
        self.once = once
        # A register of its own, because an inverter of `run` would lengthen the reset's long route.
        super().__init__({"locked": In(1), "run": Out(1), "held": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        locked, ended, count = Signal(), Signal(), Signal(range(self.clocks + 1))
        m.submodules.synchronizer = cdc.FFSynchronizer(self.locked, locked, init=0)
        with m.If(~locked):
            m.d.sync += [count.eq(0), self.run.eq(0), self.held.eq(1)]
            if self.once:
                m.d.sync += ended.eq(ended | self.run)
        with m.Elif(count == self.clocks):
            m.d.sync += [self.run.eq(~ended), self.held.eq(ended)]
        with m.Else():
            m.d.sync += count.eq(count + 1)
        return m


class Clocking(Elaboratable):
    """Drives domain `sync` from the PLL, from 15 µs after it has locked on.

    Until then the domain is in reset, which one of its registers releases at a clock edge; where
    the PLL loses its lock it is reset again.

    Some families have a gate in front of a clock network.  There the clock is off until then, and
    the domain has no reset: its registers start from the bitstream's values.  A reset would have to
    reach registers all over the device within a clock, through its fabric.  Where the PLL loses
    its lock the clock stops for good, because the registers may have taken wrong values by then;
    the board answers again after the FPGA is configured again.
    """

    def __init__(self, board: Board, clock_plan: ClockPlan) -> None:
        self.board = board
        self.clock_plan = clock_plan

    def elaborate(self, platform):
        m = Module()
        clock, lock = Signal(), Signal()
        pin = platform.request(platform.default_clk, dir="-")
        family = self.board.fpga_family
        if family.pad_drives_pll:
            # The PLL contains the pad's buffer: a second one is not possible.
            source = pin.io
        else:
            m.submodules.buffer = buffer = io.Buffer("i", pin)
            source = buffer.i
        m.submodules.pll = family.pll.instance(self.clock_plan, source, clock, lock, platform)
        m.domains.start = ClockDomain("start", reset_less=True, local=True)
        clocks = -int(-RESET_SECONDS * self.clock_plan.output_hz)
        start = Start(clocks, once=is_gated(self.board))
        m.submodules.start = DomainRenamer("start")(start)
        m.d.comb += start.locked.eq(lock)
        # nextpnr derives the constraints from the input's and the PLL's dividers.
        if not family.gates_clock:
            m.d.comb += [
                ClockSignal("sync").eq(clock),
                ClockSignal("start").eq(clock),
                ResetSignal("sync").eq(start.held),
            ]
            return m
        # Domain `start` has a gate too, always on: without one nextpnr would insert a buffer before
        # both, and a gate cannot follow a buffer.
        for name, enable in (("start", Const(1)), ("sync", start.run)):
            buffered = Signal(name=f"{name}_clk")
            m.submodules[f"gate_{name}"] = family.clock_gate(clock, enable, buffered)
            m.d.comb += ClockSignal(name).eq(buffered)
        return m


class BoardTop(Elaboratable):
    """The top level of the bitstream.

    sample_memory: 16-bit words, even.  baud: bits per second of the UART.  top_options: more
    arguments of rtl.system.top.Top.  The LED is on while the core works.
    """

    def __init__(
        self,
        board: Board,
        config: AnyConfig,
        sample_memory: int,
        clock_plan: ClockPlan,
        baud: int,
        **top_options,
    ) -> None:
        self.board = board
        self.clock_plan = clock_plan
        self.top = Top(
            config,
            sample_memory,
            clock_plan.output_hz / baud,
            round(clock_plan.output_hz),
            **top_options,
        )

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain("sync", reset_less=is_gated(self.board))
        m.submodules.clocking = Clocking(self.board, self.clock_plan)
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
