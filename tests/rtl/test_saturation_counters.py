"""rtl.folded.control.saturation_counters against counts in Python."""

from __future__ import annotations

import random

import pytest

from mgd.rtl.folded.control.saturation_counters import SaturationCounters
from tests.support.unit_bench import pulse, simulate

CLOCKS = 200


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_counts(lanes):
    unit, draw = SaturationCounters(lanes), random.Random(lanes)

    async def run(ctx):
        weights = activations = 0
        late = [0, 0]
        for clock in range(CLOCKS):
            clipped, active = draw.getrandbits(lanes), draw.randint(0, lanes)
            written, saturated = draw.getrandbits(1), draw.getrandbits(1)
            ctx.set(unit.clipped, clipped)
            ctx.set(unit.active, active)
            ctx.set(unit.written, written)
            ctx.set(unit.activation_saturated, saturated)
            await ctx.tick()
            # Two clocks behind `written`: what this clock adds is not there yet.
            late = [late[1], written * (clipped & ((1 << active) - 1)).bit_count()]
            weights += late[0]
            activations += saturated
            assert ctx.get(unit.weights) == weights, clock
            assert ctx.get(unit.activations) == activations, clock
        assert weights > CLOCKS // 16  # an eighth of the clocks with one lane

    simulate(unit, run)


def test_restart_begins_anew():
    unit = SaturationCounters(2)

    async def run(ctx):
        for signal, value in ((unit.clipped, 3), (unit.active, 2)):
            ctx.set(signal, value)
        for _ in range(4):
            await pulse(ctx, unit.written, unit.activation_saturated)
        await ctx.tick()
        assert (ctx.get(unit.weights), ctx.get(unit.activations)) == (8, 4)
        await pulse(ctx, unit.restart)
        assert (ctx.get(unit.weights), ctx.get(unit.activations)) == (0, 0)
        await pulse(ctx, unit.written, unit.activation_saturated)
        await ctx.tick()
        assert (ctx.get(unit.weights), ctx.get(unit.activations)) == (2, 1)

    simulate(unit, run)
