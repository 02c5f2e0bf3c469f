"""Requests from the host, one after the other, to bus accesses and replies."""

from functools import partial

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.protocol.framing import REPLY_HEADER, Op, Space, Status
from mgd.rtl.lib.one_hot import OneHot
from mgd.rtl.system.bus import BusSignature
from mgd.rtl.system.frame_receiver import ERROR_BITS, FrameReceiver
from mgd.rtl.system.frame_sender import FrameSender


class Link(wiring.Component):
    """Executes each request whose CRC is right, one bus access per word, and sends a reply.

    `i` and `o` are the bytes from and to the wire, `bus` is the initiator of rtl.system.bus,
    `errors` counts frames that were thrown away (see FrameReceiver).  Nothing reaches the bus
    before the whole request was checked.  At the first status other than OK the request stops; at
    the reply's end are the last status and the number of words not done.

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
        writes = Signal()
        refused, known_write = Signal(3), Signal()
        high_address, last_left, none_left = Signal(), Signal(), Signal()
        # Asked a clock, or more, after what they look at has come.
        m.d.sync += [
            # `word` is not complete then: its bytes are a place higher.
            known_write.eq(word[16:24] == Op.WRITE),
            refused.eq(
                Cat(
                    ~((op_byte == Op.READ) | known_write) | (space_byte > max(Space)),
                    count_byte == 0,
                    receiver.extra != Mux(known_write, count_byte, 0) << 2,
                )
            ),
            high_address.eq(word[24:].any()),
            last_left.eq(left == 1),
            none_left.eq(left == 0),
        ]
        m.d.comb += [
            self.errors.eq(receiver.errors),
            receiver.place.eq(place),
            self.bus.space.eq(space),
            self.bus.address.eq(address),
            self.bus.write.eq(write),
            self.bus.write_data.eq(word),
            writes.eq(op_byte == Op.WRITE),
            sender.i.payload.byte.eq(word),
        ]

        machine = OneHot(("IDLE", "LOAD", "LOOK", "CHECK", "ACCESS", "SEND", "RESULT"))
        at, go = machine.at, partial(machine.go, m)

        with m.If(at["IDLE"]):
            m.d.sync += [place.eq(receiver.FIRST_PLACE), in_header.eq(1), status.eq(Status.OK)]
        go("IDLE", "LOAD", receiver.valid)

        # The buffer answers a clock late: step k takes in byte k − 1.
        loaded, part = step == 4, in_header | in_address
        with m.If(at["LOAD"]):
            with m.If(step != 0):
                m.d.sync += word.eq(Cat(word[8:], receiver.read_data))
            with m.If(loaded):
                m.d.sync += step.eq(0)
            with m.Else():
                m.d.sync += [step.eq(step + 1), place.eq(place + 1)]
        go("LOAD", "LOOK", loaded & part)
        go("LOAD", "ACCESS", loaded & ~part)

        go("LOOK", "CHECK")

        with m.If(at["CHECK"]):
            m.d.sync += [in_header.eq(0), in_address.eq(in_header)]
            with m.If(in_header):
                m.d.sync += [write.eq(writes), space.eq(space_byte), left.eq(count_byte)]
            with m.Else():
                m.d.sync += address.eq(word)
            with m.If(Mux(in_header, refused.any(), high_address)):
                m.d.sync += status.eq(Status.BAD_REQUEST)
        go("CHECK", "SEND", in_header)
        go("CHECK", "RESULT", ~in_header & high_address)
        go("CHECK", "LOAD", ~in_header & ~high_address & write)
        go("CHECK", "ACCESS", ~in_header & ~high_address & ~write)

        done, fails = Signal(), self.bus.status != Status.OK
        m.d.comb += [self.bus.strobe.eq(at["ACCESS"]), done.eq(self.bus.ack & ~fails)]
        with m.If(at["ACCESS"]):
            with m.If(~write):
                m.d.sync += word.eq(self.bus.read_data)
            with m.If(self.bus.ack):
                m.d.sync += status.eq(self.bus.status)
                with m.If(~fails):
                    m.d.sync += [left.eq(left - 1), address.eq(address + 1)]
        go("ACCESS", "RESULT", self.bus.ack & (fails | (write & last_left)))
        go("ACCESS", "SEND", done & ~write)
        go("ACCESS", "LOAD", done & write & ~last_left)

        # A reply's header goes out before the second half of the request's is looked at.
        header_out, word_out, good = Signal(), Signal(), Signal()
        m.d.comb += [
            header_out.eq(sender.i.ready & in_address & (step == REPLY_HEADER - 1)),
            word_out.eq(sender.i.ready & ~in_address & (step == 3)),
            good.eq(status == Status.OK),
        ]
        with m.If(at["SEND"] & sender.i.ready):
            m.d.sync += [word.eq(Cat(word[8:], receiver.read_data)), step.eq(step + 1)]
            with m.If(header_out | word_out):
                m.d.sync += step.eq(0)
        go("SEND", "RESULT", (header_out & ~good) | (word_out & none_left))
        go("SEND", "LOAD", header_out & good)
        go("SEND", "ACCESS", word_out & ~none_left)

        last = step[0]
        m.d.comb += [
            sender.i.valid.eq(at["SEND"] | at["RESULT"]),
            receiver.done.eq(at["RESULT"] & sender.i.ready & last),
        ]
        with m.If(at["RESULT"]):
            m.d.comb += [
                sender.i.payload.byte.eq(Mux(last, left, status)),
                sender.i.payload.last.eq(last),
            ]
            with m.If(sender.i.ready):
                m.d.sync += step.eq(~last)
        go("RESULT", "IDLE", sender.i.ready & last)
        machine.connect(m)
        return m
