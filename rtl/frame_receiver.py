"""Turns bytes from the wire into checked frames in a buffer."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from rtl.protocol import CRC_BYTES, MAX_WORDS, REQUEST_HEADER

FRAME_MIN = REQUEST_HEADER + CRC_BYTES
FRAME_MAX = REQUEST_HEADER + 4 * MAX_WORDS + CRC_BYTES


class FrameReceiver(wiring.Component):
    """Decodes COBS frames and keeps those whose length and CRC-32 are right.

    Takes a byte every clock.  While `valid` is high, a checked frame of `length` bytes (12 to
    252, CRC included) is in the buffer; its byte at `read_address` is `read_data` one clock
    later.  `done` for one clock gives it back.  `valid` rises two clocks after the zero byte that
    ends the frame.  The next frame is received meanwhile into the other half of the buffer; if
    it is complete before `done`, no more bytes are taken until then.

    A frame that is cut short, too short or long, or whose CRC is wrong is forgotten and adds one
    to `errors` (32 bits, wraps).  Zero bytes between frames are not errors.
    """

    i: In(stream.Signature(8))
    valid: Out(1)
    length: Out(8)
    read_address: In(8)
    read_data: Out(8)
    done: In(1)
    errors: Out(32)

    def elaborate(self, platform) -> Module:
        m = Module()
        # Two halves cost nothing: 512 bytes are the smallest block RAM of an iCE40.
        m.submodules.buffer = buffer = memory.Memory(shape=8, depth=512, init=[])
        write, read = buffer.write_port(), buffer.read_port()
        m.submodules.crc = crc = catalog.CRC32_ISO_HDLC(data_width=8).create()

        half = Signal()
        """The half that is being received into."""
        count = Signal(8)
        too_long = Signal()
        started = Signal()
        until_code = Signal(8)
        """Data bytes before the next byte that is a COBS code."""
        waiting = Signal()
        """A checked frame waits for the other half to be given back."""
        waiting_length = Signal(8)
        right = Signal()
        emit = Signal()
        byte = Signal(8)

        m.d.comb += [
            self.i.ready.eq(~waiting),
            # Between two codes the encoder took a zero out.  (Not after code 255, but a frame
            # with one is longer than any we accept.)
            byte.eq(Mux(until_code == 0, 0, self.i.payload)),
            right.eq(
                (until_code == 0) & (count >= FRAME_MIN) & ~too_long & crc.match_detected,
            ),
            crc.data.eq(byte),
            crc.valid.eq(emit),
            write.addr.eq(Cat(count, half)),
            write.data.eq(byte),
            write.en.eq(emit),
            read.addr.eq(Cat(self.read_address, ~half)),
            self.read_data.eq(read.data),
        ]
        with m.If(self.i.valid & self.i.ready):
            with m.If(self.i.payload == 0):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [
                    count.eq(0),
                    too_long.eq(0),
                    started.eq(0),
                    until_code.eq(0),
                ]
                with m.If(right):
                    m.d.sync += [waiting.eq(1), waiting_length.eq(count)]
                with m.Elif(started):
                    m.d.sync += self.errors.eq(self.errors + 1)
            with m.Else():
                m.d.sync += started.eq(1)
                m.d.comb += emit.eq(started & (count != FRAME_MAX))
                with m.If(started):
                    with m.If(count == FRAME_MAX):
                        m.d.sync += too_long.eq(1)
                    with m.Else():
                        m.d.sync += count.eq(count + 1)
                with m.If(until_code == 0):
                    m.d.sync += until_code.eq(self.i.payload - 1)
                with m.Else():
                    m.d.sync += until_code.eq(until_code - 1)

        with m.If(self.done):
            m.d.sync += self.valid.eq(0)
        with m.If(waiting & ~self.valid):
            m.d.sync += [
                waiting.eq(0),
                self.valid.eq(1),
                self.length.eq(waiting_length),
                half.eq(~half),
            ]
        return m
