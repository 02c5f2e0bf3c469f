"""rtl.folded.control.sample_buffers: which sample each buffer holds, and where it must be."""

from __future__ import annotations

import random

from mgd.golden_model.network import Network
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.control.sample_buffers import SampleBuffers
from tests.support.unit_bench import pulse, simulate

CONFIG = CoreConfig(Network((2, 3, 4)), 1)
CLASSES = CONFIG.network.classes
SAMPLES = 60


class Bench:
    """Loads samples, numbered from 0, whose label is their number modulo CLASSES."""

    def __init__(self, ctx, unit: SampleBuffers) -> None:
        self.ctx, self.unit = ctx, unit
        self.held: dict[int, int] = {}
        """The sample in each buffer."""
        self.loaded = -1

    async def begin(self, request) -> int:
        """Load a sample and put it in use; returns its number."""
        self.loaded += 1
        self.held[self.ctx.get(self.unit.sample_next)] = self.loaded
        self.ctx.set(self.unit.next_label, self.loaded % CLASSES)
        await pulse(self.ctx, request)
        self.ctx.set(self.unit.next_label, 0)
        return self.loaded

    def check(self, current: int, previous: int | None = None) -> None:
        unit, get = self.unit, self.ctx.get
        assert self.held[get(unit.sample_current)] == current
        assert get(unit.label) == current % CLASSES
        assert get(unit.sample_next) != get(unit.sample_current)
        if previous is not None:
            assert self.held[get(unit.sample_previous)] == previous
            assert get(unit.sample_next) != get(unit.sample_previous)


def test_training_keeps_the_sample_of_the_step_before():
    unit, choice = SampleBuffers(CONFIG), random.Random(2)

    async def run(ctx):
        bench, used = Bench(ctx, unit), None
        sample = await bench.begin(unit.train)
        for _ in range(SAMPLES):
            bench.check(sample, used)
            used = sample
            await pulse(ctx, unit.keep)
            bench.check(sample, used)
            if choice.random() < 0.7:  # else a step with the same sample
                sample = await bench.begin(unit.train)

    simulate(unit, run)


def test_an_evaluation_leaves_the_training_sample():
    unit = SampleBuffers(CONFIG)

    async def run(ctx):
        bench = Bench(ctx, unit)
        for evaluations in (0, 1, 2, 3, 5):
            trained = await bench.begin(unit.train)
            bench.check(trained)
            ctx.set(unit.evaluating, 1)
            for _ in range(evaluations):
                bench.check(await bench.begin(unit.evaluate))
            ctx.set(unit.evaluating, 0)
            bench.check(trained)

    simulate(unit, run)


def test_hidden_activations_trade_places():
    unit = SampleBuffers(CONFIG)

    async def run(ctx):
        for _ in range(3):
            written = ctx.get(unit.hidden_current)
            await pulse(ctx, unit.keep)
            assert ctx.get(unit.hidden_previous) == written
            await pulse(ctx, unit.switch_hidden)
            assert ctx.get(unit.hidden_current) == 1 - written
            assert ctx.get(unit.hidden_previous) == written
            ctx.set(unit.evaluating, 1)
            assert ctx.get(unit.hidden_current) == written
            ctx.set(unit.evaluating, 0)

    simulate(unit, run)
