"""Orders of commands that a plain training run does not have, core against golden model."""

from __future__ import annotations

import functools

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge

from cocotb_tests.folded.test_core import CASES, SAMPLES, random_codes
from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import CoreDriver
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.values import config_of
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.protocol.registers import Command
from mgd.rtl.folded.core import FoldedCore
from mgd.rtl.lockstep import Lockstep

SEED = 11
SETTINGS = [
    {"method": "wp", "difference": "forward", "eta_exp": 5, "tau_x": 50, "tau_p": 3},
    {"method": "np", "eta_exp": 4, "rounding": "residual", "tau_theta": 5, "tau_x": 3},
    {
        "method": "np",
        "difference": "forward",
        "eta_exp": 5,
        "rounding": "residual",
        "tau_theta": 7,
        "tau_x": 40,
    },
]


NETWORK, LANES, *_ = CASES["2-2-1_2_lanes"]


@functools.cache
def core() -> FoldedCore:
    """One for all tests."""
    return FoldedCore(config_of({"network": NETWORK, "lanes": LANES}))


@pytest.mark.simulated
@pytest.mark.parametrize(
    "coroutine",
    [
        "evaluates_first",
        "host_writes_weights",
        "host_writes_weights_before_the_flush",
        "starts_again",
        "stops_when_told",
    ],
)
def test_schedule(coroutine):
    given = {"network": NETWORK, "lanes": LANES}
    return Row(core(), globals()[coroutine], given)


class Run:
    """A core and a golden model in lockstep, from INIT on."""

    def __init__(self, dut, fields, driver: CoreDriver | None = None):
        config = config_of(params())
        self.net = config.network
        self.codes, self.labels = random_codes(self.net, SEED)
        self.settings = Settings(**fields, input_shift=14 - self.net.sample_bits)
        self.driver = driver or CoreDriver(dut, config, self.codes, self.labels, rng(), 0.1)

    async def begin(self, seed: int, *, start: bool = True) -> None:
        if start:
            await self.driver.start()
        weights = initial_weights(self.net, seed, gain=2.0)
        self.driver.lockstep = None
        await self.driver.write_weights(weights)
        self.driver.configure(self.settings, seed, eval_count=SAMPLES)
        await self.driver.command(Command.INIT)
        self.trainer = Trainer(
            self.net,
            self.settings,
            self.codes,
            self.labels,
            [w[None] for w in weights],
            [seed],
        )
        self.driver.lockstep = Lockstep(self.driver.config, self.trainer)

    async def evaluate(self) -> None:
        self.driver.evaluations.clear()
        await self.driver.command(Command.EVALUATE)
        correct, cost = self.trainer.evaluate(self.codes, self.labels)
        assert sum(e[0] for e in self.driver.evaluations) == cost[0]
        assert sum(e[2] for e in self.driver.evaluations) == correct[0]
        assert len(self.driver.evaluations) == SAMPLES

    async def finish(self) -> None:
        await self.driver.command(Command.FLUSH)
        assert self.driver.lockstep is not None
        self.driver.lockstep.finish(await self.driver.read_weights())


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def evaluates_first(dut):
    """Before the first step, twice; then the run is as if nothing had been."""
    driver = None
    for number, fields in enumerate(SETTINGS):
        run = Run(dut, fields, driver)
        driver = run.driver
        await run.begin(SEED + number, start=number == 0)
        await run.evaluate()
        clocks = int(dut.train_clocks.value)
        await run.evaluate()
        assert int(dut.train_clocks.value) == clocks == 0
        await run.driver.command(Command.TRAIN, step_target=9)
        assert int(dut.train_clocks.value) > 0
        saturations = int(dut.activation_saturations.value)
        await run.evaluate()
        await run.evaluate()
        assert int(dut.activation_saturations.value) == saturations
        for nothing_left in (9, 4):
            await run.driver.command(Command.TRAIN, step_target=nothing_left)
        assert int(dut.step.value) == 9
        await run.driver.command(Command.TRAIN, step_target=20)
        await run.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def host_writes_weights(dut):
    """Weights written between steps renew C0, though neither sample nor update would."""
    driver = None
    for number, fields in enumerate(SETTINGS):
        run = Run(dut, fields, driver)
        driver = run.driver
        await run.begin(SEED, start=number == 0)
        for target in (4, 8, 16):
            await run.driver.command(Command.TRAIN, step_target=target)
            # Flushed first: a pending update belongs to the weights before.
            await run.driver.command(Command.FLUSH)
            weights = initial_weights(run.net, 100 + target, gain=1.5)
            await run.driver.write_weights(weights)
            run.trainer.weights = [w[None].astype(np.float64) for w in weights]
        await run.driver.command(Command.TRAIN, step_target=24)
        await run.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def host_writes_weights_before_the_flush(dut):
    """The flush, which only accumulates here, must not forget that the weights are others."""
    run = Run(dut, SETTINGS[2])
    await run.begin(SEED)
    for target in (4, 11):
        await run.driver.command(Command.TRAIN, step_target=target)
        assert target % run.settings.tau_theta
        weights = initial_weights(run.net, 200 + target, gain=1.5)
        await run.driver.write_weights(weights)
        run.trainer.weights = [w[None].astype(np.float64) for w in weights]
        # The pending sweep writes back what the host wrote, and the accumulators of the step.
        assert run.driver.lockstep is not None
        (pending,) = run.driver.lockstep._expected
        pending.weights = run.driver.config.to_lanes(weights)
        await run.driver.command(Command.FLUSH)
    await run.driver.command(Command.TRAIN, step_target=17)
    await run.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def starts_again(dut):
    """INIT in the middle of every period, with an update pending and no flush."""
    run = Run(dut, SETTINGS[1])
    await run.begin(1)
    await run.driver.command(Command.TRAIN, step_target=4)
    for seed, fields in enumerate((SETTINGS[0], SETTINGS[2], SETTINGS[1], SETTINGS[0])):
        again = Run(dut, fields, run.driver)
        await again.begin(seed, start=False)
        assert int(dut.step.value) == int(dut.cost_sum.value) == int(dut.train_clocks.value) == 0
        await again.driver.command(Command.TRAIN, step_target=11)
        await again.finish()
        await again.driver.command(Command.TRAIN, step_target=13)
        assert int(dut.cost_sum.value) == again.trainer.cost_sum[0]


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def stops_when_told(dut):
    """At a step boundary, soon, whatever was under way; and nothing that follows shows it."""
    driver = None
    for number, fields in enumerate(SETTINGS):
        run = Run(dut, fields, driver)
        driver = run.driver
        await run.begin(SEED + number, start=number == 0)
        for _ in range(12):
            before = int(dut.step.value)
            training = cocotb.start_soon(driver.command(Command.TRAIN, step_target=10_000))
            for _ in range(driver.rng.randint(2, 400)):
                await FallingEdge(dut.clk)
            told_at = int(dut.step.value)
            driver.settings["step_target"] = driver.rng.choice((0, before, told_at))
            driver._apply()
            await training
            stopped_at = int(dut.step.value)
            assert before <= told_at <= stopped_at <= told_at + 2
            if driver.rng.random() < 0.5:
                await run.evaluate()
            assert int(dut.step.value) == stopped_at
        assert int(dut.step.value) > 20
        await driver.command(Command.TRAIN, step_target=int(dut.step.value) + 5)
        await run.finish()
