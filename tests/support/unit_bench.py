"""A single unit in Amaranth's simulator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from amaranth.sim import Simulator


def simulate(unit, process: Callable[[Any], Awaitable[None]]) -> None:
    """Runs `process`, a testbench that takes the simulator's context, to its end."""
    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()


async def pulse(ctx, *signals) -> None:
    """The signals are high for one clock."""
    for signal in signals:
        ctx.set(signal, 1)
    await ctx.tick()
    for signal in signals:
        ctx.set(signal, 0)
