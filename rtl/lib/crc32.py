"""The CRC-32 of zlib and Ethernet, one bit a clock."""

from zlib import crc32

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from mgd.rtl.lib.unit import Unit

POLYNOMIAL = 0xEDB88320
"""Bit k is the coefficient of x^(31−k)."""
RESIDUE = 0xDEBB20E3
"""`state` after any bytes with their CRC behind them."""


class SerialCRC32(Unit):
    """Equals zlib.crc32: after `start` and each bit of the bytes, low bit first, with `valid`,
    the CRC is ~state.

    `start` and `valid` must not be high in the same clock.  A bit that equals state[0] only
    shifts: eight of these bring the next byte of the CRC down to state[:8].
    """

    latency = 1
    """Clocks from a bit to the `state` behind it."""
    model = staticmethod(crc32)

    start: In(1)
    valid: In(1)
    bit: In(1)
    state: Out(32, init=0xFFFFFFFF)

    def elaborate(self, platform) -> Module:
        m = Module()
        feedback = Signal()
        # The low bit is sent first, so state[0] is the highest power, which the division takes out.
        m.d.comb += feedback.eq(self.state[0] ^ self.bit)
        with m.If(self.start):
            m.d.sync += self.state.eq(self.state.init)
        with m.Elif(self.valid):
            taps = Mux(feedback, Const(POLYNOMIAL, 32), 0)
            m.d.sync += self.state.eq(Cat(self.state[1:], 0) ^ taps)
        return m
