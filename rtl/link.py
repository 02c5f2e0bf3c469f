"""Answers the requests of rtl.protocol: bytes in, bytes out, a bus between them."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.bus import BusSignature
from rtl.frame_receiver import FRAME_MIN, FrameReceiver
from rtl.frame_sender import FrameSender
from rtl.protocol import MAX_WORDS, REPLY_HEADER, REQUEST_HEADER, Op, Space, Status

REQUEST = data.StructLayout(
    {"seq": 8, "op": 8, "space": 8, "count": 8, "address": 24, "zero": 8},
)


class Link(wiring.Component):
    """Executes each request whose CRC is right, one bus access per word, and sends a reply.

    `i` and `o` are the bytes from and to the wire, `bus` is the initiator of rtl.bus, `errors`
    counts frames that were thrown away (see FrameReceiver).  Nothing reaches the bus before the
    whole request was checked.  At the first status other than OK the request stops; the reply
    then holds that status and, in `count`, the number of words done before.

    Latency from the closing zero to the first bus access: 13 clocks for a read, 18 for a write.
    A word takes 5 clocks (read) or 6 (write) and the responder's time; the reply's first byte is
    offered 2·N + 8 (read) or 2·N + 4 (write) clocks after the last acknowledge, N being the
    reply's bytes with CRC.  The next request is received
    while one is executed and answered; a third one has to wait for the first reply to be out, so
    a host must not have more than two requests without a reply.
    """

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))
    bus: Out(BusSignature())
    errors: Out(32)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.sender = sender = FrameSender()
        wiring.connect(m, wiring.flipped(self.i), receiver.i)
        wiring.connect(m, sender.o, wiring.flipped(self.o))

        request = Signal(REQUEST)
        address = Signal(24)
        word = Signal(32)
        """The word on its way between a buffer and the bus, lowest byte first."""
        at = Signal(8)
        """Next byte of the request that is read."""
        step = Signal(range(REQUEST_HEADER + 1))
        words = Signal(8)
        """Words done."""
        status = Signal(3)
        write = Signal()
        refused = Signal()

        m.d.comb += [
            self.errors.eq(receiver.errors),
            receiver.read_address.eq(at),
            write.eq(request.op == Op.WRITE),
            refused.eq(
                ~((request.op == Op.READ) | write)
                | (request.space > max(Space))
                | (request.count == 0)
                | (request.count > MAX_WORDS)
                | (request.zero != 0)
                | (receiver.length != FRAME_MIN + Mux(write, request.count << 2, 0))
            ),
            self.bus.space.eq(request.space),
            self.bus.address.eq(address),
            self.bus.write.eq(write),
            self.bus.write_data.eq(word),
            sender.length.eq(REPLY_HEADER + Mux(write, 0, words << 2)),
        ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [at.eq(0), step.eq(0), words.eq(0), status.eq(Status.OK)]
                with m.If(receiver.valid & ~sender.busy):
                    m.next = "HEADER"
            with m.State("HEADER"):
                # The buffer answers a clock late: step k takes in byte k − 1.
                with m.If(step != 0):
                    m.d.sync += request.eq(Cat(request.as_value()[8:], receiver.read_data))
                with m.If(step == REQUEST_HEADER):
                    m.next = "CHECK"
                with m.Else():
                    m.d.sync += [step.eq(step + 1), at.eq(at + 1)]
            with m.State("CHECK"):
                m.d.sync += [address.eq(request.address), step.eq(0)]
                with m.If(refused):
                    m.d.sync += status.eq(Status.BAD_REQUEST)
                    m.next = "REPLY"
                with m.Elif(write):
                    m.next = "LOAD"
                with m.Else():
                    m.next = "ACCESS"
            with m.State("LOAD"):
                with m.If(step != 0):
                    m.d.sync += word.eq(Cat(word[8:], receiver.read_data))
                with m.If(step == 4):
                    m.d.sync += step.eq(0)
                    m.next = "ACCESS"
                with m.Else():
                    m.d.sync += [step.eq(step + 1), at.eq(at + 1)]
            with m.State("ACCESS"):
                m.d.comb += self.bus.strobe.eq(1)
                with m.If(self.bus.ack):
                    with m.If(self.bus.status != Status.OK):
                        m.d.sync += status.eq(self.bus.status)
                        m.next = "REPLY"
                    with m.Else():
                        m.d.sync += [
                            words.eq(words + 1),
                            address.eq(address + Mux(request.space == Space.SAMPLES, 2, 1)),
                        ]
                        with m.If(~write):
                            m.d.sync += word.eq(self.bus.read_data)
                            m.next = "STORE"
                        with m.Elif(words + 1 == request.count):
                            m.next = "REPLY"
                        with m.Else():
                            m.next = "LOAD"
            with m.State("STORE"):
                m.d.comb += [
                    sender.write.eq(1),
                    # `words` counts the word that is being stored.
                    sender.write_address.eq((words << 2) + step + (REPLY_HEADER - 4)),
                    sender.write_data.eq(word[:8]),
                ]
                m.d.sync += [word.eq(word >> 8), step.eq(step + 1)]
                with m.If(step == 3):
                    m.d.sync += step.eq(0)
                    m.next = "ACCESS"
                    with m.If(words == request.count):
                        m.next = "REPLY"
            with m.State("REPLY"):
                m.d.comb += [sender.write.eq(1), sender.write_address.eq(step)]
                with m.Switch(step):
                    for place, value in enumerate((request.seq, status, request.op, words)):
                        with m.Case(place):
                            m.d.comb += sender.write_data.eq(value)
                m.d.sync += step.eq(step + 1)
                with m.If(step == REPLY_HEADER - 1):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += [sender.start.eq(1), receiver.done.eq(1)]
                m.next = "IDLE"
        return m
