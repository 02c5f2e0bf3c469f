"""rtl.link against the packages `cobs` and `zlib`, and a bus with random delays."""

import zlib

import cocotb
import pytest
from cobs import cobs
from cocotb.triggers import FallingEdge, ReadOnly, with_timeout

from cocotb_tests.runner import CLOCK_NS, params, rng, simulate
from cocotb_tests.streams import receive, send, start_clock, words_to_bytes
from rtl.link import Link
from rtl.protocol import MAX_WORDS, Op, Space, Status

REFUSED_ADDRESS = 0xBAD
"""The bus model answers BAD_ADDRESS here and BUSY at the next one."""


def frame(body: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(body) if crc is None else crc
    return cobs.encode(body + crc.to_bytes(4, "little")) + b"\0"


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
        return tuple(int(getattr(self.dut, f"bus__{name}").value) for name in names)

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
            dut.bus__status.value = self.random.getrandbits(3)
            dut.bus__read_data.value = self.random.getrandbits(32)
            await ReadOnly()
            assert not int(dut.bus__strobe.value)
            await FallingEdge(dut.clk)

    def answer(self, space, address, write, write_data):
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
        while not got or got[-1]:
            got += bytes(await receive(self.dut, "o", 1, stall=self.stall, rng=self.random))
        body = cobs.decode(bytes(got[:-1]))
        assert int.from_bytes(body[-4:], "little") == zlib.crc32(body[:-4])
        return body[:-4]

    async def ask(self, op, space, address, count, words=(), *, expect=Status.OK, done=None):
        """One request; returns the reply's words."""
        self.seq = (self.seq + 1) % 256
        cocotb.start_soon(self.send(request(self.seq, op, space, address, count, words)))
        seq, status, got_op, got_count, *rest = await with_timeout(self.reply(), 200, "us")
        done = count if done is None else done
        assert (seq, status, got_op, got_count) == (self.seq, expect, op, done)
        assert len(rest) == (4 * done if op == Op.READ else 0)
        return [int.from_bytes(rest[k : k + 4], "little") for k in range(0, len(rest), 4)]

    def errors(self) -> int:
        return int(self.dut.errors.value)

    def random_words(self, count: int) -> list[int]:
        """Words with many zero bytes, as COBS has its special case there."""
        choices = (0, 1, 0xFF, 0xFF00FF00, 0x00FF00FF, 0x01000000, self.random.getrandbits(32))
        return [self.random.choice([*choices, self.random.getrandbits(32)]) for _ in range(count)]

    async def still_answers(self):
        words = self.random_words(3)
        await self.ask(Op.WRITE, Space.WEIGHTS, 0x050000, 3, words)
        assert await self.ask(Op.READ, Space.WEIGHTS, 0x050000, 3) == words


@pytest.mark.parametrize(
    "given",
    [{}, {"delay": 5}, {"delay": 3, "idle": 0.5, "stall": 0.5}, {"stall": 0.9}],
    ids=["at_once", "slow_bus", "all_slow", "slow_output"],
)
def test_reads_and_writes(given):
    simulate(Link(), __name__, "reads_and_writes", given)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def reads_and_writes(dut):
    peer = Peer(dut)
    await peer.start()
    for count in (1, 2, 3, 17, MAX_WORDS - 1, MAX_WORDS):
        for space in Space:
            address = peer.random.randrange(1 << 16, 1 << 23)
            words = peer.random_words(count)
            peer.bus.accesses.clear()
            await peer.ask(Op.WRITE, space, address, count, words)
            step = 2 if space == Space.SAMPLES else 1
            expected = [(space, address + k * step, 1) for k in range(count)]
            assert peer.bus.accesses == expected
            assert [peer.bus.words[space, address + k * step] for k in range(count)] == words
            assert await peer.ask(Op.READ, space, address, count) == words
    for words in ([0] * MAX_WORDS, [0xFFFFFFFF] * MAX_WORDS):
        await peer.ask(Op.WRITE, Space.SAMPLES, 0, MAX_WORDS, words)
        assert await peer.ask(Op.READ, Space.SAMPLES, 0, MAX_WORDS) == words
    assert peer.errors() == 0


def test_stops_at_the_first_word_that_is_refused():
    simulate(Link(), __name__, "stops_at_refused_word", {"delay": 2})


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


def test_refuses_what_it_does_not_know():
    simulate(Link(), __name__, "bad_requests")


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def bad_requests(dut):
    peer = Peer(dut)
    await peer.start()
    cases = {
        "op 0": request(9, 0, 0, 0, 1),
        "op 3": request(9, 3, 0, 0, 1, [0]),
        "op 0x81": request(9, 0x81, 0, 0, 1),
        "space 4": request(9, Op.READ, 4, 0, 1),
        "space 8": request(9, Op.READ, 8, 0, 1),
        "count 0": request(9, Op.READ, 0, 0, 0),
        "count 0, write": request(9, Op.WRITE, 0, 0, 0),
        "count 61": request(9, Op.READ, 0, 0, MAX_WORDS + 1),
        "count 65, a word": request(9, Op.WRITE, 0, 0, 65, [0]),
        "word missing": request(9, Op.WRITE, 0, 0, 3, [1, 2]),
        "word too many": request(9, Op.WRITE, 0, 0, 3, [1, 2, 3, 4]),
        "read with words": request(9, Op.READ, 0, 0, 1, [1]),
        "last byte not zero": request(9, Op.READ, 0, 0, 1, zero=1),
        "byte too many": frame(bytes([9, Op.WRITE, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5])),
    }
    for name, data in cases.items():
        cocotb.start_soon(peer.send(data))
        seq, status, op, count = await with_timeout(peer.reply(), 100, "us")
        assert (seq, status, op, count) == (9, Status.BAD_REQUEST, cobs.decode(data[:-1])[1], 0), (
            name
        )
    assert peer.bus.accesses == []
    assert peer.errors() == 0
    await peer.still_answers()


def test_drops_damaged_frames():
    simulate(Link(), __name__, "damaged")


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def damaged(dut):
    peer = Peer(dut)
    await peer.start()
    good = request(1, Op.WRITE, Space.WEIGHTS, 5, 2, [0x12003400, 0xFFFFFFFF])
    header = bytes([1, Op.WRITE, 0, 1, 0, 0, 0, 0])
    longest = bytes([1, Op.WRITE, 0, MAX_WORDS, 0, 0, 0, 0]) + b"\x11" * (4 * MAX_WORDS)
    cases = {
        "a byte behind the CRC of the longest": cobs.encode(
            longest + zlib.crc32(longest).to_bytes(4, "little") + b"\x01"
        )
        + b"\0",
        "bad CRC": frame(header + b"abcd", crc=zlib.crc32(header + b"abcd") ^ 1),
        "CRC in the other order": cobs.encode(
            header + b"abcd" + zlib.crc32(header + b"abcd").to_bytes(4, "big")
        )
        + b"\0",
        "cut short": good[:-3] + b"\0",
        "start missing": good[2:],
        "one byte": b"\x01\0",
        "only a code": b"\x05\0",
        "eleven bytes, CRC right": frame(header[:7]),
        "253 bytes, CRC right": frame(header + bytes(range(1, 242))),
        "a second block, CRC right": frame(header + b"\x11" * 300),
        "256 bytes more than a request": frame(bytes([1, Op.READ, 0, 1, 0, 0, 0, 0]) + bytes(256)),
    }
    for bit in range(8 * (len(good) - 1)):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        if 0 not in changed[:-1]:
            cases[f"bit {bit} changed"] = bytes(changed)
    for number, (name, data) in enumerate(cases.items(), 1):
        await with_timeout(peer.send(data), 100, "us")
        await FallingEdge(dut.clk)
        assert peer.errors() == number, name
    assert peer.bus.accesses == []
    # Zero bytes alone are no frames.
    await peer.send(bytes(10))
    assert peer.errors() == len(cases)
    await peer.still_answers()


@pytest.mark.parametrize("seed", [1, 2])
def test_survives_garbage(seed):
    simulate(Link(), __name__, "garbage", {"delay": 2}, seed=seed)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def garbage(dut):
    peer = Peer(dut)
    await peer.start()
    for _ in range(25):
        data = bytearray(peer.random.randbytes(peer.random.randint(1, 700)))
        for _ in range(peer.random.randint(0, 12)):
            data[peer.random.randrange(len(data))] = 0
        await with_timeout(peer.send(bytes(data) + b"\0"), 100, "us")
        assert peer.bus.accesses == []
        await peer.still_answers()
        peer.bus.accesses.clear()


def test_two_requests_under_way():
    simulate(Link(), __name__, "two_under_way", {"delay": 1, "stall": 0.6})


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def two_under_way(dut):
    """The second request arrives while the first is answered, a third is held back."""
    peer = Peer(dut)
    await peer.start()
    words = [peer.random_words(MAX_WORDS) for _ in range(12)]
    frames = []
    for number, block in enumerate(words):
        address = number * MAX_WORDS
        frames.append(request(2 * number, Op.WRITE, Space.WEIGHTS, address, MAX_WORDS, block))
        frames.append(request(2 * number + 1, Op.READ, Space.WEIGHTS, address, MAX_WORDS))
    cocotb.start_soon(peer.send(b"".join(frames)))
    for number, block in enumerate(words):
        wrote = await with_timeout(peer.reply(), 200, "us")
        assert wrote == bytes([2 * number, Status.OK, Op.WRITE, MAX_WORDS])
        read = await with_timeout(peer.reply(), 200, "us")
        assert read[:4] == bytes([2 * number + 1, Status.OK, Op.READ, MAX_WORDS])
        assert read[4:] == bytes(words_to_bytes(block))
    assert peer.errors() == 0


def test_latency_is_what_the_docstring_says():
    simulate(Link(), __name__, "latency")


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def latency(dut):
    peer = Peer(dut)
    await start_clock(dut)
    dut.bus__ack.value = 1  # a responder that answers in the same clock
    for op, count, to_strobe, to_reply in (
        (Op.READ, 1, 13, 2 * 12 + 8),
        (Op.READ, 3, 13, 2 * 20 + 8),
        (Op.WRITE, 1, 18, 2 * 8 + 4),
        (Op.WRITE, 2, 18, 2 * 8 + 4),
    ):
        words = range(count) if op == Op.WRITE else ()
        await peer.send(request(1, op, 0, 0, count, words))
        # send() returns half a clock after the zero byte was taken.
        strobes, clock = [], 0
        while True:
            await ReadOnly()
            clock += 1
            if int(dut.bus__strobe.value):
                strobes.append(clock)
            if int(dut.o__valid.value):
                break
            await FallingEdge(dut.clk)
        assert strobes[0] == to_strobe, (op, strobes)
        per_word = 5 if op == Op.READ else 6
        assert [b - strobes[0] for b in strobes] == [per_word * k for k in range(count)]
        assert clock - strobes[-1] == to_reply, (op, count, clock - strobes[-1])
        await FallingEdge(dut.clk)
        await with_timeout(peer.reply(), 100 * CLOCK_NS * 10, "ns")
