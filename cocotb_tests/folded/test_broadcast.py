"""rtl.folded.broadcast against golden_model.formats.stochastic_round."""

from __future__ import annotations

from dataclasses import replace

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import as_signed, config_of, spread
from mgd.golden_model.formats import saturate
from mgd.golden_model.network import (
    ACT_BITS,
    ACT_FRAC,
    ACT_MAX,
    ACT_MIN,
    DELTA_EXP_MAX,
    ONE,
    ROUND_BITS,
    SHIFT_MIN,
)
from mgd.golden_model.settings import Settings
from mgd.rtl.folded.broadcast import Broadcast
from mgd.rtl.folded.config import CoreConfig

CASES = {
    "16_bits": {"layers": (5, 4, 3)},
    "8_bits_accumulators": {
        "layers": (9, 3),
        "cost": "cross_entropy",
        "weight_bits": 8,
        "cost_frac": 16,
        "accumulators": True,
        "tau_theta_max": 1000,
        "shift_max": 32,
    },
    "entropy_16_bits": {"layers": (9, 8, 3), "cost": "cross_entropy", "sample_bits": 5},
    "18_bits": {"layers": (2, 1), "weight_bits": 18, "cost_frac": 8, "pre_frac": 8, "shift_max": 9},
}


@pytest.mark.simulated
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("shared_dsps", "more"),
    [(4, None), (0, None), (0, 0), (0, 1)],
    ids=("dsp", "logic", "logic_of_a_spatial_core", "logic_of_a_pipelined_core"),
)
def test_broadcast(name, shared_dsps, more):
    given = {"network": CASES[name], "lanes": 1}
    config = replace(config_of(given), shared_dsps=shared_dsps)
    unit = Broadcast(config, extra_clocks=more)
    given["latency"] = unit.latency
    return Row(unit, equals_stochastic_round, given)


def exponents(config: CoreConfig) -> list[tuple[int, int]]:
    """(delta_exp, eta_exp) that reach every allowed shift, both ends included."""
    net, found = config.network, {}
    for delta_exp in range(1, DELTA_EXP_MAX + 1):
        for eta_exp in range(32):
            shift = Settings(delta_exp=delta_exp, eta_exp=eta_exp).shift(net)
            if SHIFT_MIN <= shift <= net.shift_max:
                found[shift] = (delta_exp, eta_exp)
    return [found[shift] for shift in sorted(found)]


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def equals_stochastic_round(dut):
    config, random = config_of(params()), rng()
    net, latency = config.network, params()["latency"]
    clips = 1 << net.weight_bits
    bound, top = 2 * net.cost_bound, (1 << (config.change_bits - 1)) - 1
    await start_clock(dut)
    shifts, limited = set(), 0
    for delta_exp, eta_exp in exponents(config):
        settings = Settings(delta_exp=delta_exp, eta_exp=eta_exp)
        shifts.add(settings.shift(net))
        for accumulates in (0, 1) if net.accumulators else (0,):
            for delta in (-bound, bound, spread(random, -bound, bound), random.randint(-9, 9)):
                nodes, byte = random.randint(0, 1), random.getrandbits(ROUND_BITS)
                dut.nodes.value, dut.random.value = nodes, byte
                dut.delta.value, dut.accumulates.value = delta, accumulates
                dut.delta_exp.value, dut.eta_exp.value = delta_exp, eta_exp
                # The exponents are registers: the amount follows them by two clocks.
                for _ in range(2):
                    await FallingEdge(dut.clk)
                shift = ACT_FRAC if accumulates else settings.shift(net) + ACT_FRAC
                expected: list[int] = []
                gate = (True, False, 0)
                for clock in range(latency + 12):
                    x = random.choice((ACT_MIN, ACT_MAX, ONE, spread(random, ACT_MIN, ACT_MAX)))
                    dut.x.value = x & ((1 << ACT_BITS) - 1)
                    # For the share of the next clock.
                    coming = (
                        random.random() < 0.8,
                        random.random() < 0.2,
                        spread(random, -top, top),
                    )
                    dut.update.value, dut.inject.value = map(int, coming[:2])
                    dut.injected_term.value = coming[2] & (2 * top + 1)
                    term = delta * (x if nodes else ONE)
                    exact = Broadcast.model(term, shift, byte, ROUND_BITS)
                    expected.append(int(exact))
                    limited += abs(exact) > 2 * clips
                    await ReadOnly()
                    if clock >= latency:
                        got = as_signed(int(dut.update_term.value), config.share_bits)
                        update, given, given_share = gate
                        wanted = expected[clock - latency] if update else 0
                        if given:
                            wanted = given_share
                        elif not accumulates:
                            # Beyond what makes every weight clip only the sign counts.
                            got, wanted = (saturate(n, -clips, clips) for n in (got, wanted))
                        assert got == wanted, (delta, x, byte, settings, accumulates, nodes, gate)
                    gate = coming
                    await FallingEdge(dut.clk)
                await ReadOnly()
                assert as_signed(int(dut.shift.value), 7) == settings.shift(net)
                await FallingEdge(dut.clk)
    assert {SHIFT_MIN, net.shift_max} & shifts, "the test must reach an end"
    if SHIFT_MIN in shifts and (2 * bound << -SHIFT_MIN) > 2 * clips:
        assert limited, "the test must reach the share's ends"
