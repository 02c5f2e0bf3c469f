"""Turns a reply's bytes into a frame for the wire."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.protocol.framing import CRC_BYTES, ESCAPE, ESCAPE_XOR, FLAG
from mgd.rtl.lib.crc32 import SerialCRC32


class FrameSender(wiring.Component):
    """Sends bytes, escaped where they must be, then their CRC-32 and a flag.

    Stream i: {byte, last}, `last` with the last byte of a frame.  A byte is offered on `o` a clock
    after it is on `i`, after an escape if it needs one, and is taken from `i` 8 clocks after
    it left.  The CRC's bytes are offered 10 clocks after each other, the flag 9 after the last.
    """

    i: In(stream.Signature(data.StructLayout({"byte": 8, "last": 1})))
    o: Out(stream.Signature(8))

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.crc = crc = SerialCRC32()
        tail = Signal()
        """The CRC is being sent."""
        crc_byte = Signal(range(CRC_BYTES))
        bit = Signal(3)
        escaped = Signal()
        byte = Signal(8)
        special = Signal()
        """`byte` needs an escape."""
        following = Signal(8)
        m.d.comb += [
            following.eq(Mux(tail, ~crc.state[:8], self.i.payload.byte)),
            # The CRC's own bit: then it only shifts.
            crc.bit.eq(Mux(tail, crc.state[0], byte.bit_select(bit, 1))),
        ]
        # Registered: the logic behind an accepted byte is deep.
        m.d.sync += self.i.ready.eq(0)
        with m.FSM():
            with m.State("TAKE"):
                m.d.sync += [
                    byte.eq(following),
                    special.eq((following == FLAG) | (following == ESCAPE)),
                ]
                with m.If(self.i.valid | tail):
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(byte ^ Cat(escaped.replicate(8) & ESCAPE_XOR)),
                ]
                with m.If(special & ~escaped):
                    m.d.comb += self.o.payload.eq(ESCAPE)
                with m.If(self.o.valid & self.o.ready):
                    m.d.sync += escaped.eq(special & ~escaped)
                    with m.If(~special | escaped):
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += crc.valid.eq(1)
                # `ready` is a register: set with bit 6, it is high in the clock of bit 7, in which
                # `last` is looked at.
                m.d.sync += [bit.eq(bit + 1), self.i.ready.eq((bit == 6) & ~tail)]
                with m.If(bit == 7):
                    m.next = "TAKE"
                    with m.If(~tail):
                        m.d.sync += tail.eq(self.i.payload.last)
                    with m.Else():
                        m.d.sync += crc_byte.eq(crc_byte + 1)
                        with m.If(crc_byte == CRC_BYTES - 1):
                            m.d.sync += tail.eq(0)
                            m.next = "FLAG"
            with m.State("FLAG"):
                # The CRC of the next frame begins here: nothing enters it before the flag has left.
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(FLAG), crc.start.eq(1)]
                with m.If(self.o.ready):
                    m.next = "TAKE"
        return m
