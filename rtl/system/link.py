"""The link: turns requests from the host, one at a time, into bus accesses and replies."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.protocol.framing import REPLY_HEADER, Op, Space, Status
from mgd.rtl.lib.one_hot import OneHot
from mgd.rtl.system.bus import BusSignature
from mgd.rtl.system.frame_receiver import ERROR_BITS, FrameReceiver
from mgd.rtl.system.frame_sender import FrameSender


class _Registers:
    """The registers of the request that is executed."""

    def __init__(self, receiver: FrameReceiver) -> None:
        self.space = Signal(range(max(Space) + 1))
        self.write = Signal()
        self.address = Signal(24)
        self.words_left = Signal(8)
        """Words not done."""
        self.status = Signal(range(max(Status) + 1))
        self.word = Signal(32)
        """Four bytes on their way to the bus or the sender, the next one lowest."""
        self.place = Signal.like(receiver.place)
        """Of the request's next byte."""
        self.step = Signal(3)
        """Bytes of `word` that were loaded or sent."""
        self.in_header = Signal()
        """`word` is the first half of the request's header."""
        self.in_address = Signal()
        """`word` is the second half of the request's header."""


class Link(wiring.Component):
    """Executes each request whose CRC is right, one bus access per word, and sends a reply.

    `i` and `o` are the bytes from and to the wire, `bus` is the initiator of rtl.system.bus,
    `errors` counts discarded frames (see FrameReceiver).  Nothing reaches the bus before the whole
    request was checked.  The request stops at the first status other than OK; the reply ends with
    the last status and the number of words not done.

    The reply is sent while the request is executed.  Its first byte is offered 11 clocks after the
    closing flag was received, each further byte 10 clocks after the previous one was accepted, or
    11 if it is a word's first.  The first word is read 37 clocks after the flag, each further word
    when the one before has been sent.  Words are written from 42 clocks after the flag on, one in 6
    clocks plus the responder's clocks beyond one.  The next request is received while one is
    executed; a host must not send a third one before the first reply has been sent.
    """

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))
    bus: Out(BusSignature())
    errors: Out(ERROR_BITS)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.sender = sender = FrameSender()
        r = _Registers(receiver)
        machine = OneHot(("IDLE", "LOAD", "LOOK", "CHECK", "ACCESS", "SEND", "RESULT"))

        # Wire ─► receiver ─► word ─► bus ─► word ─► sender ─► wire.
        wiring.connect(m, wiring.flipped(self.i), receiver.i)
        wiring.connect(m, sender.o, wiring.flipped(self.o))
        m.d.comb += [
            self.errors.eq(receiver.errors),
            receiver.place.eq(r.place),
            self.bus.space.eq(r.space),
            self.bus.address.eq(r.address),
            self.bus.write.eq(r.write),
            self.bus.write_data.eq(r.word),
            sender.i.valid.eq(machine.at["SEND"] | machine.at["RESULT"]),
            sender.i.payload.byte.eq(r.word),
        ]
        self._idle(m, r, machine, receiver)
        self._load(m, r, machine, receiver)
        self._check(m, r, machine, receiver)
        self._access(m, r, machine)
        self._send(m, r, machine, receiver, sender)
        self._result(m, r, machine, receiver, sender)
        machine.connect(m)
        return m

    # -- states -------------------------------------------------------------------------------

    def _idle(self, m: Module, r: _Registers, machine: OneHot, receiver: FrameReceiver) -> None:
        with m.If(machine.at["IDLE"]):
            m.d.sync += [
                r.place.eq(receiver.FIRST_PLACE),
                r.in_header.eq(1),
                r.status.eq(Status.OK),
            ]
        machine.go(m, "IDLE", "LOAD", receiver.valid)

    def _load(self, m: Module, r: _Registers, machine: OneHot, receiver: FrameReceiver) -> None:
        """Four bytes of the request, to be checked or written."""
        # The buffer answers a clock late: step k takes in byte k − 1.
        loaded, part = r.step == 4, r.in_header | r.in_address
        with m.If(machine.at["LOAD"]):
            with m.If(r.step != 0):
                m.d.sync += r.word.eq(Cat(r.word[8:], receiver.read_data))
            with m.If(loaded):
                m.d.sync += r.step.eq(0)
            with m.Else():
                m.d.sync += [r.step.eq(r.step + 1), r.place.eq(r.place + 1)]
        machine.go(m, "LOAD", "LOOK", loaded & part)
        machine.go(m, "LOAD", "ACCESS", loaded & ~part)

    def _check(self, m: Module, r: _Registers, machine: OneHot, receiver: FrameReceiver) -> None:
        """Half of the request's header: first operation, space and count, then the address."""
        op_byte, space_byte, count_byte = r.word[8:16], r.word[16:24], r.word[24:]
        refused, is_write, high_address = Signal(3), Signal(), Signal()
        # Registered: LOOK is the clock in which these comparisons see the whole word.
        m.d.sync += [
            # A clock earlier, before the last byte has moved the others a place down.
            is_write.eq(r.word[16:24] == Op.WRITE),
            refused.eq(
                Cat(
                    ~((op_byte == Op.READ) | is_write) | (space_byte > max(Space)),
                    count_byte == 0,
                    receiver.extra != Mux(is_write, count_byte, 0) << 2,
                )
            ),
            high_address.eq(r.word[24:].any()),
        ]
        writes = Signal()
        m.d.comb += writes.eq(op_byte == Op.WRITE)
        machine.go(m, "LOOK", "CHECK")
        with m.If(machine.at["CHECK"]):
            m.d.sync += [r.in_header.eq(0), r.in_address.eq(r.in_header)]
            with m.If(r.in_header):
                m.d.sync += [
                    r.write.eq(writes),
                    r.space.eq(space_byte),
                    r.words_left.eq(count_byte),
                ]
            with m.Else():
                m.d.sync += r.address.eq(r.word)
            with m.If(Mux(r.in_header, refused.any(), high_address)):
                m.d.sync += r.status.eq(Status.BAD_REQUEST)
        machine.go(m, "CHECK", "SEND", r.in_header)
        machine.go(m, "CHECK", "RESULT", ~r.in_header & high_address)
        machine.go(m, "CHECK", "LOAD", ~r.in_header & ~high_address & r.write)
        machine.go(m, "CHECK", "ACCESS", ~r.in_header & ~high_address & ~r.write)

    def _access(self, m: Module, r: _Registers, machine: OneHot) -> None:
        """One word read or written."""
        last_left = Signal()
        # Registered: `words_left` changes several clocks before the next access ends.
        m.d.sync += last_left.eq(r.words_left == 1)
        done, fails = Signal(), self.bus.status != Status.OK
        m.d.comb += [
            self.bus.strobe.eq(machine.at["ACCESS"]),
            done.eq(self.bus.ack & ~fails),
        ]
        with m.If(machine.at["ACCESS"]):
            with m.If(~r.write):
                m.d.sync += r.word.eq(self.bus.read_data)
            with m.If(self.bus.ack):
                m.d.sync += r.status.eq(self.bus.status)
                with m.If(~fails):
                    m.d.sync += [
                        r.words_left.eq(r.words_left - 1),
                        r.address.eq(r.address + 1),
                    ]
        machine.go(m, "ACCESS", "RESULT", self.bus.ack & (fails | (r.write & last_left)))
        machine.go(m, "ACCESS", "SEND", done & ~r.write)
        machine.go(m, "ACCESS", "LOAD", done & r.write & ~last_left)

    def _send(
        self,
        m: Module,
        r: _Registers,
        machine: OneHot,
        receiver: FrameReceiver,
        sender: FrameSender,
    ) -> None:
        """The reply's header, or a word that was read."""
        none_left = Signal()
        # Registered, as `last_left` is.
        m.d.sync += none_left.eq(r.words_left == 0)
        # A reply's header is sent before the second half of the request's is checked.
        header_out, word_out, good = Signal(), Signal(), Signal()
        m.d.comb += [
            header_out.eq(sender.i.ready & r.in_address & (r.step == REPLY_HEADER - 1)),
            word_out.eq(sender.i.ready & ~r.in_address & (r.step == 3)),
            good.eq(r.status == Status.OK),
        ]
        with m.If(machine.at["SEND"] & sender.i.ready):
            m.d.sync += [
                r.word.eq(Cat(r.word[8:], receiver.read_data)),
                r.step.eq(r.step + 1),
            ]
            with m.If(header_out | word_out):
                m.d.sync += r.step.eq(0)
        machine.go(m, "SEND", "RESULT", (header_out & ~good) | (word_out & none_left))
        machine.go(m, "SEND", "LOAD", header_out & good)
        machine.go(m, "SEND", "ACCESS", word_out & ~none_left)

    def _result(
        self,
        m: Module,
        r: _Registers,
        machine: OneHot,
        receiver: FrameReceiver,
        sender: FrameSender,
    ) -> None:
        """The reply's end: the status, then the number of words not done."""
        last = r.step[0]
        m.d.comb += receiver.done.eq(machine.at["RESULT"] & sender.i.ready & last)
        with m.If(machine.at["RESULT"]):
            m.d.comb += [
                sender.i.payload.byte.eq(Mux(last, r.words_left, r.status)),
                sender.i.payload.last.eq(last),
            ]
            with m.If(sender.i.ready):
                m.d.sync += r.step.eq(~last)
        machine.go(m, "RESULT", "IDLE", sender.i.ready & last)
