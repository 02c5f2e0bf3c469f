"""rtl.folded.lanes.weight_access, with lanes in Python: a weight each, and an accumulator."""

from __future__ import annotations

import random

import pytest

from mgd.golden_model.network import ACT_FRAC, Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.sum_control import SumControl
from mgd.rtl.folded.lanes.weight_access import WeightAccess
from tests.support.unit_bench import simulate

LANES = 3
NODES = BuildOptions.of(Settings("np", delta_exp=2, eta_exp=5))
CONFIGS = {
    "both_methods": CoreConfig(Network((3, 6, 2)), LANES),
    "nodes_alone": CoreConfig(Network((3, 6, 2)), LANES, variant=NODES),
    "accumulators": CoreConfig(Network((3, 6, 2), accumulators=True), LANES),
}
MOST_CLOCKS = 40
"""Longer than any access."""


class Lanes:
    """The lanes' side, clock by clock."""

    def __init__(self, ctx, unit: WeightAccess) -> None:
        self.ctx, self.unit, self.config = ctx, unit, unit.config
        net = self.config.network
        draw = random.Random(LANES)
        self.weights = [draw.randint(net.weight_min, net.weight_max) for _ in range(LANES)]
        self.gradients = [draw.randint(-100, 100) for _ in range(LANES)]
        self.term = 0
        self.since_read: int | None = None
        self.hidden = [0, 0]
        self.stored: list[int] = []
        """The lanes that took a weight, in order."""

    async def tick(self) -> None:
        """The outputs of a clock, and the inputs that follow from them."""
        ctx, unit, net = self.ctx, self.unit, self.config.network
        for lane in range(LANES):
            if ctx.get(unit.stores) >> lane & 1:
                moved = self.weights[lane] + self.term
                self.weights[lane] = max(net.weight_min, min(moved, net.weight_max))
                self.stored.append(lane)
            if ctx.get(unit.write_gradient) >> lane & 1:
                self.gradients[lane] = ctx.get(unit.request.payload.data)
        self.term = ctx.get(unit.injected_term) if ctx.get(unit.inject) else 0
        if ctx.get(unit.reads_sum):
            self.since_read = 0
        elif self.since_read is not None:
            self.since_read += 1
        # A lane's accumulator shows where it is not hidden; else it is 0.
        shown = 0
        for lane, gradient in enumerate(self.gradients):
            if not ctx.get(unit.hide_gradient) >> lane & 1:
                shown |= gradient
        if net.accumulators:
            ctx.set(unit.gradients, shown)
        await ctx.tick()
        # The ring: the first lane's sum when it is taken, then that of the next lane a clock.
        place = -1 if self.since_read is None else self.since_read + 1 - SumControl.READ_LATENCY
        weight = self.weights[place] if 0 <= place < LANES else 0
        product = (weight << ACT_FRAC) + self.config.sum_start
        ctx.set(unit.sum, product >> self.config.sum_cut)

    async def access(self, **request) -> None:
        """A request, until it is accepted."""
        self.ctx.set(self.unit.request.payload, request)
        self.ctx.set(self.unit.request.valid, 1)
        for _ in range(MOST_CLOCKS):
            accepted = self.ctx.get(self.unit.request.ready)
            await self.tick()
            if accepted:
                break
        else:
            raise AssertionError(f"{request} is not accepted")
        self.ctx.set(self.unit.request.valid, 0)

    async def reply(self) -> int:
        for _ in range(MOST_CLOCKS):
            if self.ctx.get(self.unit.reply.valid):
                break
            await self.tick()
        else:
            raise AssertionError("no reply")
        value = self.ctx.get(self.unit.reply.payload)
        self.ctx.set(self.unit.reply.ready, 1)
        await self.tick()
        self.ctx.set(self.unit.reply.ready, 0)
        return value


@pytest.mark.parametrize("name", CONFIGS)
def test_weights(name):
    unit = WeightAccess(CONFIGS[name])
    net = unit.config.network
    mask = (1 << net.weight_bits) - 1

    async def run(ctx):
        lanes = Lanes(ctx, unit)

        async def read(lane: int) -> int:
            await lanes.access(lane=lane, write=0)
            # A reply may be wider: an accumulator's.  The bits above a weight are 0.
            return await lanes.reply() & ((1 << len(unit.reply.payload)) - 1)

        for lane in (*range(LANES), 0):
            assert await read(lane) == lanes.weights[lane] & mask
        for lane in range(LANES):
            for value in (net.weight_min, net.weight_max, -1, 0, 1, 1234):
                expected = list(lanes.weights)
                expected[lane] = value
                lanes.stored.clear()
                await lanes.access(lane=lane, write=1, data=value)
                await lanes.tick()
                assert lanes.weights == expected
                assert lanes.stored == [lane] * 2
                assert await read(lane) == value & mask

    simulate(unit, run)


def test_accumulators():
    unit = WeightAccess(CONFIGS["accumulators"])

    async def run(ctx):
        lanes = Lanes(ctx, unit)
        weights = list(lanes.weights)
        for lane in range(LANES):
            for value in (-5, 0, 77):
                expected = list(lanes.gradients)
                await lanes.access(lane=lane, accumulator=1, write=0)
                assert await lanes.reply() == lanes.gradients[lane]
                expected[lane] = value
                await lanes.access(lane=lane, accumulator=1, write=1, data=value)
                assert lanes.gradients == expected
        assert lanes.weights == weights
        assert lanes.stored == []

    simulate(unit, run)


@pytest.mark.parametrize("prevents", ["busy", "command_waits"])
def test_what_prevents_an_access(prevents):
    unit = WeightAccess(CONFIGS["both_methods"])

    async def run(ctx):
        lanes = Lanes(ctx, unit)
        ctx.set(getattr(unit, prevents), 1)
        ctx.set(unit.request.payload, {"lane": 1, "write": 1, "data": 3})
        ctx.set(unit.request.valid, 1)
        for _ in range(MOST_CLOCKS):
            assert not ctx.get(unit.access)
            await lanes.tick()
        assert lanes.stored == []
        ctx.set(getattr(unit, prevents), 0)
        await lanes.access(lane=1, write=1, data=3)
        await lanes.tick()
        assert lanes.weights[1] == 3

    simulate(unit, run)


def test_a_command_waits_for_the_end_of_an_access():
    unit = WeightAccess(CONFIGS["both_methods"])

    async def run(ctx):
        lanes = Lanes(ctx, unit)
        ctx.set(unit.request.payload, {"lane": 2, "write": 1, "data": -9})
        ctx.set(unit.request.valid, 1)
        for _ in range(3):
            await lanes.tick()
        assert ctx.get(unit.access)
        ctx.set(unit.command_waits, 1)
        await lanes.access(lane=2, write=1, data=-9)
        await lanes.tick()
        assert lanes.weights[2] == -9
        assert not ctx.get(unit.access)

    simulate(unit, run)
