"""The whole core against the golden model: every cost, D, accumulator and weight."""

from __future__ import annotations

import cocotb
import numpy as np
import pytest

from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import CoreDriver
from cocotb_tests.support.runner import params, rng
from mgd.golden_model.network import ACT_MIN, Network
from mgd.golden_model.seeds import initial_weights, words
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.protocol.fixed_settings import fixed_settings
from mgd.protocol.registers import Command
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.core import FoldedCore
from mgd.rtl.lockstep import Lockstep

SAMPLES = 5


def random_codes(network: Network, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Any codes, and labels or targets: training need not succeed to be equal."""
    count = SAMPLES * (network.layers[0] + 1)
    raw = (words(count, seed, "data") >> np.uint64(33)).astype(np.int64)
    raw = raw.reshape(SAMPLES, -1)
    span = network.code_max - network.code_min + 1
    codes = raw[:, 1:] % span + network.code_min
    if not network.regression:
        return codes, raw[:, 0] % network.classes
    targets = words(SAMPLES * network.outputs, seed, "codes") >> np.uint64(48)
    return codes, targets.astype(np.int64).reshape(SAMPLES, -1) + ACT_MIN


async def run_one(dut, driver: CoreDriver, settings: Settings, seed: int, steps: int) -> None:
    """Train in pieces with an evaluation between, compare everything, then the weights."""
    net = driver.config.network
    codes, labels = random_codes(net, seed)
    weights = initial_weights(net, seed, gain=2.0)
    trainer = Trainer(net, settings, codes, labels, [w[None] for w in weights], [seed])
    driver.lockstep = None
    await driver.write_weights(weights)
    driver.configure(settings, seed, eval_count=SAMPLES)
    await driver.command(Command.INIT)
    driver.lockstep = Lockstep(driver.config, trainer)
    await driver.command(Command.TRAIN, step_target=steps // 2)
    driver.evaluations.clear()
    # Reads the weights in mid-window and draws no random bits: nothing may change by it.
    await driver.command(Command.EVALUATE)
    correct, cost = trainer.evaluate(codes, labels)
    assert len(driver.evaluations) == SAMPLES
    assert sum(e[0] for e in driver.evaluations) == cost[0]
    assert sum(e[2] for e in driver.evaluations) == correct[0]
    await driver.command(Command.TRAIN, step_target=steps // 2 + 1)
    await driver.command(Command.TRAIN, step_target=steps)
    await driver.command(Command.FLUSH)
    assert driver.lockstep.steps == steps
    driver.lockstep.finish(await driver.read_weights())
    assert int(dut.step.value) == steps
    assert int(dut.cost_sum.value) == trainer.cost_sum[0]
    assert int(dut.weight_saturations.value) == trainer.weight_saturations[0]
    assert int(dut.activation_saturations.value) == trainer.activation_saturations[0]


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def equals_golden_model(dut):
    given = params()
    network = Network(**{**given["network"], "layers": tuple(given["network"]["layers"])})
    fixed = tuple((name, value) for name, value in given["fixed"])
    config = CoreConfig(network, given["lanes"], fixed=fixed)
    codes, labels = random_codes(config.network, given["seed"])
    driver = CoreDriver(dut, config, codes, labels, rng(), given["idle"])
    await driver.start()
    for settings in given["settings"]:
        dut._log.info("settings %s", settings)
        await run_one(dut, driver, Settings(**settings), given["seed"], given["steps"])


DIRECT = [
    {"method": "np", "eta_exp": 5},
    {"method": "wp", "eta_exp": 6},
    {"method": "np", "difference": "forward", "eta_exp": 4, "tau_x": 3, "tau_p": 2},
    {"method": "wp", "difference": "forward", "eta_exp": 5, "delta_exp": 7},
    # Steps so large that weights hit the end of their range from anywhere.
    {"method": "np", "eta_exp": 0},
    {"method": "wp", "eta_exp": 0},
]
RESIDUAL = [
    {"method": "np", "rounding": "residual", "eta_exp": 0, "tau_theta": 2},
    {"method": "np", "rounding": "residual", "eta_exp": 4, "tau_theta": 3},
    {"method": "wp", "rounding": "residual", "eta_exp": 2, "delta_exp": 7, "tau_x": 2},
    {
        "method": "np",
        "rounding": "residual",
        "difference": "forward",
        "eta_exp": 5,
        "tau_x": 4,
        "tau_p": 2,
        "tau_theta": 5,
    },
    {
        "method": "wp",
        "rounding": "residual",
        "difference": "forward",
        "eta_exp": 5,
        "tau_x": 5,
        "tau_p": 3,
        "tau_theta": 4,
    },
]
ACCUMULATING = {"accumulators": True, "tau_theta_max": 16}

CASES = {
    "4-5-2_targets": (
        {"layers": (4, 5, 2), "output": "identity", "targets": "value"},
        2,
        DIRECT,
        0.2,
    ),
    "3-1_target_l1": ({"layers": (3, 1), "cost": "l1", "targets": "value"}, 1, DIRECT[:2], 0.0),
    "3-4_2_lanes": ({"layers": (3, 4), "cost": "cross_entropy", **ACCUMULATING}, 2, RESIDUAL, 0.0),
    "3-1_1_lane": ({"layers": (3, 1)}, 1, DIRECT, 0.0),
    "2-2-1_2_lanes": (
        dict(layers=(2, 2, 1), sample_bits=2, sample_signed=True, **ACCUMULATING),
        2,
        DIRECT + RESIDUAL,
        0.2,
    ),
    "7-13-3_3_lanes": (
        dict(layers=(7, 13, 3), cost="cross_entropy", **ACCUMULATING),
        3,
        DIRECT + RESIDUAL,
        0.0,
    ),
    "7-13-3_8_lanes": (
        {"layers": (7, 13, 3), "cost": "cross_entropy", "sample_bits": 5},
        8,
        DIRECT,
        0.3,
    ),
    "5-4-3-2_2_lanes": (
        dict(
            layers=(5, 4, 3, 2),
            hidden="relu",
            output="identity",
            sample_bits=12,
            sample_signed=True,
            **ACCUMULATING,
        ),
        2,
        DIRECT + RESIDUAL,
        0.0,
    ),
    "5-4-3-2_3_lanes": (
        dict(layers=(5, 4, 3, 2), hidden="identity", output="tanh", weight_bits=10, **ACCUMULATING),
        3,
        RESIDUAL,
        0.3,
    ),
    # Short layers: cost and hidden values follow each other as closely as they can.
    "1-2-1-2_2_lanes": ({"layers": (1, 2, 1, 2), "cost": "cross_entropy"}, 2, DIRECT, 0.0),
    "1-1-1_1_lane": (
        {"layers": (1, 1, 1), "sample_bits": 1, "weight_bits": 18, "cost_frac": 14},
        1,
        DIRECT,
        0.0,
    ),
    "49-4-4_4_lanes": (
        {
            "layers": (49, 4, 4),
            "cost": "cross_entropy",
            "sample_bits": 1,
            "cost_frac": 14,
            "pre_frac": 10,
        },
        4,
        DIRECT,
        0.0,
    ),
}


EVERYTHING = ("method", "difference", "delta_exp", "eta_exp", "tau_x", "tau_p")
SMALL = {"layers": (7, 13, 3), "cost": "cross_entropy", "sample_bits": 5}
FINE = {"layers": (3, 5, 2), "weight_bits": 18, "pre_frac": 14, "cost_frac": 14}
ROUGH = {"layers": (49, 4, 4), "cost": "cross_entropy", "sample_bits": 1, "pre_frac": 8}
FIXED = {
    "np": (SMALL, 8, DIRECT[0], ("method", "difference"), 0.0),
    "np_fine": (FINE, 3, DIRECT[2], ("method",), 0.2),
    "np_rough": (ROUGH, 4, DIRECT[4], ("method", "difference", "tau_x", "tau_p"), 0.0),
    "np_narrow": ({**SMALL, "weight_bits": 8}, 5, DIRECT[2], EVERYTHING, 0.0),
    "np_accumulating": (
        {**SMALL, **ACCUMULATING},
        3,
        RESIDUAL[3],
        ("method", "rounding", "tau_theta"),
        0.0,
    ),
    "wp": (SMALL, 8, DIRECT[3], ("method", "difference"), 0.0),
    "wp_all": (SMALL, 4, DIRECT[1], EVERYTHING, 0.3),
    "wp_accumulating": ({**SMALL, **ACCUMULATING}, 2, RESIDUAL[4], EVERYTHING, 0.0),
}
"""Network, lanes, settings, those of them that are wiring, idle clocks of the ports."""
OTHERS = {
    "method": {"np": "wp", "wp": "np"},
    "difference": {"antithetic": "forward", "forward": "antithetic"},
    "tau_x": {1: 3, 3: 1, 4: 1},
    "tau_p": {1: 2, 2: 1},
    "eta_exp": {n: n + 1 for n in range(16)},
}
"""Other values, for what is not fixed."""


@pytest.mark.slow
@pytest.mark.simulated
@pytest.mark.parametrize("name", CASES)
def test_core(name):
    network, lanes, settings, idle = CASES[name]
    return row_of(CoreConfig(Network(**network), lanes), network, settings, idle)


@pytest.mark.slow
@pytest.mark.simulated
@pytest.mark.parametrize("name", FIXED)
def test_core_with_fixed_settings(name):
    network, lanes, settings, names, idle = FIXED[name]
    fixed = fixed_settings(Settings(**settings), names)
    assert {name for name, _ in fixed} == set(names)
    config = CoreConfig(Network(**network), lanes, fixed=fixed)
    others = {
        name: values.get(getattr(Settings(**settings), name))
        for name, values in OTHERS.items()
        if name not in names
    }
    others = {name: value for name, value in others.items() if value is not None}
    return row_of(config, network, [settings, {**settings, **others}], idle)


def row_of(config: CoreConfig, network: dict, settings: list[dict], idle: float) -> Row:
    shift = 14 - config.network.sample_bits
    settings = [{**s, "input_shift": shift} for s in settings]
    return Row(
        FoldedCore(config),
        equals_golden_model,
        {
            "network": network,
            "lanes": config.lanes,
            "fixed": config.fixed,
            "settings": settings,
            "seed": 7,
            "steps": 24,
            "idle": idle,
        },
    )
