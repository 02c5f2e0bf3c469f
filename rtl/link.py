"""Requests from the host, one after the other, to bus accesses and replies."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.bus import BusSignature
from rtl.frame_receiver import ERROR_BITS, FrameReceiver
from rtl.frame_sender import FrameSender
from rtl.protocol import REPLY_HEADER, Op, Space, Status


class Link(wiring.Component):
    """Executes each request whose CRC is right, one bus access per word, and sends a reply.

    `i` and `o` are the bytes from and to the wire, `bus` is the initiator of rtl.bus, `errors`
    counts frames that were thrown away (see FrameReceiver).  Nothing reaches the bus before the
    whole request was checked.  At the first status other than OK the request stops; at the
    reply's end are the last status and the number of words not done.

    The reply is sent while the request is executed: its first byte is offered 11 clocks after the
    closing flag was taken, a further one 10 clocks after the one before left, one more where it
    is a word's first.  A word is read when the one before has left, the first one 37 clocks after
    the flag; words are written from 42 clocks after the flag on, one in 6 clocks and what the
    responder takes beyond one.  The next request is received while one is executed; a third one
    has to wait for the first reply to be out.  A host must see to it that it does not come sooner.
    """

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))
    bus: Out(BusSignature())
    errors: Out(ERROR_BITS)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.sender = sender = FrameSender()
        wiring.connect(m, wiring.flipped(self.i), receiver.i)
        wiring.connect(m, sender.o, wiring.flipped(self.o))

        space, write = Signal(range(max(Space) + 1)), Signal()
        address = Signal(24)
        left = Signal(8)
        """Words not done."""
        status = Signal(range(max(Status) + 1))
        word = Signal(32)
        """Four bytes on their way to the bus or the sender, the next one lowest."""
        place = Signal.like(receiver.place)
        """Of the request's next byte."""
        step = Signal(3)
        """Bytes of `word` that were loaded or sent."""
        in_header, in_address = Signal(), Signal()
        """`word` is the first or the second half of the request's header."""

        op_byte, space_byte, count_byte = word[8:16], word[16:24], word[24:]
        writes, refused, sent = Signal(), Signal(), Signal()
        # Asked a clock after the header's first half is complete.
        m.d.sync += refused.eq(
            ~((op_byte == Op.READ) | writes)
            | (space_byte > max(Space))
            | (count_byte == 0)
            | (receiver.extra != Mux(writes, count_byte, 0) << 2)
        )
        m.d.comb += [
            self.errors.eq(receiver.errors),
            receiver.place.eq(place),
            self.bus.space.eq(space),
            self.bus.address.eq(address),
            self.bus.write.eq(write),
            self.bus.write_data.eq(word),
            writes.eq(op_byte == Op.WRITE),
            sender.i.payload.byte.eq(word),
            sent.eq(sender.i.valid & sender.i.ready),
        ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    place.eq(receiver.FIRST_PLACE),
                    in_header.eq(1),
                    status.eq(Status.OK),
                ]
                with m.If(receiver.valid):
                    m.next = "LOAD"
            with m.State("LOAD"):
                # The buffer answers a clock late: step k takes in byte k − 1.
                with m.If(step != 0):
                    m.d.sync += word.eq(Cat(word[8:], receiver.read_data))
                with m.If(step == 4):
                    m.d.sync += step.eq(0)
                    m.next = "ACCESS"
                    with m.If(in_header | in_address):
                        m.next = "LOOK"
                with m.Else():
                    m.d.sync += [step.eq(step + 1), place.eq(place + 1)]
            with m.State("LOOK"):
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [in_header.eq(0), in_address.eq(in_header)]
                with m.If(in_header):
                    m.d.sync += [write.eq(writes), space.eq(space_byte), left.eq(count_byte)]
                    with m.If(refused):
                        m.d.sync += status.eq(Status.BAD_REQUEST)
                    m.next = "SEND"
                with m.Else():
                    m.d.sync += address.eq(word)
                    m.next = "ACCESS"
                    with m.If(word[24:].any()):
                        m.d.sync += status.eq(Status.BAD_REQUEST)
                        m.next = "RESULT"
                    with m.Elif(write):
                        m.next = "LOAD"
            with m.State("ACCESS"):
                m.d.comb += self.bus.strobe.eq(1)
                with m.If(~write):
                    m.d.sync += word.eq(self.bus.read_data)
                with m.If(self.bus.ack):
                    m.d.sync += status.eq(self.bus.status)
                    with m.If(self.bus.status != Status.OK):
                        m.next = "RESULT"
                    with m.Else():
                        m.d.sync += [left.eq(left - 1), address.eq(address + 1)]
                        m.next = "LOAD"
                        with m.If(~write):
                            m.next = "SEND"
                        with m.Elif(left == 1):
                            m.next = "RESULT"
            with m.State("SEND"):
                m.d.comb += sender.i.valid.eq(1)
                with m.If(sent):
                    m.d.sync += [word.eq(Cat(word[8:], receiver.read_data)), step.eq(step + 1)]
                    with m.If(in_address & (step == REPLY_HEADER - 1)):
                        m.d.sync += step.eq(0)
                        m.next = "LOAD"
                        with m.If(status != Status.OK):
                            m.next = "RESULT"
                    with m.Elif(step == 3):
                        m.d.sync += step.eq(0)
                        m.next = "ACCESS"
                        with m.If(left == 0):
                            m.next = "RESULT"
            with m.State("RESULT"):
                last = step[0]
                m.d.comb += [
                    sender.i.valid.eq(1),
                    sender.i.payload.byte.eq(Mux(last, left, status)),
                    sender.i.payload.last.eq(last),
                ]
                with m.If(sent):
                    m.d.sync += step.eq(~last)
                    with m.If(last):
                        m.d.comb += receiver.done.eq(1)
                        m.next = "IDLE"
        return m
