"""rtl.folded.lanes.sum_control: each signal against the token of so many clocks ago."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from mgd.golden_model.network import Network
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.lane import Lane
from mgd.rtl.folded.lanes.sum_control import SumControl
from mgd.rtl.folded.program.token_timing import TokenTiming
from tests.support.unit_bench import pulse, simulate

CLOCKS = 150
CONFIGS = {
    "lanes_8": CoreConfig(Network((4, 9, 3)), 8),
    "lanes_16": CoreConfig(Network((4, 33, 3)), 16),
    "ice40": CoreConfig(Network((4, 9, 3)), 4, memory_register=False),
    "accumulators": CoreConfig(Network((4, 9, 3), accumulators=True), 4),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_tokens(name):
    config, draw = CONFIGS[name], random.Random(name)
    unit, at = SumControl(config), TokenTiming.of(config)
    # rtl.folded.lanes.lane counts from the token's address.
    signs = at.address + Lane.latency_of(config) + config.operand_clocks
    products = signs + 1
    expected: defaultdict[int, dict[str, int]] = defaultdict(dict)

    async def run(ctx):
        ctx.set(unit.busy, 1)
        for clock in range(CLOCKS + at.take + 2):
            valid = draw.random() < 0.7 if clock < CLOCKS else 0
            flush, bias = draw.random() < 0.2, draw.random() < 0.3
            group, passes = draw.randrange(sum(config.groups)), draw.randint(1, 3)
            ctx.set(unit.valid, valid)
            ctx.set(unit.flush, flush)
            ctx.set(unit.token, {"bias": bias, "group": group})
            ctx.set(unit.token_passes, passes)
            added = int(valid and not flush)
            for name, later in (("signs", signs), ("products", products)):
                expected[clock + later][f"{name}.accumulate"] = added
                expected[clock + later + 1][f"{name}.take"] = added & bias
                expected[clock + later + 1][f"{name}.empty"] = added & bias
            expected[clock + at.mac] |= {"bias": int(bias), "mac_group": group}
            expected[clock + at.take] |= {
                "take": added & bias,
                "group": group,
                "pass_mask": passes,
            }
            for signal, value in expected.pop(clock, {}).items():
                unit_or_sum, _, field = signal.partition(".")
                port = getattr(unit, unit_or_sum)
                got = ctx.get(port[field] if field else port)
                assert got == value, (signal, clock)
            await ctx.tick()

    simulate(unit, run)


def test_sums_are_empty_while_idle():
    unit = SumControl(CONFIGS["lanes_8"])

    async def run(ctx):
        for busy in (1, 0, 1):
            ctx.set(unit.busy, busy)
            await ctx.tick()
            for control in (unit.signs, unit.products):
                assert ctx.get(control.empty) == 1 - busy
                assert ctx.get(control.take) == 0

    simulate(unit, run)


def test_the_host_reads_a_product():
    unit = SumControl(CONFIGS["lanes_8"])

    async def run(ctx):
        for _ in range(5):
            await ctx.tick()
        seen = []
        await pulse(ctx, unit.host_reads)
        for _ in range(unit.READ_LATENCY + 2):
            control = unit.products
            seen.append(tuple(ctx.get(control[f]) for f in ("accumulate", "take", "empty")))
            await ctx.tick()
        # Added while it is not emptied; taken in the next clock, and there in the one after.
        assert seen[:2] == [(1, 0, 0), (0, 1, 1)]
        assert seen[2:] == [(0, 0, 1)] * unit.READ_LATENCY

    simulate(unit, run)
