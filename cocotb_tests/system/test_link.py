"""rtl.system.link against `zlib` and RFC 1662's escapes written out, and a bus with random
delays."""

import functools
import zlib

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly, with_timeout

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.streams import receive, send, start_clock, words_to_bytes
from mgd.protocol.framing import FRAME_MAX, MAX_READ, MAX_WRITE, SHORTER, Op, Space, Status
from mgd.rtl.system.link import Link

REFUSED_ADDRESS = 0xBAD
"""The bus model answers BAD_ADDRESS here and BUSY at the next one."""


link = functools.cache(Link)
"""One for all tests."""


def escaped(data: bytes) -> bytes:
    """A whole frame of these bytes."""
    return data.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e") + b"\x7e"


def plain(frame: bytes) -> bytes:
    """The bytes of a frame without its flag, which must be escaped right."""
    out, bytes_left = bytearray(), iter(frame)
    for byte in bytes_left:
        assert byte != 0x7E
        if byte == 0x7D:
            byte = next(bytes_left) ^ 0x20
            assert byte in (0x7D, 0x7E)
        out.append(byte)
    return bytes(out)


def frame(body: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(body) if crc is None else crc
    return escaped(body + crc.to_bytes(4, "little"))


def request(seq, op, space, address, count, words=(), zero=0) -> bytes:
    header = bytes([seq, op, space, count, *address.to_bytes(3, "little"), zero])
    return frame(header + bytes(words_to_bytes(words)))


class Bus:
    """Memory behind the bus.  Also checks that a request does not change until its ack."""

    def __init__(self, dut, random, delay: int):
        self.dut, self.random, self.delay = dut, random, delay
        self.words: dict[tuple[int, int], int] = {}
        self.accesses: list[tuple[int, int, int]] = []

    def now(self):
        names = ("space", "address", "write", "write_data")
        asked = [int(getattr(self.dut, f"bus__{name}").value) for name in names]
        return tuple(asked if asked[2] else asked[:3])

    async def run(self):
        dut = self.dut
        while True:
            await ReadOnly()
            if not int(dut.bus__strobe.value):
                await FallingEdge(dut.clk)
                continue
            asked = self.now()
            for _ in range(self.random.randint(0, self.delay)):
                await FallingEdge(dut.clk)
                await ReadOnly()
                assert int(dut.bus__strobe.value)
                assert self.now() == asked
            await FallingEdge(dut.clk)
            self.answer(*asked)
            await FallingEdge(dut.clk)
            dut.bus__ack.value = 0
            # Nobody may look at these without an ack.
            dut.bus__status.value = self.random.getrandbits(2)
            dut.bus__read_data.value = self.random.getrandbits(32)
            await ReadOnly()
            assert not int(dut.bus__strobe.value)
            await FallingEdge(dut.clk)

    def answer(self, space, address, write, write_data=0):
        self.accesses.append((space, address, write))
        status = {REFUSED_ADDRESS: Status.BAD_ADDRESS, REFUSED_ADDRESS + 1: Status.BUSY}
        self.dut.bus__ack.value = 1
        self.dut.bus__status.value = status.get(address, Status.OK)
        if address not in status and write:
            self.words[space, address] = write_data
        value = self.words.get((space, address), 0)
        self.dut.bus__read_data.value = self.random.getrandbits(32) if write else value


class Peer:
    """Sends frames and expects replies, on a link with a Bus behind it."""

    def __init__(self, dut):
        self.dut, self.random = dut, rng()
        self.idle, self.stall = params().get("idle", 0.0), params().get("stall", 0.0)
        self.bus = Bus(dut, self.random, params().get("delay", 0))
        self.seq = 0

    async def start(self):
        await start_clock(self.dut)
        cocotb.start_soon(self.bus.run())

    async def send(self, data: bytes):
        await send(self.dut, "i", data, idle=self.idle, rng=self.random)

    async def reply(self) -> bytes:
        """The next reply without its CRC, which is checked."""
        got = bytearray()
        while not got or got[-1] != 0x7E:
            got += bytes(await receive(self.dut, "o", 1, stall=self.stall, rng=self.random))
        body = plain(bytes(got[:-1]))
        assert int.from_bytes(body[-4:], "little") == zlib.crc32(body[:-4])
        return body[:-4]

    async def ask(self, op, space, address, count, words=(), *, expect=Status.OK, done=None):
        """One request; returns the reply's words."""
        self.seq = (self.seq + 1) % 256
        cocotb.start_soon(self.send(request(self.seq, op, space, address, count, words)))
        seq, got_op, *rest, status, left = await with_timeout(self.reply(), 1, "ms")
        done = count if done is None else done
        assert (seq, got_op, status, left) == (self.seq, op, expect, count - done)
        assert len(rest) == (4 * done if op == Op.READ else 0)
        return [int.from_bytes(rest[k : k + 4], "little") for k in range(0, len(rest), 4)]

    def errors(self) -> int:
        return int(self.dut.errors.value)

    def random_words(self, count: int) -> list[int]:
        """Words with many bytes that must be escaped, and their neighbours."""
        choices = (0, 0x7D7E7D7E, 0x007E007D, 0x5E7D5D7D, 0x7F7C3E3D, 0x7E000000)
        return [self.random.choice([*choices, self.random.getrandbits(32)]) for _ in range(count)]

    async def still_answers(self):
        words = self.random_words(3)
        await self.ask(Op.WRITE, Space.WEIGHTS, 0x050000, 3, words)
        assert await self.ask(Op.READ, Space.WEIGHTS, 0x050000, 3) == words


@pytest.mark.simulated
@pytest.mark.parametrize(
    "given",
    [{}, {"delay": 5}, {"delay": 3, "idle": 0.5, "stall": 0.5}, {"stall": 0.9}],
    ids=["at_once", "slow_bus", "all_slow", "slow_output"],
)
def test_reads_and_writes(given):
    return Row(link(), reads_and_writes, given)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def reads_and_writes(dut):
    peer = Peer(dut)
    await peer.start()
    for count in (1, 2, 3, 17, 64, MAX_WRITE - 1, MAX_WRITE):
        for space in Space:
            address = peer.random.randrange(1 << 16, 1 << 23)
            words = peer.random_words(count)
            peer.bus.accesses.clear()
            await peer.ask(Op.WRITE, space, address, count, words)
            expected = [(space, address + k, 1) for k in range(count)]
            assert peer.bus.accesses == expected
            assert [peer.bus.words[space, address + k] for k in range(count)] == words
            assert await peer.ask(Op.READ, space, address, count) == words
    for word in (0, 0x7E7E7E7E, 0x7D7D7D7D):
        words = [word] * MAX_WRITE
        await peer.ask(Op.WRITE, Space.SAMPLES, 0, MAX_WRITE, words)
        assert await peer.ask(Op.READ, Space.SAMPLES, 0, MAX_WRITE) == words
    longest = peer.random_words(MAX_READ)
    for start in range(0, MAX_READ, 51):
        await peer.ask(Op.WRITE, Space.SAMPLES, start, 51, longest[start : start + 51])
    assert await peer.ask(Op.READ, Space.SAMPLES, 0, MAX_READ) == longest
    assert peer.errors() == 0


@pytest.mark.simulated
def test_stops_at_the_first_word_that_is_refused():
    return Row(link(), stops_at_refused_word, {"delay": 2})


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def stops_at_refused_word(dut):
    peer = Peer(dut)
    await peer.start()
    words = [1, 2, 3, 4, 5]
    start = REFUSED_ADDRESS - 3
    for op in (Op.READ, Op.WRITE):
        peer.bus.words.update({(Space.WEIGHTS, start + k): 7 + k for k in range(3)})
        peer.bus.accesses.clear()
        given = words if op == Op.WRITE else ()
        got = await peer.ask(op, Space.WEIGHTS, start, 5, given, expect=Status.BAD_ADDRESS, done=3)
        assert got == ([7, 8, 9] if op == Op.READ else [])
        assert len(peer.bus.accesses) == 4
        await peer.ask(op, 0, REFUSED_ADDRESS + 1, 1, given[:1], expect=Status.BUSY, done=0)
    await peer.still_answers()


@pytest.mark.simulated
def test_refuses_what_it_does_not_know():
    return Row(link(), bad_requests)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def bad_requests(dut):
    peer = Peer(dut)
    await peer.start()
    cases = {
        "op 0": request(9, 0, 0, 0, 1),
        "op 3": request(9, 3, 0, 0, 1, [0]),
        "op 0x81": request(9, 0x81, 0, 0, 1),
        "space 6": request(9, Op.READ, max(Space) + 1, 0, 1),
        "space 0x80": request(9, Op.READ, 0x80, 0, 1),
        "count 0": request(9, Op.READ, 0, 0, 0),
        "count 0, write": request(9, Op.WRITE, 0, 0, 0),
        "count 129, a word": request(9, Op.WRITE, 0, 0, 129, [0]),
        "count 255, no word": request(9, Op.WRITE, 0, 0, 255),
        "count 255, most words": request(9, Op.WRITE, 0, 0, 255, [0] * MAX_WRITE),
        "word missing": request(9, Op.WRITE, 0, 0, 3, [1, 2]),
        "word too many": request(9, Op.WRITE, 0, 0, 3, [1, 2, 3, 4]),
        "read with words": request(9, Op.READ, 0, 0, 1, [1]),
        "last byte not zero": request(9, Op.READ, 0, 0, 1, zero=1),
        "byte too many": frame(bytes([9, Op.WRITE, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5])),
        "most bytes": frame(bytes([9, Op.READ, 0, 1, 0, 0, 0, 0]) + bytes(FRAME_MAX - 12)),
    }
    for name, data in cases.items():
        cocotb.start_soon(peer.send(data))
        reply = await with_timeout(peer.reply(), 100, "us")
        sent = plain(data[:-1])
        assert reply == bytes([9, sent[1], Status.BAD_REQUEST, sent[3]]), name
    assert peer.bus.accesses == []
    assert peer.errors() == 0
    await peer.still_answers()


@pytest.mark.simulated
def test_drops_damaged_frames():
    return Row(link(), damaged)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def damaged(dut):
    peer = Peer(dut)
    await peer.start()
    good = request(1, Op.WRITE, Space.WEIGHTS, 5, 2, [0x12003400, 0xFFFFFFFF])
    header = bytes([1, Op.WRITE, 0, 1, 0, 0, 0, 0])
    longest = bytes([1, Op.WRITE, 0, MAX_WRITE, 0, 0, 0, 0]) + b"\x11" * (4 * MAX_WRITE)
    cases = {
        "a byte behind the CRC of the longest": escaped(
            longest + zlib.crc32(longest).to_bytes(4, "little") + b"\x01"
        ),
        "bad CRC": frame(header + b"abcd", crc=zlib.crc32(header + b"abcd") ^ 1),
        "CRC in the other order": escaped(
            header + b"abcd" + zlib.crc32(header + b"abcd").to_bytes(4, "big")
        ),
        "cut short": good[:-3] + b"\x7e",
        "start missing": good[2:],
        "one byte": b"\x01\x7e",
        "only an escape": b"\x7d\x7e",
        "an escape at the end": good[:-1] + b"\x7d\x7e",
        "eleven bytes, CRC right": frame(header[:7]),
        "a byte too many, CRC right": frame(header + bytes(FRAME_MAX - 11)),
        "600 bytes, CRC right": frame(header + b"\x11" * 600),
        "a half more than a request": frame(header + bytes(FRAME_MAX)),
        "a buffer more than a request": frame(header + bytes(2 * FRAME_MAX)),
    }
    for bit in range(8 * (len(good) - 1)):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        if 0x7E not in changed[:-1]:
            cases[f"bit {bit} changed"] = bytes(changed)
    for number, (name, data) in enumerate(cases.items(), 1):
        await with_timeout(peer.send(data), 100, "us")
        await FallingEdge(dut.clk)
        assert peer.errors() == number, name
    assert peer.bus.accesses == []
    # Flags alone are no frames.
    await peer.send(b"\x7e" * 10)
    assert peer.errors() == len(cases)
    await peer.still_answers()


@pytest.mark.simulated
@pytest.mark.parametrize("seed", [1, 2])
def test_survives_garbage(seed):
    return Row(link(), garbage, {"delay": 2}, seed=seed)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def garbage(dut):
    peer = Peer(dut)
    await peer.start()
    for _ in range(25):
        data = bytearray(peer.random.randbytes(peer.random.randint(1, 1300)))
        for _ in range(peer.random.randint(0, 12)):
            data[peer.random.randrange(len(data))] = peer.random.choice(b"\x7d\x7e")
        await with_timeout(peer.send(bytes(data) + b"\x7e"), 200, "us")
        assert peer.bus.accesses == []
        await peer.still_answers()
        peer.bus.accesses.clear()


@pytest.mark.simulated
def test_two_requests_under_way():
    return Row(link(), two_under_way, {"delay": 1, "stall": 0.6})


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def two_under_way(dut):
    """The second request arrives while the first is answered, a third is held back."""
    peer = Peer(dut)
    await peer.start()
    words = [peer.random_words(MAX_WRITE) for _ in range(6)]
    frames = []
    for number, block in enumerate(words):
        address = number * MAX_WRITE
        frames.append(request(2 * number, Op.WRITE, Space.WEIGHTS, address, MAX_WRITE, block))
        frames.append(request(2 * number + 1, Op.READ, Space.WEIGHTS, address, MAX_WRITE))
    cocotb.start_soon(peer.send(b"".join(frames)))
    for number, block in enumerate(words):
        wrote = await with_timeout(peer.reply(), 200, "us")
        assert wrote == bytes([2 * number, Op.WRITE, Status.OK, 0])
        read = await with_timeout(peer.reply(), 200, "us")
        assert read[:2] == bytes([2 * number + 1, Op.READ])
        assert read[2:] == bytes(words_to_bytes(block)) + bytes([Status.OK, 0])
    assert peer.errors() == 0


@pytest.mark.simulated
def test_latency_is_what_the_docstring_says():
    return Row(link(), latency)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def latency(dut):
    peer = Peer(dut)
    await start_clock(dut)
    dut.bus__ack.value = 1  # a responder that answers in the same clock
    dut.o__ready.value = 1
    for op, count, first, per_word in (
        (Op.READ, 1, 37, 41),
        (Op.READ, 3, 37, 41),
        (Op.WRITE, 1, 42, 6),
        (Op.WRITE, 2, 42, 6),
    ):
        words = range(1, 1 + count) if op == Op.WRITE else ()
        await peer.send(request(1, op, 0, 0, count, words))
        # send() returns half a clock after the flag was taken.
        strobes, offers, clock, byte = [], [], 0, None
        while byte != 0x7E:
            await ReadOnly()
            clock += 1
            if int(dut.bus__strobe.value):
                strobes.append(clock)
            if int(dut.o__valid.value):
                byte = int(dut.o__payload.value)
                offers.append(clock)
            await FallingEdge(dut.clk)
        assert strobes == [first + per_word * k for k in range(count)]
        expected = [11, 21]
        if op == Op.READ:
            expected += [strobe + 2 + 10 * k for strobe in strobes for k in range(4)]
            expected += [expected[-1] + 10 * k for k in range(1, 7)]
        else:
            expected += [strobes[-1] + 2 + 10 * k for k in range(6)]
        expected.append(expected[-1] + 9)  # the flag
        assert offers == expected


BYTE_CLOCKS = 40
"""A byte on the wire at 4 clocks per bit, the fewest that the UART allows."""


@pytest.mark.simulated
@pytest.mark.parametrize(
    ("name", "delay"), [("takes_writes_at_the_wires_rate", 2), ("reads_at_the_wires_rate", 6)]
)
def test_keeps_up_with_the_wire(name, delay):
    # The slowest that rtl.system.control answers: a weight that is read, one that is written.
    return Row(link(), globals()[name], {"delay": delay})


async def at_wire_rate(dut, data: bytes) -> None:
    """A byte whenever the UART would have one; it has room for no more."""
    for place, byte in enumerate(data):
        dut.i__payload.value, dut.i__valid.value = byte, 1
        for clock in range(BYTE_CLOCKS):
            await ReadOnly()
            taken = int(dut.i__valid.value) and int(dut.i__ready.value)
            await FallingEdge(dut.clk)
            if taken:
                dut.i__valid.value = 0
            assert int(dut.i__valid.value) == 0 or clock < BYTE_CLOCKS - 1, f"byte {place} is lost"


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def takes_writes_at_the_wires_rate(dut):
    """However many without waiting for replies, where none is overtaken by much shorter ones."""
    peer = Peer(dut)
    await peer.start()
    eighth = -(-MAX_WRITE // SHORTER)
    counts = [*[MAX_WRITE] * 3, eighth, 1, *[1] * 12, 8, MAX_WRITE, eighth, MAX_WRITE, eighth, 1, 1]
    data, expected = bytearray(), {}
    for number, count in enumerate(counts):
        words = peer.random_words(count)
        # Replies with as many escapes as there can be, requests with none.
        seq, address = peer.random.choice((0x7D, 0x7E)), number << 8
        data += request(seq, Op.WRITE, Space.WEIGHTS, address, count, words)
        expected |= {(Space.WEIGHTS, address + k): word for k, word in enumerate(words)}
    sender = cocotb.start_soon(at_wire_rate(dut, bytes(data)))
    flags = 0
    while flags < len(counts):
        dut.o__ready.value = 1
        await ReadOnly()
        took, byte = int(dut.o__valid.value), int(dut.o__payload.value)
        await FallingEdge(dut.clk)
        if took:
            flags += byte == 0x7E
            dut.o__ready.value = 0
            for _ in range(BYTE_CLOCKS - 1):
                await FallingEdge(dut.clk)
    await sender
    assert peer.errors() == 0
    assert peer.bus.words == expected


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def reads_at_the_wires_rate(dut):
    """With two under way the next byte is always there when the wire takes one."""
    peer = Peer(dut)
    await peer.start()
    words = peer.random_words(MAX_READ)
    peer.bus.words = {(Space.SAMPLES, k): word for k, word in enumerate(words)}
    await peer.send(request(1, Op.READ, Space.SAMPLES, 0, MAX_READ))
    await peer.send(request(2, Op.READ, Space.SAMPLES, 0, MAX_READ))
    got, idle = bytearray(), 0
    while got.count(b"\x7e") < 2:
        dut.o__ready.value = 1
        await ReadOnly()
        offered, byte = int(dut.o__valid.value), int(dut.o__payload.value)
        await FallingEdge(dut.clk)
        dut.o__ready.value = 0
        if offered:
            got.append(byte)
        else:
            idle += 1
        for _ in range(BYTE_CLOCKS - 1):
            await FallingEdge(dut.clk)
    assert idle <= 3, "the first byte comes late, and perhaps that of the second reply"
    for number, reply in enumerate(bytes(got).split(b"\x7e")[:2], 1):
        body = plain(reply)
        assert body[:2] == bytes([number, Op.READ])
        assert body[2:-6] == bytes(words_to_bytes(words))
