"""Turns bytes from the wire into checked frames in a buffer."""

from amaranth import Cat, Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.protocol.framing import CRC_BYTES, ESCAPE, ESCAPE_XOR, FLAG, FRAME_MAX, REQUEST_HEADER
from mgd.protocol.registers import Register
from mgd.rtl.lib.crc32 import RESIDUE, SerialCRC32

FRAME_MIN = REQUEST_HEADER + CRC_BYTES
ERROR_BITS = Register.FRAME_ERRORS.bits


class FrameReceiver(wiring.Component):
    """Decodes frames and stores those whose length and CRC-32 are right.

    Takes a byte in 9 clocks (two for flags and escapes).  While `valid` is high, a checked frame
    of FRAME_MIN to FRAME_MAX bytes (CRC included), FRAME_MIN + `extra`, is in the buffer.  Its
    first byte is at FIRST_PLACE, and places wrap round at FRAME_MAX; the byte at `place` is
    `read_data` one clock later.  `done` for one clock releases the frame.

    `valid` rises two clocks after the flag that ends the frame.  The next frame is received
    meanwhile into the other half of the buffer; if it is complete before `done`, no more bytes
    are accepted until then.

    A frame that is cut short, too short or long, or whose CRC is wrong is discarded and adds one
    to `errors` (modulo 2^16).  Flags alone are not errors.
    """

    FIRST_PLACE = FRAME_MAX - FRAME_MIN
    """So that a byte's place is 0 where the shortest frame is complete."""

    i: In(stream.Signature(8))
    valid: Out(1)
    extra: Out(range(FRAME_MAX))
    place: In(range(FRAME_MAX))
    read_data: Out(8)
    done: In(1)
    errors: Out(ERROR_BITS)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.buffer = buffer = memory.Memory(shape=8, depth=2 * FRAME_MAX, init=[])
        write, read = buffer.write_port(), buffer.read_port()
        m.submodules.crc = crc = SerialCRC32()

        half = Signal()
        """The half that is being received into."""
        count = Signal(range(FRAME_MAX), init=self.FIRST_PLACE)
        """Place of the next byte."""
        long_enough, too_long = Signal(), Signal()
        started, escaped = Signal(), Signal()
        bit = Signal(3)
        waiting = Signal()
        """A checked frame waits until the other half is released."""
        wrong = Signal()
        """A discarded frame ended a clock ago.  Registered: the counter is wide and far away."""
        flag, escape, taken, right = Signal(), Signal(), Signal(), Signal()
        known = Signal()
        """`flag` and `escape` belong to the offered byte.  Registered: the logic behind is deep."""
        byte = Signal(8)

        m.d.comb += [
            byte.eq(self.i.payload ^ Cat(escaped.replicate(8) & ESCAPE_XOR)),
            taken.eq(known & ~waiting),
            self.i.ready.eq(taken & (flag | escape | (bit == 7))),
            crc.start.eq(taken & flag),
            crc.valid.eq(taken & ~flag & ~escape),
            crc.bit.eq(byte.bit_select(bit, 1)),
            write.addr.eq(Cat(count, half)),
            write.data.eq(byte),
            write.en.eq(crc.valid),
            read.addr.eq(Cat(self.place, ~half)),
            self.read_data.eq(read.data),
        ]
        m.d.sync += [
            wrong.eq(0),
            flag.eq(self.i.payload == FLAG),
            escape.eq(self.i.payload == ESCAPE),
            # A clock behind the CRC, as `known` is behind its byte: when a flag is taken it is that
            # of all bytes before it.
            right.eq(crc.state == RESIDUE),
            known.eq(self.i.valid & ~self.i.ready),
        ]
        with m.If(wrong):
            m.d.sync += self.errors.eq(self.errors + 1)
        with m.If(taken):
            with m.If(flag):
                m.d.sync += [started.eq(0), escaped.eq(0), too_long.eq(0), long_enough.eq(0)]
                with m.If(long_enough & ~too_long & ~escaped & right):
                    m.d.sync += waiting.eq(1)
                with m.Else():
                    m.d.sync += count.eq(count.init)
                    m.d.sync += wrong.eq(started)
            with m.Else():
                m.d.sync += started.eq(1)
                with m.If(escape):
                    m.d.sync += escaped.eq(1)
                with m.Else():
                    m.d.sync += bit.eq(bit + 1)
                    with m.If(bit == 7):
                        m.d.sync += [escaped.eq(0), count.eq(count + 1)]
                        # FRAME_MIN bytes are there with this one, and the next place is 0.
                        with m.If(count == FRAME_MAX - 1):
                            m.d.sync += long_enough.eq(1)
                        # This byte is one more than FRAME_MAX: it takes the place of the first.
                        with m.If(long_enough & (count == count.init)):
                            m.d.sync += too_long.eq(1)

        with m.If(self.done):
            m.d.sync += self.valid.eq(0)
        with m.If(waiting & ~self.valid):
            m.d.sync += [
                waiting.eq(0),
                self.valid.eq(1),
                self.extra.eq(count),
                count.eq(count.init),
                half.eq(~half),
            ]
        return m
