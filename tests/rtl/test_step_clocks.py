"""rtl.folded.program.step_clocks against the clocks that a core takes, in Amaranth's own
simulator."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator

from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.protocol.record import Samples, sample_records
from mgd.protocol.registers import Command
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.core import FoldedCore
from mgd.rtl.folded.program.step_clocks import step_clocks, steps_overlap, sum_clocks
from mgd.rtl.memory.samples import SampleMemory

WATCHDOG_CLOCKS = 60_000
CE = {"cost": "cross_entropy"}
WIDE = {"accumulators": True, "tau_theta_max": 4}


def starts_of_steps(
    config: CoreConfig, settings: Settings, steps: int, codes: np.ndarray | None = None
) -> list[int]:
    """The clocks in which each step begins.  codes: of both samples, 0 if not given."""
    m = Module()
    m.submodules.core = core = FoldedCore(config)
    m.submodules.samples = samples = SampleMemory(config.network, 2 * config.network.sample_words)
    connect(m, core.sample_request, samples.request)
    connect(m, samples.record, core.record)
    m.d.comb += samples.train_end.eq(2 * config.network.sample_words)
    m.d.comb += samples.restart_train.eq(core.restart_train)
    starts: list[int] = []
    words: list[int] = []
    if codes is not None:
        two = Samples(codes, np.zeros(2, dtype=np.int64))
        words = sample_records(two, config.network).reshape(-1).tolist()

    async def run(ctx):
        for place in range(0, len(words), 2):
            ctx.set(samples.host_address, place // 2)
            ctx.set(samples.host_write_data, words[place] | words[place + 1] << 16)
            ctx.set(samples.host_write, 1)
            while not ctx.get(samples.host_ready):
                await ctx.tick()
            await ctx.tick()
        ctx.set(samples.host_write, 0)
        for name, value in {
            "nodes": settings.perturbs_nodes,
            "antithetic": settings.antithetic,
            "accumulates": settings.accumulates,
            "delta_exp": settings.delta_exp,
            "eta_exp": settings.eta_exp,
            "tau_x": settings.tau_x,
            "tau_p": settings.tau_p,
            "tau_theta": settings.tau_theta,
            "seed": 1,
            "step_target": steps,
        }.items():
            ctx.set(core.settings[name], value)
        clocks = 0
        for command in (Command.INIT, Command.TRAIN):
            ctx.set(core.command.payload.code, command)
            ctx.set(core.command.valid, 1)
            await ctx.tick()
            ctx.set(core.command.valid, 0)
            while ctx.get(core.busy):
                if command == Command.TRAIN and ctx.get(core.step) > len(starts):
                    starts.append(clocks)
                await ctx.tick()
                clocks += 1
                assert clocks < WATCHDOG_CLOCKS

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    assert len(starts) == steps
    return starts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "lanes", "options", "method"),
    [
        ((64, 32, 10), 8, CE | {"sample_bits": 5}, "np"),
        ((49, 4, 4), 4, CE, "wp"),
        ((49, 4, 4), 4, CE | WIDE, "np"),
        ((9, 2, 1), 2, {}, "np"),
        ((9, 2, 1), 1, WIDE, "np"),
        ((24, 40, 9), 5, {}, "np"),
        ((24, 40, 20, 9), 4, CE, "np"),
        ((30, 17, 3), 3, CE | WIDE, "np"),
        ((20, 3, 2, 7), 7, CE, "wp"),
        ((20, 1, 1, 1), 1, {}, "np"),
        ((40, 16), 16, CE, "np"),
        ((20, 9, 3), 9, CE, "wp"),
        ((9, 18, 10, 2), 10, WIDE, "np"),
        ((12, 5), 2, {}, "np"),
    ],
)
def test_two_passes(layers, lanes, options, method):
    config = CoreConfig(Network(layers, **options), lanes)
    starts = starts_of_steps(config, Settings(method=method, tau_x=2), 5)
    found = {b - a for a, b in itertools.pairwise(starts[1:])}
    assert found == {step_clocks(config)}


@pytest.mark.slow
@pytest.mark.parametrize("memory_register", [True, False])
@pytest.mark.parametrize("shared_dsps", [0, 1])
@pytest.mark.parametrize("options", [CE | {"sample_bits": 5}, WIDE])
def test_products_in_logic(shared_dsps, options, memory_register):
    config = CoreConfig(
        Network((20, 11, 5), **options),
        3,
        shared_dsps=shared_dsps,
        memory_register=memory_register,
    )
    starts = starts_of_steps(config, Settings(method="np"), 5)
    found = {b - a for a, b in itertools.pairwise(starts[1:])}
    assert found == {step_clocks(config)}


@pytest.mark.slow
@pytest.mark.parametrize("memory_register", [True, False])
@pytest.mark.parametrize(
    "fields", [{"perturbation": "sine"}, {"decay_exp": 5}, {"difference": "highpass"}]
)
def test_variants_with_products_in_logic(fields, memory_register):
    settings = Settings(rounding="residual", tau_x=2, **fields)
    config = CoreConfig(
        Network((20, 11, 3, 5), **CE, **WIDE),
        3,
        shared_dsps=0,
        memory_register=memory_register,
        variant=BuildOptions.of(settings),
    )
    starts = starts_of_steps(config, settings, 5)
    found = {b - a for a, b in itertools.pairwise(starts[1:])}
    assert found == {step_clocks(config)}


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [(), (True, False, True)])
def test_a_step_of_parts(trainable):
    variant = BuildOptions("layer", trainable)
    config = CoreConfig(Network((9, 4, 3, 2), **CE), 2, variant=variant)
    starts = starts_of_steps(config, Settings(scope="layer", trainable=trainable), 5)
    found = {b - a for a, b in itertools.pairwise(starts[1:])}
    assert found == {step_clocks(config)}


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "lanes"), [((24, 40, 9), 5), ((9, 2, 1), 2), ((20, 1, 1), 1)])
def test_values_between_0_and_1(layers, lanes):
    config = CoreConfig(Network(layers, **WIDE), lanes, variant=BuildOptions(perturbation="sine"))
    settings = Settings(rounding="residual", perturbation="sine", tau_x=2)
    starts = starts_of_steps(config, settings, 5)
    found = {b - a for a, b in itertools.pairwise(starts[1:])}
    assert found == {step_clocks(config)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "options"),
    [((9, 2, 1), {}), ((20, 17, 3), CE), ((40, 16), CE | WIDE), ((12, 5), {})],
)
def test_the_continuous_form(layers, options):
    settings = Settings(difference="highpass", tau_x=2)
    config = CoreConfig(Network(layers, **options), 2, variant=BuildOptions.of(settings))
    starts = starts_of_steps(config, settings, 5)
    found = {b - a for a, b in itertools.pairwise(starts[1:])}
    assert found == {step_clocks(config)}


@pytest.mark.slow
@pytest.mark.parametrize("layers", [(9, 2, 1), (20, 17, 3)])
def test_weights_that_decay(layers):
    settings = Settings(rounding="residual", decay_exp=5, tau_theta=2)
    config = CoreConfig(Network(layers, **WIDE), 2, variant=BuildOptions.of(settings))
    starts = starts_of_steps(config, settings, 5)
    found = {b - a for a, b in itertools.pairwise(starts[1:])}
    assert found == {step_clocks(config)} != {step_clocks(CoreConfig(config.network, 2))}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "lanes", "options"),
    [((24, 40, 9), 5, CE | WIDE), ((9, 2, 1), 2, WIDE), ((49, 4, 4), 4, CE | WIDE)],
)
def test_one_pass(layers, lanes, options):
    """The forward difference with a C0 that stays."""
    config = CoreConfig(Network(layers, **options), lanes)
    settings = Settings(difference="forward", rounding="residual", tau_theta=4, tau_x=4)
    starts = starts_of_steps(config, settings, 8)
    lengths = [b - a for a, b in itertools.pairwise(starts[4:])]
    assert lengths == [step_clocks(config), *[step_clocks(config, passes=1)] * 2]


@pytest.mark.slow
@pytest.mark.parametrize("difference", ["antithetic", "forward"])
@pytest.mark.parametrize(
    ("layers", "lanes", "options", "build"),
    [
        ((20, 11, 5), 3, CE, {}),
        ((9, 4), 3, {}, {}),
        ((12, 9, 5, 3), 2, {}, {"shared_dsps": 0, "memory_register": False}),
    ],
)
def test_sums_per_node(layers, lanes, options, build, difference):
    settings = Settings("np", difference, accumulate="nodes", tau_x=8, tau_theta=4)
    variant = BuildOptions.of(settings)
    config = CoreConfig(Network(layers, **options), lanes, variant=variant, **build)
    assert steps_overlap(config) == (len(layers) > 2)
    starts = starts_of_steps(config, settings, 9)
    found = {starts[k + 4] - starts[k] for k in (0, 4)}
    assert found == {sum_clocks(config, settings)}


SKIPPING = [
    ((64, 32, 10), 8, CE | {"sample_bits": 5}, 1),
    ((49, 4, 4), 4, CE, 2),
    ((9, 2, 1), 2, {}, 2),
    ((24, 40, 9), 5, {}, 1),
    ((40, 16), 4, CE, 2),
    ((12, 5), 5, {}, 3),
    ((7, 1), 1, WIDE, 2),
]


@pytest.mark.slow
@pytest.mark.parametrize("lit", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("layers", "lanes", "options", "tau_x"), SKIPPING)
def test_inputs_that_are_skipped(layers, lanes, options, tau_x, lit):
    settings = Settings("wp", tau_x=tau_x, skip_zeros=True)
    config = CoreConfig(Network(layers, **options), lanes, variant=BuildOptions.of(settings))
    random = np.random.default_rng(layers[0])
    codes = (random.random((2, layers[0])) < lit).astype(np.int64)
    starts = starts_of_steps(config, settings, 7, codes)
    found = [b - a for a, b in itertools.pairwise(starts)]
    own = codes != 0
    wanted = []
    for step in range(1, 6):
        now = own[step // tau_x % 2]
        visited = now if step % tau_x else own[0] | own[1]
        wanted.append(step_clocks(config, visited=visited.tolist()))
    # A step that is shorter than a record waits for the next one's sample.
    record = layers[0] + config.network.sample_words + 16
    for step, (clocks, least) in enumerate(zip(found[1:], wanted, strict=False), 1):
        waits = (step + 1) % tau_x == 0 and least < record
        assert clocks == least or (waits and clocks > least), f"step {step}"
    assert max(wanted) <= step_clocks(config)
    if lit < 1 and layers[0] > 12:
        assert max(wanted) < step_clocks(config)
