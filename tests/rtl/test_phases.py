"""rtl.folded.control.phases against the step's number modulo each time constant."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Const

from mgd.golden_model.network import Network
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.control.phases import Phases
from tests.support.unit_bench import pulse, simulate

STEPS = 60
PLAIN = Network((2, 2))
WINDOWS = Network((2, 2), accumulators=True, tau_theta_max=64)


@pytest.mark.parametrize("taus", [(1, 1, 1), (2, 3, 5), (7, 1, 64), (20, 59, 4)])
def test_a_period_ends_with_every_tau_th_step(taus):
    unit, gaps = Phases(CoreConfig(WINDOWS, 1)), random.Random(1)
    results = unit.last_of_sample, unit.last_of_draw, unit.changes_weights

    async def run(ctx):
        for signal, tau in zip((unit.tau_x, unit.tau_p, unit.tau_theta), taus, strict=True):
            ctx.set(signal, tau)
        # The second run begins within the periods of the first.
        for steps in (STEPS, 3):
            await pulse(ctx, unit.restart)
            for step in range(1, steps + 1):
                await ctx.tick()
                expected = [int(step % tau == 0) for tau in taus]
                assert [ctx.get(signal) for signal in results] == expected, step
                for _ in range(gaps.randrange(3)):
                    await ctx.tick()
                await pulse(ctx, unit.step)

    simulate(unit, run)


def test_the_longest_period():
    unit = Phases(CoreConfig(WINDOWS, 1))

    async def run(ctx):
        ctx.set(unit.tau_theta, WINDOWS.tau_theta_max)
        await pulse(ctx, unit.restart)
        for step in range(1, WINDOWS.tau_theta_max + 1):
            await ctx.tick()
            assert ctx.get(unit.changes_weights) == (step == WINDOWS.tau_theta_max)
            await pulse(ctx, unit.step)

    simulate(unit, run)


def test_without_accumulators_every_step_changes_weights():
    unit = Phases(CoreConfig(PLAIN, 1))
    m = unit.elaborate(None)
    assert isinstance(unit._ends(m, unit.tau_theta, PLAIN.tau_theta_max, "tau_theta"), Const)

    async def run(ctx):
        ctx.set(unit.tau_theta, 1)
        await pulse(ctx, unit.restart)
        for _ in range(5):
            assert ctx.get(unit.changes_weights) == 1
            await pulse(ctx, unit.step)

    simulate(unit, run)
