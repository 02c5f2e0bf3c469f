"""rtl.lib.one_hot: a state follows from the ways that lead to it and out of it."""

from __future__ import annotations

import random

from amaranth import Module, Signal
from amaranth.sim import Simulator

from mgd.rtl.lib.one_hot import OneHot

WAYS = {("A", "B"): 0b01, ("A", "C"): 0b10, ("B", "A"): 0b11, ("C", "B"): 0b00}
"""(from, to): the input at which it is gone."""


def test_follows_the_ways():
    m, asked = Module(), Signal(2)
    machine = OneHot(("A", "B", "C", "D"))
    for (start, end), value in WAYS.items():
        machine.go(m, start, end, asked == value)
    machine.go(m, "D", "A")
    machine.connect(m)
    draw = random.Random(1)

    async def process(ctx):
        state = "A"
        for _ in range(300):
            high = [name for name, register in machine.at.items() if ctx.get(register)]
            assert high == [state]
            value = draw.randrange(4)
            ctx.set(asked, value)
            ends = [end for (start, end), at in WAYS.items() if (start, at) == (state, value)]
            state = ends[0] if ends else state
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
