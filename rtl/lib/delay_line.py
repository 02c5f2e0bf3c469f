"""A wide, long delay in a memory instead of in registers."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.rtl.lib.unit import Unit

LEAST = 4
"""Fewer clocks are registers."""


class DelayLine(Unit):
    """o is i as it was `latency` clocks ago.

    A ring of clocks − 1 words: a word is read in the clock before it is overwritten.
    """

    def __init__(self, width: int, clocks: int) -> None:
        self.width = width
        self.latency = clocks
        super().__init__({"i": In(width), "o": Out(width)})

    def elaborate(self, platform):
        m = Module()
        if self.latency < LEAST:
            value = self.i
            for k in range(self.latency):
                register = Signal(self.width, name=f"stage_{k}", reset_less=True)
                m.d.sync += register.eq(value)
                value = register
            m.d.comb += self.o.eq(value)
            return m
        # Written in clock t, read at the next visit of its place, one clock before it is
        # written again: depth − 1 clocks later; the memory's and our register add 2.
        depth = self.latency - 1
        m.submodules.memory = memory = Memory(
            shape=self.width, depth=depth, init=[], attrs={"no_rw_check": True}
        )
        write, read = memory.write_port(), memory.read_port()
        # Both addresses are registers: in a small memory, of LUTs, the read alone takes a clock.
        place, next_place = Signal(range(depth)), Signal(range(depth), init=1)
        m.d.comb += [
            write.addr.eq(place),
            write.data.eq(self.i),
            write.en.eq(1),
            read.addr.eq(next_place),
        ]
        m.d.sync += [
            place.eq(next_place),
            next_place.eq(Mux(next_place == depth - 1, 0, next_place + 1)),
            self.o.eq(read.data),
        ]
        return m
