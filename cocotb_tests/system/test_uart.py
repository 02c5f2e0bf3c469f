"""rtl.system.uart against cocotbext-uart, which was written by somebody else."""

from itertools import pairwise

import cocotb
import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import Edge, FallingEdge, ReadOnly, Timer, with_timeout
from cocotb.utils import get_sim_time
from cocotbext.uart import UartSink, UartSource

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import CLOCK_NS, params, rng
from cocotb_tests.support.streams import receive, send, start_clock
from mgd.golden_model.errors import UserError
from mgd.rtl.system.uart import UARTReceiver, UARTTransmitter

DIVIDERS = [4, 10.4166, 16, 17.5]


class Loopback(wiring.Component):
    """A transmitter whose line is a receiver's."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))
    error: Out(1)

    def __init__(self, clocks_per_bit):
        self.clocks_per_bit = clocks_per_bit
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.sender = sender = UARTTransmitter(self.clocks_per_bit)
        m.submodules.receiver = receiver = UARTReceiver(self.clocks_per_bit)
        wiring.connect(m, wiring.flipped(self.i), sender.i)
        wiring.connect(m, receiver.o, wiring.flipped(self.o))
        m.d.comb += [receiver.rx.eq(sender.tx), self.error.eq(receiver.error)]
        return m


def baud() -> float:
    """Baud rate of the peer; `offset` is how much faster it is than the gateware."""
    return 1e9 / (params()["clocks_per_bit"] * CLOCK_NS) * (1 + params().get("offset", 0))


async def count_errors(dut, counts: list[int]) -> None:
    """Append the simulation's time for each clock in which `error` is high."""
    while True:
        await FallingEdge(dut.clk)
        await ReadOnly()
        if int(dut.error.value):
            counts.append(int(get_sim_time("ns")))


async def line_idle(dut, bits: float) -> None:
    await Timer(round(bits * params()["clocks_per_bit"] * CLOCK_NS), "ns")


@pytest.mark.simulated
@pytest.mark.parametrize("clocks_per_bit", DIVIDERS)
def test_receives(clocks_per_bit):
    return Row(UARTReceiver(clocks_per_bit), receives, {"clocks_per_bit": clocks_per_bit})


@pytest.mark.simulated
@pytest.mark.parametrize(
    ("clocks_per_bit", "offset"), [(5, 0.03), (5, -0.03), (16, 0.04), (16, -0.04), (100, 0.045)]
)
def test_receives_from_a_peer_with_another_clock(clocks_per_bit, offset):
    given = {"clocks_per_bit": clocks_per_bit, "offset": offset}
    return Row(UARTReceiver(clocks_per_bit), receives, given)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def receives(dut):
    random, errors = rng(), []
    await start_clock(dut, rx=1)
    cocotb.start_soon(count_errors(dut, errors))
    source = UartSource(dut.rx, baud=baud())
    sent = bytes([0x00, 0xFF, 0x55, 0xAA, 0x80, 0x01]) + random.randbytes(150)

    async def transmit():
        at = 0
        while at < len(sent):
            # Bytes without a gap, then a pause that ends anywhere within a clock.
            burst = random.randint(1, 20)
            await source.write(sent[at : at + burst])
            await source.wait()
            await Timer(random.randint(1, 400), "ns")
            at += burst

    cocotb.start_soon(transmit())
    got = await receive(dut, "o", len(sent), stall=0.3, rng=random)
    assert bytes(got) == sent
    assert errors == []


@pytest.mark.simulated
@pytest.mark.parametrize("clocks_per_bit", DIVIDERS)
def test_sends(clocks_per_bit):
    return Row(UARTTransmitter(clocks_per_bit), sends, {"clocks_per_bit": clocks_per_bit})


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def sends(dut):
    random = rng()
    await start_clock(dut)
    sink = UartSink(dut.tx, baud=baud())
    sent = bytes([0x00, 0xFF, 0x55, 0xAA]) + random.randbytes(100)
    await send(dut, "i", sent, idle=0.9, rng=random)
    await line_idle(dut, 12)
    assert bytes(sink.read_nowait()) == sent


@pytest.mark.simulated
@pytest.mark.parametrize("clocks_per_bit", DIVIDERS)
def test_every_edge_is_at_its_place(clocks_per_bit):
    return Row(UARTTransmitter(clocks_per_bit), edges, {"clocks_per_bit": clocks_per_bit})


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def edges(dut):
    await start_clock(dut)
    await FallingEdge(dut.clk)
    # 0x55 between start and stop bit: an edge at each bit, 64 bytes without a gap.
    count = 64
    cocotb.start_soon(send(dut, "i", [0x55] * count, rng=rng()))
    times = []
    for _ in range(10 * count):
        await Edge(dut.tx)
        times.append(get_sim_time("ns") / CLOCK_NS)
    period = params()["clocks_per_bit"]
    errors = [t - times[0] - k * period for k, t in enumerate(times)]
    # A length in 2^-8 clocks is up to 2^-9 off in each bit, and an edge half a clock.
    drift = 0 if period == int(period) else 10 * count / 512 + 0.51
    assert max(map(abs, errors)) <= drift
    assert all(abs(b - a - period) < 1 for a, b in pairwise(times))


@pytest.mark.simulated
def test_ignores_glitches_and_drops_bad_bytes():
    return Row(UARTReceiver(16), noise, {"clocks_per_bit": 16})


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def noise(dut):
    random, errors = rng(), []
    await start_clock(dut, rx=1)
    cocotb.start_soon(count_errors(dut, errors))
    source = UartSource(dut.rx, baud=baud())
    await line_idle(dut, 2)

    for clocks in (0.3, 1, 4, 7):
        dut.rx.value = 0
        await Timer(round(clocks * CLOCK_NS), "ns")
        dut.rx.value = 1
        await line_idle(dut, 12)
        assert not int(dut.o__valid.value), f"{clocks} clocks were taken for a byte"
    assert errors == []
    await expect(dut, source, random.randbytes(3))

    # The stop bit is low: the byte goes, and so does everything until the line is high.
    dut.rx.value = 0
    await line_idle(dut, 35)
    assert len(errors) == 1
    assert not int(dut.o__valid.value)
    dut.rx.value = 1
    await line_idle(dut, 1)
    await expect(dut, source, random.randbytes(3))
    assert len(errors) == 1

    # Nobody takes the first of two bytes: it stays, and the second goes.
    await FallingEdge(dut.clk)
    dut.o__ready.value = 0
    await source.write(b"AB")
    await source.wait()
    await line_idle(dut, 1)
    assert len(errors) == 2
    await FallingEdge(dut.clk)
    assert await with_timeout(receive(dut, "o", 1, rng=random), 1, "us") == [ord("A")]
    await expect(dut, source, random.randbytes(3))


async def expect(dut, source, sent: bytes) -> None:
    """Send through `source` and require exactly these bytes on stream `o`."""
    cocotb.start_soon(source.write(sent))
    got = await with_timeout(receive(dut, "o", len(sent), rng=rng()), 100, "us")
    assert bytes(got) == sent


@pytest.mark.simulated
@pytest.mark.parametrize("clocks_per_bit", [4, 4.3, 13.02])
def test_loopback(clocks_per_bit):
    return Row(Loopback(clocks_per_bit), loopback, {"clocks_per_bit": clocks_per_bit})


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def loopback(dut):
    random, errors = rng(), []
    await start_clock(dut)
    cocotb.start_soon(count_errors(dut, errors))
    sent = random.randbytes(300)
    cocotb.start_soon(send(dut, "i", sent, idle=0.01, rng=random))
    assert bytes(await receive(dut, "o", len(sent), stall=0.5, rng=random)) == sent
    assert errors == []


@pytest.mark.parametrize("clocks_per_bit", [3.9, 0, 70000])
@pytest.mark.parametrize("part", [UARTReceiver, UARTTransmitter])
def test_refuses_a_divider_out_of_range(part, clocks_per_bit):
    with pytest.raises(UserError, match=f"clocks_per_bit = {clocks_per_bit:g}: .* 4 and 65535"):
        part(clocks_per_bit)
