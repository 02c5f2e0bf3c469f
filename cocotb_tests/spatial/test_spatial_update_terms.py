"""rtl.spatial.update_terms against golden_model.formats.stochastic_round, and which
synapse takes which term."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import rng
from cocotb_tests.support.side_by_side import Part, SideBySide, together
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import network_of, packed_array, signed_array, spread
from mgd.golden_model.formats import saturate
from mgd.golden_model.network import (
    ACT_BITS,
    ACT_FRAC,
    ACT_MAX,
    ACT_MIN,
    DELTA_EXP_MAX,
    ONE,
    ROUND_BITS,
)
from mgd.golden_model.settings import Settings
from mgd.rtl.folded.broadcast import Broadcast
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.update_terms import Sources, UpdateTerms

RESIDUAL = {"layers": (2, 2), "accumulators": True, "tau_theta_max": 5}
CASES: dict[str, tuple[dict[str, Any], bool, int, int, int]] = {
    # network, nodes, shift_low, shift_high, latency
    "direct": (RESIDUAL, False, 5, 5, 1),
    "direct_aligned": ({**RESIDUAL, "weight_bits": 8}, False, -2, 6, 1),
    "contributions": (RESIDUAL, True, 5, 5, Broadcast.LEAST_LATENCY - 1),
    "aligned": (RESIDUAL, True, 1, 8, Broadcast.LEAST_LATENCY),
    "np": ({"layers": (2, 2)}, True, 0, 0, Broadcast.LEAST_LATENCY - 1),
    "wp": ({"layers": (2, 2), "weight_bits": 8}, False, 0, 0, Broadcast.LEAST_LATENCY - 1),
    "pipelined": ({"layers": (2, 2)}, True, 0, 0, Broadcast.LEAST_LATENCY),
    "pipelined_in_logic": ({"layers": (3, 2)}, True, 0, 0, Broadcast.LEAST_LATENCY),
}
IN_LOGIC = ("np", "pipelined_in_logic")
COUNT = 2
"""UpdateTerms side by side, where they are not all the same."""
CLOCKS = 250


def configured(name: str, share_dsp: bool = True) -> SpatialConfig:
    fields, nodes, low, high, _ = CASES[name]
    return SpatialConfig(
        *(network_of(fields), nodes, True, 0, low, high),
        share_dsp=share_dsp,
        update_delay=int(name.startswith("pipelined")),
    )


def count(name: str) -> int:
    return COUNT if CASES[name][1] else 1


@pytest.mark.simulated
def test_update_terms():
    units = {}
    for name, (*_, latency) in CASES.items():
        assert UpdateTerms.latency_of(configured(name)) == latency, name
        units[name] = UpdateTerms(configured(name, share_dsp=name not in IN_LOGIC), count(name))
    return Row(SideBySide(units), equals_stochastic_round, seed=9)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def equals_stochastic_round(dut):
    await start_clock(dut)
    await together(*(update_terms(Part(dut, name), name) for name in CASES))


def shifts(config: SpatialConfig) -> list[tuple[int, int, int]]:
    """(S, delta_exp, eta_exp) of every S that the core takes, or of some where all are."""
    net, found = config.network, {}
    for delta_exp in range(1, DELTA_EXP_MAX + 1):
        for eta_exp in range(32):
            shift = Settings(delta_exp=delta_exp, eta_exp=eta_exp).shift(net)
            found[shift] = (shift, delta_exp, eta_exp)
    if net.accumulators:
        return [found[s] for s in range(config.shift_low, config.shift_high + 1)]
    return [found[s] for s in (-4, -3, 0, 3, 11, 24) if s in found]


async def update_terms(dut, name: str) -> None:
    config, random = configured(name), rng()
    net, lanes = config.network, count(name)
    latency, bound, clips = CASES[name][-1], config.delta_bound, 1 << net.weight_bits
    low, high = max(-config.x_bound, ACT_MIN), min(config.x_bound, ACT_MAX)
    steps = 0
    for shift, delta_exp, eta_exp in shifts(config):
        dut.delta_exp.value, dut.eta_exp.value = delta_exp, eta_exp
        dut.valid.value = 0
        for _ in range(latency + 2):
            await FallingEdge(dut.clk)
        drop = ACT_FRAC if net.accumulators else shift + ACT_FRAC
        places = config.shift_high - shift if net.accumulators else 0
        each = CLOCKS // len(shifts(config))
        tokens = [
            (
                int(random.random() < 0.8),
                spread(random, -bound, bound),
                [random.choice((low, high, ONE, spread(random, low, high))) for _ in range(lanes)],
                random.getrandbits(ROUND_BITS),
            )
            for _ in range(each)
        ]
        idle = (0, 7, [0] * lanes, 0)

        def at(clock: int, tokens=tokens, idle=idle):
            return tokens[clock] if 0 <= clock < len(tokens) else idle

        for clock in range(-1, each + latency):
            valid, delta, _, _ = at(clock)
            dut.valid.value = valid
            dut.delta_cost.value = delta & ((1 << config.delta_bits) - 1)
            dut.x.value = packed_array(at(clock + 1)[2], ACT_BITS)
            dut.random.value = at(clock - UpdateTerms.random_after(config))[3]
            await ReadOnly()
            if clock >= latency:
                valid, delta, x, byte = at(clock - latency)
                got = signed_array(int(dut.update_term.value), lanes, config.share_bits)
                wanted = [0] * lanes
                if valid:
                    factors = x if config.nodes else [ONE]
                    wanted = [
                        int(UpdateTerms.model(delta * f, drop, byte, ROUND_BITS)) << places
                        for f in factors
                    ]
                    steps += 1
                if not net.accumulators:
                    # Beyond what makes every weight clip only the sign counts.
                    got, wanted = ([saturate(n, -clips, clips) for n in v] for v in (got, wanted))
                assert got == wanted, (name, shift, delta, x, byte, valid)
            await FallingEdge(dut.clk)
    assert steps > CLOCKS // 2


@pytest.mark.parametrize(
    ("layers", "sample_bits", "nodes", "x", "term_of", "layer_terms"),
    [
        # Weight perturbation: one for all.
        ((3, 2, 1), 4, False, (ONE,), ((0, 0, 0, 0), (0, 0, 0)), ((0,), (0,))),
        # A bias, and each input.
        (
            *((2, 2, 1), 4, True),
            (ONE, (0, 0), (0, 1), (1, 0), (1, 1)),
            *(((0, 1, 2), (0, 1, 2)), ((1, 2, 0), (3, 4, 0))),
        ),
        # Codes of one bit are 0 or what 1 is.
        (
            *((3, 1, 1), 1, True),
            (ONE, 1 << 9, (1, 0)),
            *(((0, 0, 0, 1), (0, 1)), ((1, 0), (2, 0))),
        ),
    ],
)
def test_sources(layers, sample_bits, nodes, x, term_of, layer_terms):
    network = network_of({"layers": layers, "sample_bits": sample_bits})
    sources = Sources.of(SpatialConfig(network, nodes, True, 9, 0, 0))
    assert (sources.x, sources.term_of, sources.layer_terms) == (x, term_of, layer_terms)


def test_a_code_that_is_as_large_as_the_bias_has_its_term():
    network = network_of({"layers": (2, 1), "sample_bits": 1})
    sources = Sources.of(SpatialConfig(network, True, True, ACT_FRAC, 0, 0))
    assert sources == Sources((ONE,), ((0, 0, 0),), ((0,),))
