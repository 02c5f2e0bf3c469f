"""The spatial core on the simulated board, command by command beside the golden model.

Bytes go through pySerial, a pseudo-terminal and the compiled UART's pins.  After each command
weights, counters and both evaluations are compared.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from mgd.boards.simulated import board as simulated
from mgd.boards.simulated.verilator import compiled
from mgd.boards.tools import to_verilog
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ACT_MAX, ACT_MIN, Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.link.board_link import RefusedError
from mgd.host.session.board import BoardSession
from mgd.host.session.state import State
from mgd.protocol.framing import Space
from mgd.protocol.layout.spatial import SpatialLayout
from mgd.protocol.record import Samples
from mgd.protocol.registers import Command, Register
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.timing import Timing, clocks_per_step, update_delay, window_clocks
from mgd.rtl.system.top import Top
from mgd.scripts.cli import main
from mgd.scripts.commands import verify as verify_module
from tests.support.simulation import table_task

SEED = 3
TRAIN, TEST = 7, 4
"""Samples: not whole multiples of each other, so that both go round."""

XOR = {
    "layers": (2, 2, 1),
    "sample_bits": 2,
    "sample_signed": True,
    "accumulators": True,
    "tau_theta_max": 7,
}
DEEP = {
    "layers": (3, 4, 3, 2),
    "hidden": "relu",
    "output": "identity",
    "sample_bits": 4,
    "sample_signed": True,
}
CLASSES = {
    "layers": (5, 3, 4),
    "cost": "cross_entropy",
    "sample_bits": 1,
    "accumulators": True,
    "tau_theta_max": 7,
}
TARGETS = {"layers": (3, 3, 2), "output": "identity", "targets": "value", "sample_bits": 12}
BITS = {"layers": (5, 3, 2), "cost": "cross_entropy", "sample_bits": 1}
SIGNED = {"layers": (2, 3, 1), "sample_bits": 3, "sample_signed": True, "weight_bits": 12}
OWN = -1
"""For update_delay: that of the core."""
SINGLE = {"layers": (3, 2), "sample_bits": 1, "sample_signed": True, "weight_bits": 12}
RESIDUAL = {"rounding": "residual", "eta_exp": 6, "tau_theta": 7, "input_shift": 14}
FIXED = (("delta_exp", 4), ("eta_exp", 6), ("tau_x", 3), ("tau_p", 2), ("tau_theta", 7))
CASES: dict[str, tuple[dict, dict]] = {
    **{
        f"xor_{method}_{which}": (XOR, {"method": method, "difference": which, **RESIDUAL})
        for method in ("wp", "np")
        for which in ("antithetic", "forward")
    },
    "three_layers": (
        DEEP, {"method": "np", "difference": "antithetic", "eta_exp": 5, "input_shift": 12}
    ),
    "classes": (CLASSES, {"method": "np", "difference": "forward", **RESIDUAL}),
    "targets": (TARGETS, {"method": "np", "difference": "antithetic", "eta_exp": 5}),
    "single_layer": (
        SINGLE, {"method": "wp", "difference": "forward", "eta_exp": 1, "input_shift": 14}
    ),
    "single_fixed": (
        SINGLE,
        {
            "method": "wp", "difference": "forward", "eta_exp": 1, "input_shift": 14,
            "tau_x": 1, "tau_p": 1,
        },
    ),
    "all_fixed": (CLASSES, {"method": "np", "difference": "antithetic", **RESIDUAL}),
    "pipelined_np": (
        BITS, {"method": "np", "eta_exp": 3, "input_shift": 14, "update_delay": OWN}
    ),
    "pipelined_wp": (
        BITS, {"method": "wp", "eta_exp": 3, "input_shift": 14, "update_delay": OWN}
    ),
    # Tokens four clocks apart, and updates that have to wait for the next one.
    "pipelined_planes": (
        DEEP, {"method": "np", "eta_exp": 5, "input_shift": 12, "update_delay": OWN}
    ),
    "pipelined_planes_wp": (
        SIGNED, {"method": "wp", "eta_exp": 1, "input_shift": 11, "update_delay": OWN}
    ),
    "pipelined_one_layer": (
        SINGLE,
        {
            "method": "wp", "eta_exp": 1, "input_shift": 14, "tau_x": 1, "tau_p": 1,
            "update_delay": OWN,
        },
    ),
}  # fmt: skip


OPTIONS: dict[str, dict[str, Any]] = {
    # In logic a weight's product takes a clock more.
    "three_layers": {"product_dsp": False, "table_dsp": False, "share_dsp": False},
    # All that may be constants.
    "all_fixed": {"fixed": FIXED},
    "single_fixed": {"fixed": tuple((name, 1) for name in ("tau_x", "tau_p", "tau_theta"))},
    "pipelined_one_layer": {"fixed": (("tau_x", 1), ("tau_p", 1))},
    # Room for other step sizes: a clock more for the shares, and accumulators that hold G·2^k.
    "classes": {"shift_low": -1, "shift_high": 4},
}
"""What else a board is built with."""


def case(name: str, **more: object) -> tuple[SpatialConfig, Settings]:
    fields, options = CASES[name]
    network = Network(**fields)
    values = {"delta_exp": 4, "tau_x": 3, "tau_p": 2, **options, **more}
    pipelined = values.pop("update_delay", 0) == OWN
    settings = Settings(**values)
    if pipelined:
        settings = replace(settings, update_delay=update_delay(network, settings))
    settings.check(network)
    config = replace(SpatialConfig.of(network, settings), **OPTIONS.get(name, {}))
    config.check(settings)
    return config, settings


@functools.cache
def fast_build(config: SpatialConfig, words: int, _notify: object = None) -> Path:
    """As boards.simulated.board.build, but compiled faster: runs are short here."""
    top = Top(config, words, simulated.CLOCKS_PER_BIT, simulated.CLOCK_HZ)
    text, header = to_verilog(top, "top", reset=False), simulated.board_header(config)
    return compiled(text, header, "simulated.cpp", optimise="-O0")


@contextmanager
def board(config: SpatialConfig) -> Iterator[BoardSession]:
    running = simulated.run(fast_build(config, (TRAIN + TEST) * config.record_stride))
    try:
        with BoardSession(running.port, config.network, backend="sim") as session:
            assert isinstance(session.layout, SpatialLayout)
            assert session.layout.constant_words == config.constant_words, "in the record"
            yield session
    finally:
        running.close()


def data(network: Network, random: np.random.Generator) -> tuple[Samples, Samples]:
    def samples(count: int) -> Samples:
        codes = random.integers(network.code_min, network.code_max + 1, (count, network.layers[0]))
        if network.regression:
            return Samples(codes, random.integers(ACT_MIN, ACT_MAX + 1, (count, network.outputs)))
        return Samples(codes, random.integers(0, network.classes, count))

    return samples(TRAIN), samples(TEST)


def start_weights(network: Network, random: np.random.Generator) -> list[np.ndarray]:
    """Small ones, and some at an end of their format, where they clip."""
    result = []
    for fan_in, nodes in zip(network.layers, network.layers[1:], strict=False):
        one = 1 << network.weight_frac
        weights = random.integers(-one, one, (nodes, fan_in + 1))
        weights[0, 0], weights[-1, -1] = network.weight_max, network.weight_min
        result.append(weights)
    return result


class Both:
    """A board and the golden model: each command to both, then everything is compared."""

    def __init__(self, session: BoardSession, settings: Settings, seed: int) -> None:
        network = session.network
        random = np.random.default_rng(seed)
        self.session = session
        self.train_samples, self.test_samples = data(network, random)
        weights = start_weights(network, random)
        session.load_samples(self.train_samples, self.test_samples)
        session.write_weights(weights)
        session.start(settings, seed)
        self.trainer = Trainer(
            network,
            settings,
            self.train_samples.codes,
            self.train_samples.labels,
            [w[None] for w in weights],
            [seed],
        )

    def train(self, until: int) -> None:
        self.session.train(until)
        self.trainer.train(until)
        self.check(f"train to {until}")

    def write(self, layer: int, node: int, place: int, value: int) -> None:
        """One weight, by the host: C0 is then measured again."""
        config, trainer = self.session.layout, self.trainer
        words = range(config.lane_words)
        (word,) = (w for w in words if config.locate_weight(0, w) == (layer, node, place))
        self.session.link.write(Space.WEIGHTS, word, [value & 0xFFFFFFFF])
        trainer.weights[layer][0, node, place] = value
        trainer.weights_written()

    def evaluate(self) -> None:
        for on, samples in (("test", self.test_samples), ("train", self.train_samples)):
            got = self.session.evaluate(on)
            correct, cost = self.trainer.evaluate(samples.codes, samples.labels)
            assert (got.correct, got.cost_sum) == (int(correct[0]), int(cost[0])), on

    def check(self, where: str) -> None:
        counters, trainer = self.session.counters(), self.trainer
        assert counters.step == trainer.step_number, where
        for got, wanted in zip(self.session.read_weights(), trainer.weights, strict=True):
            np.testing.assert_array_equal(got, wanted[0], err_msg=where)
        for name in ("cost_sum", "weight_saturations", "activation_saturations"):
            assert getattr(counters, name) == int(getattr(trainer, name)[0]), f"{where}: {name}"
        assert counters.link_errors == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_equals_the_golden_model(name):
    """Commands that end within a sample, a draw and a window; between them an evaluation and a
    weight that the host writes.  On the same board then with other time constants."""
    config, settings = case(name)
    net = config.network
    runs = [settings]
    if not config.fixed:
        runs += [case(name, tau_theta=1)[1]] * settings.accumulates
        runs.append(case(name, tau_theta=1, tau_x=1, tau_p=5)[1])
    if config.align_max:
        runs += [case(name, eta_exp=settings.eta_exp + k)[1] for k in (-2, 1)]
    clipped, last = 0, net.depth - 1
    with board(config) as session:
        for number, settings in enumerate(runs):
            both = Both(session, settings, SEED + number)
            both.train(5)
            both.evaluate()
            both.train(6)
            both.train(24)
            both.write(last, net.outputs - 1, 1, -net.weight_max // 3)
            both.train(25)
            both.write(0, 0, net.layers[0], net.weight_max // 5)
            both.evaluate()
            both.train(25 + 100)
            both.evaluate()
            clipped += both.session.counters().weight_saturations
    assert clipped, "the test must reach an end of the weights"


@pytest.mark.parametrize("name", ["three_layers", "single_layer"])
def test_a_run_goes_on(name):
    """From the state of a board, and from that of the golden model, in the midst of periods."""
    config, settings = case(name, tau_x=4, tau_p=3)
    with board(config) as session:
        both = Both(session, settings, SEED)
        for first in (7, 12, 23, 41):
            both.train(first)
            state = session.read_state()
            assert state.accumulators == []
            session.start(replace(settings, tau_p=2), SEED + 1)
            session.train(9)
            session.restore(settings, SEED, state)
            both.check(f"restored at {first}")
            both.train(first + 5)
            weights = [w[0].astype(np.int64) for w in both.trainer.weights]
            names = ("cost_sum", "weight_saturations", "activation_saturations")
            counted = {name: int(getattr(both.trainer, name)[0]) for name in names}
            session.restore(settings, SEED, State(first + 5, weights, [], **counted))
            both.train(first + 9)
        both.evaluate()


@pytest.mark.parametrize("name", ["single_layer", "pipelined_np"])
def test_stops_when_told(name):
    """At a step boundary, and nothing that follows shows it."""
    config, settings = case(name, tau_x=3, tau_p=2)
    stopped = []
    with board(config) as session:
        both = Both(session, settings, SEED)
        for _ in range(3):
            before = session.counters().step
            session.link.write_register(Register.STEP_TARGET, 1_000_000_000)
            session.link.write_register(Register.COMMAND, Command.TRAIN)
            session.link.write_register(Register.STEP_TARGET, 0)
            while session.link.read_register(Register.STATUS) & 1:
                pass
            stopped.append(session.counters().step)
            assert before < stopped[-1] < 1_000_000_000
            both.trainer.train(stopped[-1])
            both.check("stopped")
            both.train(stopped[-1] + 7)


def test_accumulators_are_not_shown():
    config, settings = case("xor_np_antithetic")
    with board(config) as session:
        both = Both(session, settings, SEED)
        both.train(9)
        accumulators = [np.zeros_like(w) for w in session.read_weights()]
        state = State(9, session.read_weights(), accumulators)
        for act in (session.read_state, lambda: session.restore(settings, SEED, state)):
            with pytest.raises(UserError, match="cannot show its accumulators") as error:
                act()
            assert "\n" not in str(error.value)
        for space in (Space.ACCUMULATORS, Space.ACCUMULATORS_HIGH):
            with pytest.raises(RefusedError, match="BAD_ADDRESS"):
                session.link.read(space, 0, 1)
            with pytest.raises(RefusedError, match="BAD_ADDRESS"):
                session.link.write(space, 0, [1])
        both.train(20)


class Spilled(Trainer):
    """The golden model with an accumulator that is one unit off after step 4."""

    def step(self):
        record = super().step()
        if record.number == 4:
            self.accumulators[1][0, 3, 1] -= 1
        return record


def test_verify(tmp_path, monkeypatch):
    """Every value of every step, as it passes, and an accumulator that no cost shows."""
    task = table_task(tmp_path)
    parameters = task.spec.network.parameters
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(simulated, "build", fast_build)
    arguments = ["verify", "table.toml", "--core", "spatial", "--steps", "31", "--json", "v.json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    values = json.loads(Path("v.json").read_text())
    # C0 is measured where the sample (every 2 steps) or the weights (every 3) are new; at the
    # end the weights read back, three counters and two numbers of an evaluation.
    baselines = sum(t % 2 == 0 or t % 3 == 0 for t in range(31))
    assert values["values_compared"] == 31 * (2 + 2 * parameters) + baselines + parameters + 5
    assert (values["steps"], values["mismatches"]) == (31, 0)

    monkeypatch.setattr(verify_module, "Trainer", Spilled)
    assert CliRunner().invoke(main, arguments).exit_code == 1
    first = json.loads(Path("v.json").read_text())["first_difference"]
    assert (first["step"], first["value"]) == (4, "accumulator")
    assert (first["layer"], first["node"], first["input"]) == (2, 3, 1)


CLOCKS = [
    ("xor_wp_antithetic", {"tau_theta": 7, "tau_x": 7}),
    ("xor_wp_antithetic", {"tau_theta": 1, "tau_x": 1}),
    ("xor_np_forward", {"tau_theta": 6, "tau_x": 3}),
    ("xor_np_forward", {"tau_theta": 3, "tau_x": 4}),
    ("classes", {"tau_theta": 7, "tau_x": 3}),
    ("three_layers", {"tau_x": 3}),
]


@pytest.mark.parametrize(
    ("name", "taus"), CLOCKS, ids=["-".join(map(str, (n, *t.values()))) for n, t in CLOCKS]
)
def test_clocks_per_step(name, taus):
    """What windows take by the core's own count is what its docstring and rtl.spatial.timing
    say."""
    config, settings = case(name, **taus)
    # Clocks more before a sample's or a window's first step: its planes, and C0.
    before = config.network.sample_bits - 1 + (not settings.antithetic)
    period = math.lcm(settings.tau_theta, settings.tau_x)
    begin = [t for t in range(period) if t % settings.tau_theta == 0 or t % settings.tau_x == 0]
    windows = period // settings.tau_theta
    expected = period + windows * (Timing.of(config).weights - 1) + len(begin) * before
    assert window_clocks(config, settings) == pytest.approx(expected / windows)
    assert clocks_per_step(config, settings) == pytest.approx(expected / period)
    spent, counts = [], (2, 10, 1, 27)
    with board(config) as session:
        both = Both(session, settings, SEED)
        for until in accumulate(counts):
            earlier = session.counters().train_clocks
            session.train(until * period)
            spent.append(session.counters().train_clocks - earlier)
        both.trainer.train(sum(counts) * period)
        both.check("the end")
    # A command has clocks of its own, always as many.
    over = {clocks - count * expected for clocks, count in zip(spent, counts, strict=True)}
    assert len(over) == 1, (spent, expected)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("pipelined")])
def test_a_pipelined_core_never_waits(name):
    """A step takes one clock, whatever the time constants and the bits of a code are."""
    config, settings = case(name)
    spent, counts = [], (2, 40, 1, 300)
    assert clocks_per_step(config, settings) == 1
    with board(config) as session:
        both = Both(session, settings, SEED)
        for until in accumulate(counts):
            earlier = session.counters().train_clocks
            both.train(until)
            spent.append(session.counters().train_clocks - earlier)
    over = {clocks - count for clocks, count in zip(spent, counts, strict=True)}
    assert len(over) == 1, spent
