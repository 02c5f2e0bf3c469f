"""Small parts of the spatial core: delays, sums and the host's way to the weights."""

from __future__ import annotations

import itertools

import cocotb
import pytest
from amaranth import Module, Shape, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import rng
from cocotb_tests.support.side_by_side import Part, SideBySide, together
from cocotb_tests.support.streams import receive, send, start_clock
from cocotb_tests.support.values import as_signed, network_of, spread
from mgd.golden_model.network import signed_bits
from mgd.rtl.interface import packed_fields, weight_request_layout
from mgd.rtl.lib.adder_tree import add_tree, tree_latency
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.delay_line import LEAST, DelayLine
from mgd.rtl.lib.wide_sum import PART, Total
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.weight_ring import TURN, WeightRing

DELAYS = {f"delay_{clocks}": clocks for clocks in (0, 1, LEAST - 1, LEAST, LEAST + 1, 9, 64, 65)}
TOTALS = {"one_part": (5, PART), "two_parts": (20, 40), "three_parts": (PART + 6, 2 * PART + 7)}
TREES = {
    "one": [signed(5)],
    "two": [unsigned(1), signed(9)],
    "four": [signed(16)] * 4,
    "five": [signed(3), unsigned(7), signed(12), unsigned(12), signed(1)],
    "sixteen": [unsigned(1)] * 16,
    "seventeen": [signed(8)] * 17,
}
RING_PORTS = ("busy", "request", "reply", "written", "return_home", "home")
RINGS = {"ring_nine": (2, 2, 1), "ring_two": (1, 1)}


class Tree(wiring.Component):
    """add_tree with pins."""

    def __init__(self, shapes: list[Shape]) -> None:
        self.shapes = shapes
        self.low = sum(-(1 << s.width - 1) if s.signed else 0 for s in shapes)
        self.high = sum((1 << s.width - s.signed) - 1 for s in shapes)
        self.bits = signed_bits(self.low, self.high)
        pins = {f"term_{k}": In(shape) for k, shape in enumerate(shapes)}
        super().__init__({**pins, "total": Out(signed(self.bits))})

    def elaborate(self, platform):
        m = Module()
        terms = [getattr(self, f"term_{k}") for k in range(len(self.shapes))]
        m.d.comb += self.total.eq(add_tree(m, terms, self.bits))
        return m


class Ring(wiring.Component):
    """A WeightRing with the weights that it turns."""

    def __init__(self, config: SpatialConfig) -> None:
        self.config = config
        members = WeightRing(config).signature.members
        super().__init__({name: members[name] for name in RING_PORTS})

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = WeightRing(self.config)
        bits = signed(self.config.network.weight_bits)
        weights = [Signal(bits, name=f"w_{k}") for k in range(self.config.lane_words)]
        # As far away as those of the core.
        turn = delayed(m, ring.turns, 2)
        with m.If(turn):
            m.d.sync += [
                a.eq(b) for a, b in zip(weights, [*weights[1:], ring.entering], strict=True)
            ]
        m.d.comb += [
            ring.leaving.eq(weights[0]),
            ring.busy.eq(self.busy),
            ring.return_home.eq(self.return_home),
            self.home.eq(ring.home),
            self.written.eq(ring.written),
        ]
        wiring.connect(m, wiring.flipped(self.request), ring.request)
        wiring.connect(m, ring.reply, wiring.flipped(self.reply))
        return m


def ring_config(name: str) -> SpatialConfig:
    return SpatialConfig(network_of({"layers": RINGS[name]}), True, True, 0, 0, 0)


@pytest.mark.simulated
def test_parts():
    parts = {
        **{name: DelayLine(13, clocks) for name, clocks in DELAYS.items()},
        **{name: Total(*widths) for name, widths in TOTALS.items()},
        **{name: Tree(shapes) for name, shapes in TREES.items()},
        **{name: Ring(ring_config(name)) for name in RINGS},
    }
    return Row(SideBySide(parts), do_what_they_say, seed=8)


@pytest.mark.parametrize(
    ("terms", "clocks"), [(1, 1), (2, 1), (4, 1), (5, 2), (16, 2), (17, 3), (64, 3), (65, 4)]
)
def test_tree_latency(terms, clocks):
    """Two levels of adders between two registers."""
    assert tree_latency(terms) == clocks


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def do_what_they_say(dut):
    await start_clock(dut)
    await together(
        *(delay(Part(dut, name), name) for name in DELAYS),
        *(total(Part(dut, name), name) for name in TOTALS),
        *(tree(Part(dut, name), name) for name in TREES),
        *(ring(Part(dut, name), name) for name in RINGS),
    )


async def delay(dut, name: str) -> None:
    random, clocks, given = rng(), DELAYS[name], []
    for clock in range(400):
        given.append(random.getrandbits(13))
        dut.i.value = given[-1]
        await ReadOnly()
        if clock >= clocks:
            assert int(dut.o.value) == given[-1 - clocks], f"{name}, clock {clock}"
        await FallingEdge(dut.clk)


async def total(dut, name: str) -> None:
    random, (term_bits, bits) = rng(), TOTALS[name]
    parts = Total.latency_of(bits)
    assert parts == int({"one": 1, "two": 2, "three": 3}[name.split("_")[0]])
    largest = (1 << term_bits) - 1
    for ends in (False, True, False):
        dut.clear.value = 1
        await FallingEdge(dut.clk)
        dut.clear.value, wanted = 0, 0
        for _ in range(120):
            term = random.choice((0, largest, largest, spread(random, 0, largest)))
            term = largest if ends else term
            dut.term.value = term
            wanted += term
            await FallingEdge(dut.clk)
        dut.term.value = 0
        for _ in range(parts - 1):
            await FallingEdge(dut.clk)
        await ReadOnly()
        assert int(dut.total.value) == wanted % (1 << bits), name
        await FallingEdge(dut.clk)


async def tree(dut, name: str) -> None:
    random, shapes = rng(), TREES[name]
    latency, expected = tree_latency(len(shapes)), []
    low = [-(1 << s.width - 1) if s.signed else 0 for s in shapes]
    high = [(1 << s.width - s.signed) - 1 for s in shapes]
    for clock in range(150):
        kind = random.random()
        values = [
            b if kind < 0.1 else a if kind < 0.2 else spread(random, a, b)
            for a, b in zip(low, high, strict=True)
        ]
        expected.append(sum(values))
        for k, value in enumerate(values):
            getattr(dut, f"term_{k}").value = value & ((1 << shapes[k].width) - 1)
        await ReadOnly()
        if clock >= latency:
            got = as_signed(int(dut.total.value), Tree(shapes).bits)
            assert got == expected[clock - latency], f"{name}, clock {clock}"
        await FallingEdge(dut.clk)


async def ring(dut, name: str) -> None:
    """Weights as a memory; how long an access takes; when none is taken."""
    config, random = ring_config(name), rng()
    layout, net = weight_request_layout(config), config.network
    words = [0] * config.lane_words
    written = place = 0

    async def count_written():
        nonlocal written
        while True:
            await ReadOnly()
            written += int(dut.written.value)
            await FallingEdge(dut.clk)

    cocotb.start_soon(count_written())
    accesses = [(1, word) for word in range(len(words))]
    accesses += [(random.getrandbits(1), random.randrange(len(words))) for _ in range(30)]
    accesses += [(0, word) for word in range(len(words))]
    for write, word in accesses:
        if random.random() < 0.2:
            # As before a command: all weights go back to their places.
            dut.return_home.value, dut.request__valid.value = 1, 1
            spent, at_home = -1, 0
            while not at_home:
                await ReadOnly()
                at_home = int(dut.home.value)
                assert not int(dut.request__ready.value), "not while the ring returns"
                await FallingEdge(dut.clk)
                spent += 1
            turned = TURN * (-place % len(words))
            assert turned <= spent <= (turned + 4 if place else 1), f"{name}: to return"
            dut.return_home.value = dut.request__valid.value = place = 0
        value = spread(random, net.weight_min, net.weight_max)
        if random.random() < 0.3:
            dut.busy.value, dut.request__valid.value = 1, 1
            for _ in range(3):
                await ReadOnly()
                assert not int(dut.request__ready.value), "not while the core is busy"
                await FallingEdge(dut.clk)
            dut.busy.value = dut.request__valid.value = 0
        before = written
        request = packed_fields(layout, word=word, write=write, data=value)
        await send(dut, "request", [request], rng=random)
        dut.request__payload.value = random.getrandbits(len(dut.request__payload))
        # send() returns a clock after the request was taken.
        for clocks in itertools.count(1):
            await ReadOnly()
            ready, answered = int(dut.request__ready.value), int(dut.reply__valid.value)
            await FallingEdge(dut.clk)
            if ready or answered:
                break
            assert clocks < 200
        turns = (word - place) % len(words)
        assert clocks == TURN * turns + (7 if write else 3), f"{name}: clocks of an access"
        place = (word + write) % len(words)
        if write:
            words[word] = value
            assert written > before
        else:
            assert answered
            dut.request__valid.value = 1
            await ReadOnly()
            assert not int(dut.request__ready.value), "a reply that waits is not lost"
            await FallingEdge(dut.clk)
            dut.request__valid.value = 0
            (got,) = await receive(dut, "reply", 1, stall=0.5, rng=random)
            assert as_signed(got, net.weight_bits) == words[word], f"{name}, word {word}"
            assert written == before, "reading is not writing"
