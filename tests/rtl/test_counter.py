"""rtl.lib.counter against plain addition, in Amaranth's own simulator."""

from __future__ import annotations

import random

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator

from mgd.rtl.lib.counter import PART_BITS, accumulated

CLOCKS = 400


@pytest.mark.parametrize("bits", [8, PART_BITS, PART_BITS + 1, 48])
@pytest.mark.parametrize("added_bits", [1, 7, PART_BITS])
def test_equals_a_sum(bits, added_bits):
    m, source = Module(), random.Random(bits)
    added, enable, clear = Signal(added_bits), Signal(), Signal()
    number = accumulated(m, bits, added, enable=enable, clear=clear)
    shown = Signal(bits)
    m.d.comb += shown.eq(number)
    carries = 0

    async def run(ctx):
        nonlocal carries
        wanted = 0
        for clock in range(CLOCKS):
            # Few clear it, and mostly the largest numbers are added, so that it goes far.
            value = source.choice(((1 << added_bits) - 1, source.getrandbits(added_bits)))
            adds, clears = source.random() < 0.8, source.random() < 0.01 or not clock
            ctx.set(added, value)
            ctx.set(enable, adds)
            ctx.set(clear, clears)
            await ctx.tick()
            before, wanted = wanted, 0 if clears else (wanted + adds * value) % (1 << bits)
            carries += wanted >> PART_BITS != before >> PART_BITS
            low = ctx.get(shown) % (1 << PART_BITS)
            assert low == wanted % (1 << PART_BITS), f"clock {clock}"
            if source.random() < 0.5:
                # A clock of nothing later all of it is there.
                ctx.set(enable, 0)
                ctx.set(clear, 0)
                await ctx.tick()
                assert ctx.get(shown) == wanted, f"clock {clock}"

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    if bits > PART_BITS and added_bits == PART_BITS:
        assert carries, "the test must reach the upper part"


def test_may_be_read_in_any_clock_but_for_a_carry():
    """A carry a clock, one after the other: what is shown is behind by the last one alone."""
    m = Module()
    shown = Signal(PART_BITS + 8)
    m.d.comb += shown.eq(accumulated(m, PART_BITS + 8, (1 << PART_BITS) - 1))
    seen = []

    async def run(ctx):
        for _ in range(20):
            await ctx.tick()
            seen.append(ctx.get(shown))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    step = (1 << PART_BITS) - 1
    behind = [n * step - got for n, got in enumerate(seen, start=1)]
    assert set(behind) <= {0, 1 << PART_BITS}
