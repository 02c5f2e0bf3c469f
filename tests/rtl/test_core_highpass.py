"""rtl.units.highpass: every D beside golden_model.update.highpass."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from mgd.golden_model.network import Network
from mgd.golden_model.update import highpass as golden
from mgd.rtl.units.highpass import HighPass

SEED = 9
COSTS = 400
NETWORKS = {
    "cross_entropy": Network((4, 5, 3), cost="cross_entropy", cost_frac=16),
    "mse": Network((2, 1), cost_frac=8, weight_bits=8),
}


def sequences(bound: int, random: np.random.Generator) -> list[np.ndarray]:
    """Noise, small steps, and both ends of the range in turns of any length."""
    steps = np.cumsum(random.integers(-3, 4, COSTS)) + bound // 2
    ends = np.repeat(random.integers(0, 2, COSTS), random.integers(1, 60, COSTS))[:COSTS]
    return [
        random.integers(0, bound + 1, COSTS),
        np.clip(steps, 0, bound),
        ends * bound,
        random.integers(0, 2, COSTS) * bound,
    ]


@pytest.mark.parametrize("exp", [1, 2, 5, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_values(name, exp):
    network, random = NETWORKS[name], np.random.default_rng(SEED)
    unit = HighPass(network, exp)
    compared = 0

    async def run(ctx):
        nonlocal compared
        for costs in sequences(network.cost_bound, random):
            model = golden.HighPass(exp)
            ctx.set(unit.restart, 1)
            await ctx.tick()
            ctx.set(unit.restart, 0)
            for cost in costs:
                ctx.set(unit.cost, int(cost))
                ctx.set(unit.valid, 1)
                for clock in range(HighPass.latency):
                    assert not ctx.get(unit.done) or clock == 0
                    await ctx.tick()
                    ctx.set(unit.valid, 0)
                    ctx.set(unit.cost, int(random.integers(0, network.cost_bound + 1)))
                assert ctx.get(unit.done)
                wanted = int(model.delta(np.array([cost]))[0])
                assert abs(wanted) <= 2 * network.cost_bound
                assert ctx.get(unit.delta) == wanted, (compared, cost)
                compared += 1
                # The next one at once, or later.
                for _ in range(random.integers(0, 3)):
                    await ctx.tick()
                    assert not ctx.get(unit.done)

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    assert compared == 4 * COSTS
