"""rtl.folded.perturbations: every value of each family beside golden_model.perturbations, per
lane."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth import Module
from amaranth.sim import Simulator

from mgd.golden_model import perturbations as golden
from mgd.golden_model.network import Network
from mgd.golden_model.seeds import start_state
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.protocol.run_codes import perturbation_code
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.perturbations import FAMILIES
from mgd.rtl.folded.signs import SignGenerator
from mgd.rtl.lib.magnitude import encoded
from tests.support.core_bench import CoreBench

NETWORK = Network((3, 5, 2, 2), accumulators=True)
SEED = 4
SWEEPS = 7
WATCHDOG_CLOCKS = 3000
SIZES = {encoded(size): size for size in (0, 2, 3, 4, 6, 7, 8)}


def tokens(config: CoreConfig) -> list[tuple[int, int]]:
    """(group, input) of a sweep, the bias as the last input."""
    fan_ins = config.network.layers
    return [
        (number, place)
        for number, group in enumerate(config.group_table)
        for place in range(fan_ins[group["layer"]] + 1)
    ]


def values(config: CoreConfig, draw: list, nodes: bool, token: tuple[int, int]) -> list[int | None]:
    """Of each lane at this token; None where the lane has no neuron, or the layer no value."""
    number, place = token
    layer = config.group_table[number]["layer"]
    first = (number - config.first_group[layer]) * config.lanes
    count = config.network.layers[layer + 1]
    found: list[int | None] = []
    for neuron in range(first, first + config.lanes):
        if neuron >= count:
            found.append(None)
        elif draw[layer] is None:
            found.append(0)
        else:
            found.append(int(draw[layer][0, neuron, 0 if nodes else place]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [(), (False, True, True), (True, False, True)])
@pytest.mark.parametrize("method", ["wp", "np"])
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("lanes", "begin"), [(1, 0), (2, 1), (3, 1000), (5, 123456789)])
def test_values(name, method, trainable, lanes, begin):
    settings = Settings(method, rounding="residual", perturbation=name, trainable=trainable)
    variant = BuildOptions.of(settings)
    config = CoreConfig(NETWORK, lanes, variant=variant)
    nodes = settings.perturbs_nodes
    m = Module()
    m.submodules.generator = generator = SignGenerator(config)
    m.submodules.unit = unit = FAMILIES[name](config)
    unit.listen(m, generator)
    model = golden.PERTURBATIONS[name](NETWORK, settings.numbering(NETWORK), [SEED])
    model.skip(begin)
    random = np.random.default_rng(lanes)

    async def until_ready(ctx, begins, ready):
        ctx.set(begins, 1)
        await ctx.tick()
        ctx.set(begins, 0)
        for _ in range(WATCHDOG_CLOCKS):
            if ctx.get(ready):
                break
            await ctx.tick()
        assert ctx.get(ready)

    async def run(ctx):
        ctx.set(unit.nodes, nodes)
        ctx.set(generator.seed, start_state(SEED))
        await until_ready(ctx, generator.start, generator.ready)
        ctx.set(unit.data, perturbation_code(NETWORK, settings, SEED, begin))
        await until_ready(ctx, unit.load, unit.ready)
        clock, now = 0, None
        for sweep in range(SWEEPS):
            before, new = now, sweep % 3 != 2
            now = model.draw() if new else now
            ctx.set(unit.keep_draw, 1)
            ctx.set(unit.new_draw, int(new))
            await ctx.tick()
            ctx.set(unit.keep_draw, 0)
            ctx.set(unit.new_draw, 0)
            due: dict[tuple[int, str], list] = {}
            # Twice, as for two passes; the update rides on the first.
            queue = [(1, word, token) for word, token in enumerate(tokens(config))]
            queue += [(0, word, token) for _, word, token in queue]
            while queue or due:
                goes = bool(queue) and random.random() < 0.8
                ctx.set(unit.valid, int(goes))
                if goes:
                    lead, word, token = queue.pop(0)
                    ctx.set(unit.group, token[0])
                    ctx.set(unit.input, token[1])
                    ctx.set(unit.word, word)
                    ctx.set(unit.lead, lead)
                    if lead and before is not None:
                        at = values(config, before, nodes, token)
                        due[clock + unit.latency, "previous_"] = at
                    due[clock + unit.signs_latency, ""] = values(config, now, nodes, token)
                for which in ("previous_", ""):
                    expected = due.pop((clock, which), None)
                    if expected is None:
                        continue
                    active = ctx.get(getattr(unit, f"{which}active"))
                    signs = ctx.get(getattr(unit, f"{which}signs"))
                    for lane, value in enumerate(expected):
                        got = (active >> lane & 1) * (1 - 2 * (signs >> lane & 1))
                        if variant.value_frac:
                            got *= SIZES[ctx.get(getattr(unit, f"{which}magnitudes")[lane])]
                        assert value in (None, got), (sweep, which, lane)
                await ctx.tick()
                clock += 1

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()


def test_sums_of_a_sine_fill_their_width():
    """Weight and bias at nearly the largest value and x = −2.0, in some draw of a whole period."""
    network = Network(
        (1, 2),
        cost="cross_entropy",
        sample_bits=2,
        sample_signed=True,
        accumulators=True,
        tau_theta_max=8,
    )
    settings = Settings(
        "wp", rounding="residual", delta_exp=4, eta_exp=9, input_shift=14, perturbation="sine"
    )
    bench = CoreBench(CoreConfig(network, 2, variant=BuildOptions.of(settings)))
    bench.run([settings], seed=SEED, steps=3 * 32)
    assert bench.values_compared > 3 * 32 * network.parameters


@pytest.mark.parametrize(
    ("weight_bits", "method", "delta_exp", "eta_exp"),
    [(8, "wp", 9, 0), (18, "wp", 11, 5), (18, "np", 1, 20), (18, "np", 6, 0), (16, "wp", 1, 1)],
)
def test_a_core_at_the_ends_of_a_sine(weight_bits, method, delta_exp, eta_exp):
    """The smallest and largest perturbation and update shift S; at S < 0 weights clip."""
    network = Network(
        (5, 3, 2),
        cost="cross_entropy",
        weight_bits=weight_bits,
        cost_frac=15,
        sample_bits=2,
        accumulators=True,
        tau_theta_max=16,
    )
    settings = Settings(
        method,
        rounding="residual",
        delta_exp=delta_exp,
        eta_exp=eta_exp,
        tau_p=2,
        tau_theta=2,
        input_shift=13,
        perturbation="sine",
    )
    bench = CoreBench(CoreConfig(network, 2, variant=BuildOptions.of(settings)))
    bench.run([settings], seed=SEED, steps=12)
    assert bench.values_compared > 12 * network.parameters
