"""rtl.spatial.countdown: a count in halves against a number."""

from __future__ import annotations

import random

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator

from mgd.rtl.interface import STEP_BITS
from mgd.rtl.spatial.countdown import NIBBLE, Countdown

HALF = 1 << STEP_BITS // 2
COUNT_BITS = 24


def run(target: int, step: int, count: int, training: int, bench) -> None:
    """A Countdown with these numbers at its inputs; `bench` is called behind `begin`."""
    m = Module()
    target_in, step_in = Signal(STEP_BITS, init=target), Signal(STEP_BITS, init=step)
    begin, one = Signal(), Signal()
    left = Countdown(m, target_in, step_in, Signal(COUNT_BITS, init=count))
    left.follow(m, one)
    with m.If(begin):
        left.begin(m, Signal(init=training))

    async def process(ctx):
        await ctx.tick()
        assert ctx.get(left.none) == (step >= target)
        assert ctx.get(left.any_asked) == (count != 0)
        await ctx.tick()
        ctx.set(begin, 1)
        await ctx.tick()
        ctx.set(begin, 0)
        await bench(ctx, left, one)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()


STEPS = [
    *((1, 0), (5, 0), (1 << NIBBLE, 0), ((1 << NIBBLE) + 1, 0), (300, 17)),
    # A borrow between the halves, in the difference and while it counts.
    *(
        (HALF + 40, HALF - 3),
        (7 * HALF, 7 * HALF - 90),
        ((1 << STEP_BITS) - 1, (1 << STEP_BITS) - 50),
    ),
]


@pytest.mark.parametrize(("target", "step"), STEPS)
@pytest.mark.parametrize("training", [0, 1])
def test_the_last_one(target, step, training):
    """In every clock or with gaps; what is not asked for is another number."""
    draw = random.Random(target)
    number = target - step
    other = draw.randrange(1 << COUNT_BITS)

    async def bench(ctx, left, one):
        to_come = number
        while to_come:
            assert ctx.get(left.last) == (to_come == 1), to_come
            goes = draw.random() < 0.8
            ctx.set(one, goes)
            to_come -= goes
            await ctx.tick()

    if training:
        run(target, step, other, 1, bench)
    else:
        run(other, draw.randrange(other + 1), number, 0, bench)


def test_more_than_a_half():
    """The lower half goes through 0 and the upper one follows."""

    async def bench(ctx, left, one):
        ctx.set(one, 1)
        clocks = 1
        while not ctx.get(left.last):
            await ctx.tick()
            clocks += 1
            assert clocks <= HALF + 2
        assert clocks == HALF + 2

    run(HALF + 2, 0, 0, 1, bench)


@pytest.mark.parametrize(
    ("target", "step"),
    [
        *((0, 0), (9, 9), (9, 8), (8, 9), (HALF, HALF - 1), (HALF - 1, HALF), (3 * HALF, 3 * HALF)),
        *((3 * HALF, 2 * HALF + 5), (2 * HALF + 5, 3 * HALF), (HALF << 9, HALF << 8)),
        *((HALF << 8, HALF << 9), ((HALF << 8) + 7, (HALF << 8) + 7), (0, (1 << STEP_BITS) - 1)),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 1 << NIBBLE, 1 << 12, 1 << (COUNT_BITS - 1)])
def test_none(target, step, count):
    async def bench(ctx, left, one):
        assert ctx.get(left.none) == (step >= target)

    run(target, step, count, 1, bench)
