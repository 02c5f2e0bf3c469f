"""Turns a frame in a buffer into bytes for the wire."""

from amaranth import Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from rtl.protocol import CRC_BYTES


class FrameSender(wiring.Component):
    """Appends the CRC-32 to the frame in its buffer, COBS-encodes it in place and sends it.

    While `busy` is low, byte number k of the frame is written with write_address = k; then
    `start` for one clock sends `length` bytes (1 to 248).  The first byte is offered
    2·length + 7 clocks after `start`, further ones every second clock at best, a zero byte
    last.

    A frame fits one COBS block (254 bytes), so no byte moves: the place of a zero byte becomes
    that of the code that replaces it, and encoding writes once per byte.
    """

    write_address: In(8)
    write_data: In(8)
    write: In(1)
    start: In(1)
    length: In(8)
    busy: Out(1)
    o: Out(stream.Signature(8))

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.buffer = buffer = memory.Memory(shape=8, depth=256, init=[])
        write, read = buffer.write_port(), buffer.read_port()
        m.submodules.crc = crc = catalog.CRC32_ISO_HDLC(data_width=8).create()

        place = Signal(8)
        code_place = Signal(8)
        """Place of the code whose block is not over yet; place 0 holds the first."""
        end = Signal(8)
        """First place behind the frame."""
        crc_byte = Signal(range(CRC_BYTES))
        byte = Signal(8)

        m.d.comb += [self.busy.eq(1), read.addr.eq(place), crc.data.eq(byte)]

        def encode():
            """Put `byte` at `place`: nothing to do for bytes that are there already."""
            with m.If(byte == 0):
                m.d.comb += [write.en.eq(1), write.addr.eq(code_place)]
                m.d.comb += write.data.eq(place - code_place)
                m.d.sync += code_place.eq(place)
            with m.Else():
                m.d.comb += [write.en.eq(1), write.addr.eq(place), write.data.eq(byte)]
            m.d.sync += place.eq(place + 1)

        with m.FSM():
            with m.State("FILL"):
                m.d.comb += [
                    self.busy.eq(0),
                    write.en.eq(self.write),
                    write.addr.eq(self.write_address + 1),
                    write.data.eq(self.write_data),
                ]
                with m.If(self.start):
                    m.d.comb += crc.start.eq(1)
                    m.d.sync += [
                        place.eq(1),
                        code_place.eq(0),
                        end.eq(self.length + 1),
                        crc_byte.eq(0),
                    ]
                    m.next = "READ"
            with m.State("READ"):
                m.next = "ENCODE"
            with m.State("ENCODE"):
                m.d.comb += [byte.eq(read.data), crc.valid.eq(1)]
                encode()
                m.next = "READ"
                with m.If(place + 1 == end):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += byte.eq(crc.crc.word_select(crc_byte, 8))
                encode()
                m.d.sync += crc_byte.eq(crc_byte + 1)
                with m.If(crc_byte == CRC_BYTES - 1):
                    m.next = "LAST CODE"
            with m.State("LAST CODE"):
                m.d.comb += [write.en.eq(1), write.addr.eq(code_place)]
                m.d.comb += write.data.eq(place - code_place)
                m.d.sync += [place.eq(0), end.eq(place)]
                m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "SEND"
                with m.If(place == end):
                    m.next = "ZERO"
            with m.State("SEND"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(read.data)]
                with m.If(self.o.ready):
                    m.d.sync += place.eq(place + 1)
                    m.next = "FETCH"
            with m.State("ZERO"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(0)]
                with m.If(self.o.ready):
                    m.next = "FILL"
        return m
