"""A UART as byte streams: eight data bits, no parity, one stop bit."""

from fractions import Fraction

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import cdc, stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.golden_model.errors import UserError

FRACTION_BITS = 8
"""A bit's length has units of 2^-8 clocks: at most 0.02 clocks off after the ten bits of a byte."""
CLOCKS_PER_BIT_MIN = 4
CLOCKS_PER_BIT_MAX = 65535


class _BitTimer:
    """Lengths of successive bits in whole clocks, which add up to the fractional length."""

    def __init__(self, clocks_per_bit: float | Fraction):
        if not CLOCKS_PER_BIT_MIN <= clocks_per_bit <= CLOCKS_PER_BIT_MAX:
            raise UserError(
                f"clocks_per_bit = {float(clocks_per_bit):g}: must be between "
                f"{CLOCKS_PER_BIT_MIN} and {CLOCKS_PER_BIT_MAX}, as a bit is sampled once at its "
                "middle and an edge is seen up to one clock late; clocks_per_bit is the clock "
                "frequency divided by the baud rate, so lower the baud rate or raise the clock"
            )
        scaled = round(Fraction(clocks_per_bit) * (1 << FRACTION_BITS))
        self.whole, self.fraction = divmod(scaled, 1 << FRACTION_BITS)
        self.count = Signal(range(self.whole + 1))
        """Clocks left in this bit, less one."""
        # Starting at one half rounds each edge to the nearest clock.
        self.phase = Signal(FRACTION_BITS, init=1 << (FRACTION_BITS - 1))

    def next_bit(self):
        """Statements (sync) that start the next bit."""
        total = self.phase + Const(self.fraction, FRACTION_BITS)
        carry = total[FRACTION_BITS]
        return [
            self.phase.eq(total),
            self.count.eq(self.whole - 1 + carry),
        ]

    def wait(self, clocks: int):
        """Statements (sync) that start a wait, after which bits are counted from phase zero."""
        return [
            self.phase.eq(self.phase.init),
            self.count.eq(clocks - 1),
        ]


class UARTTransmitter(wiring.Component):
    """Sends the bytes of stream `i` on `tx`.

    `clocks_per_bit` (4 to 65535) is the clock frequency over the baud rate.  A whole number is
    kept exactly; otherwise each edge is the clock nearest to its place, on average within 2^-9
    clock per bit.  The start bit begins one clock after a byte is taken; bytes that wait follow
    each other without a gap, one every 10·clocks_per_bit clocks.

    Raises UserError where clocks_per_bit is out of range.
    """

    i: In(stream.Signature(8))
    tx: Out(1, init=1)

    def __init__(self, clocks_per_bit: float | Fraction):
        self._timer = _BitTimer(clocks_per_bit)
        super().__init__()

    def elaborate(self, platform) -> Module:
        m = Module()
        timer = self._timer
        bits = Signal(9)
        left = Signal(range(11))
        """Bits of the byte that are not over, the one on the line included."""
        last_clock = Signal()
        """Of a bit, while there are any left: `count` is 0.  Who sends waits for it."""

        # Ready when none is left, and in the last clock.  Registered: the logic behind is deep.
        ready, ends = Signal(init=1), timer.count == 1
        m.d.sync += [
            last_clock.eq(ends),
            ready.eq((left == 0) | ((left == 1) & (ends | last_clock))),
        ]
        m.d.comb += self.i.ready.eq(ready)
        with m.If((left != 0) & ~last_clock):
            m.d.sync += timer.count.eq(timer.count - 1)
        with m.Elif(self.i.ready & self.i.valid):
            m.d.sync += [
                ready.eq(0),
                self.tx.eq(0),
                # Behind the start bit, which `tx` takes now: eight data bits and the stop bit.
                bits.eq(Cat(self.i.payload, 1)),
                left.eq(10),
                *timer.next_bit(),
            ]
        with m.Elif(left > 1):
            m.d.sync += [
                self.tx.eq(bits[0]),
                bits.eq(Cat(bits[1:], 1)),
                left.eq(left - 1),
                *timer.next_bit(),
            ]
        with m.Else():
            m.d.sync += left.eq(0)
        return m


class UARTReceiver(wiring.Component):
    """Bytes from `rx` into stream `o`.

    `rx` may be asynchronous: two registers stand before it.  A byte is offered 2 to 3 clocks
    after the middle of its stop bit and stays offered until it is taken; a byte that is complete
    before the one before it was taken is dropped.  A start bit that is over at its middle is
    taken for a glitch and ignored.  `error` is high for one clock where a byte is dropped: its
    stop bit was low (the receiver then waits for a high line), or nobody took the one before.

    Each bit is sampled once, at its middle, at most one clock late.  The two ends' baud rates may
    differ by (clocks_per_bit/2 − 1) / (9.5·clocks_per_bit): 2.6 % at 4 clocks per bit, 4.6 % at
    16.  Raises UserError where clocks_per_bit is not between 4 and 65535.
    """

    rx: In(1, init=1)
    o: Out(stream.Signature(8))
    error: Out(1)

    def __init__(self, clocks_per_bit: float | Fraction):
        self._timer = _BitTimer(clocks_per_bit)
        self._half = int(clocks_per_bit / 2)
        super().__init__()

    def elaborate(self, platform) -> Module:
        m = Module()
        timer = self._timer
        rx = Signal(init=1)
        m.submodules.synchroniser = cdc.FFSynchronizer(self.rx, rx, init=1, stages=2)
        bits = Signal(8)
        left = Signal(range(9))

        m.d.sync += self.error.eq(0)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(timer.count != 0):
            m.d.sync += timer.count.eq(timer.count - 1)

        with m.FSM():
            with m.State("IDLE"), m.If(~rx):
                # To the middle of the start bit; from there whole bits lead from middle to middle.
                m.d.sync += timer.wait(self._half)
                m.next = "START"
            with m.State("START"), m.If(timer.count == 0):
                m.d.sync += left.eq(8)
                m.d.sync += timer.next_bit()
                with m.If(rx):
                    m.next = "IDLE"
                with m.Else():
                    m.next = "DATA"
            with m.State("DATA"), m.If(timer.count == 0):
                m.d.sync += [bits.eq(Cat(bits[1:], rx)), left.eq(left - 1)]
                m.d.sync += timer.next_bit()
                with m.If(left == 1):
                    m.next = "STOP"
            with m.State("STOP"), m.If(timer.count == 0):
                with m.If(~rx):
                    m.d.sync += self.error.eq(1)
                    m.next = "BREAK"
                with m.Else():
                    m.next = "IDLE"
                    with m.If(self.o.valid & ~self.o.ready):
                        m.d.sync += self.error.eq(1)
                    with m.Else():
                        m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(bits)]
            with m.State("BREAK"), m.If(rx):
                m.next = "IDLE"
        return m
