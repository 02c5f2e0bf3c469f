"""rtl.folded.control.cost_difference: D of random costs, and of both ends of their range."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.control.cost_difference import (
    ContinuousDifference,
    CostDifference,
    difference_kind,
)
from tests.support.unit_bench import pulse, simulate

NETWORK = Network((2, 3, 2), cost_frac=8)
STEPS = 100


def costs(seed: int) -> list[int]:
    draw, bound = random.Random(seed), NETWORK.cost_bound
    return [draw.choice((0, bound, draw.randint(0, bound))) for _ in range(STEPS)]


async def enter(ctx, unit: CostDifference, cost: int, second: int) -> tuple[int, int]:
    """A pass's cost for one clock: `done` and `delta_cost` in that clock."""
    ctx.set(unit.cost, cost)
    ctx.set(unit.second, second)
    ctx.set(unit.valid, 1)
    seen = ctx.get(unit.done), ctx.get(unit.delta_cost)
    await pulse(ctx, unit.valid)
    ctx.set(unit.cost, 0)
    assert not ctx.get(unit.done)
    return seen


@pytest.mark.parametrize("antithetic", [0, 1])
def test_two_passes(antithetic):
    unit = CostDifference(CoreConfig(NETWORK, 1))

    async def run(ctx):
        ctx.set(unit.antithetic, antithetic)
        for first, second in zip(costs(1), costs(2), strict=True):
            done, _ = await enter(ctx, unit, first, 0)
            assert not done
            done, delta = await enter(ctx, unit, second, 1)
            assert done
            assert delta == (first - second if antithetic else 2 * (second - first))

    simulate(unit, run)


def test_a_known_baseline_stays():
    unit = CostDifference(CoreConfig(NETWORK, 1))

    async def run(ctx):
        await enter(ctx, unit, NETWORK.cost_bound, 0)
        for cost in costs(3):
            assert await enter(ctx, unit, cost, 1) == (1, 2 * (cost - NETWORK.cost_bound))

    simulate(unit, run)


def test_the_continuous_form():
    settings = Settings("np", "highpass", delta_exp=2, eta_exp=5)
    config = CoreConfig(NETWORK, 1, variant=BuildOptions.of(settings))
    assert difference_kind(CoreConfig(NETWORK, 1)) is CostDifference
    assert difference_kind(config) is ContinuousDifference
    unit = ContinuousDifference(config)

    async def run(ctx):
        for seed in (4, 5):
            model = unit.model(config.variant.highpass_exp)
            await pulse(ctx, unit.restart)
            for cost in costs(seed):
                ctx.set(unit.cost, cost)
                await pulse(ctx, unit.valid)
                for _ in range(unit.latency - 1):
                    assert not ctx.get(unit.done)
                    await ctx.tick()
                (expected,) = model.delta(np.array([cost]))
                assert (ctx.get(unit.done), ctx.get(unit.delta_cost)) == (1, expected)
                await ctx.tick()

    simulate(unit, run)
