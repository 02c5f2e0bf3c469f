"""rtl.folded.collector against golden_model.forward.pre_activation."""

from __future__ import annotations

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from cocotb.utils import get_sim_time

from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import unpack
from cocotb_tests.support.runner import CLOCK_NS, params, rng
from cocotb_tests.support.streams import receive, start_clock
from cocotb_tests.support.values import config_of, field, payload_layout, spread
from mgd.golden_model.forward import pre_activation
from mgd.golden_model.network import DELTA_EXP_MAX, ONE
from mgd.rtl.folded.collector import Collector, group_layout, tag_layout
from mgd.rtl.interface import packed_fields

CASES = {
    "1_lane": ({"layers": (3, 2, 1), "weight_bits": 18, "pre_frac": 14, "cost_frac": 14}, 1),
    "3_lanes": ({"layers": (64, 20, 3), "weight_bits": 16}, 3),
    "8_lanes": ({"layers": (5, 11, 9), "weight_bits": 8, "pre_frac": 8}, 8),
}
GROUPS = 60


@pytest.mark.simulated
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", [None, "np"])
def test_collector(name, method):
    network, lanes = CASES[name]
    given = {"network": network, "lanes": lanes}
    if method:
        given["fixed"] = [("method", method)]
    return Row(Collector(config_of(given)), equals_pre_activation, given)


def clock_number() -> int:
    """Clocks since the start of the simulation."""
    return int(get_sim_time("ns")) // CLOCK_NS


class Ring:
    """The lanes' output registers, and the clocks at which they turn."""

    def __init__(self, dut, config):
        self.dut, self.config = dut, config
        # The sums, and those of signs; and what is loaded in the clock of `take`, and after it.
        self.values: list[list[int]] = [[0] * config.lanes] * 2
        self.load: list[list[int] | None] = [None, None]
        self.sums: list[int] = []
        self.turned_at: list[int] = []
        self.left = [0, 0]
        self.first_valid: int | None = None

    async def run(self):
        dut, config = self.dut, self.config
        while True:
            dut.sum.value = self.values[0][0] & ((1 << config.out_bits) - 1)
            dut.sign_sum.value = self.values[1][0] & ((1 << config.sign_sum_bits) - 1)
            await ReadOnly()
            turns = int(dut.shift_products.value), int(dut.shift.value)
            if turns[1]:
                self.turned_at.append(clock_number())
            for k in (0, 1):
                self.left[k] += int(dut.sum_shifted.value) >> k & 1
            if int(dut.o__valid.value) and self.first_valid is None:
                self.first_valid = clock_number()
            await FallingEdge(dut.clk)
            sign_sums = self.load[1]
            for k, (loaded, turned) in enumerate(zip(self.load, turns, strict=True)):
                if loaded is not None:
                    self.values[k] = loaded
                elif turned:
                    self.values[k] = [*self.values[k][1:], self.values[k][0]]
            # The sums follow those of signs a clock later.
            self.load = [None if sign_sums is None else self.sums, None]


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def equals_pre_activation(dut):
    config, random = config_of(params()), rng()
    net = config.network
    z_layout, tags, groups = (
        payload_layout(Collector(config), "o"),
        tag_layout(config),
        group_layout(config),
    )
    top_node = max(config.hidden_nodes, net.outputs)
    scale = net.grid_frac - net.weight_frac
    # The ends that W·x and Σs·x reach by themselves; their weighted sum stays in sum_bound.
    sign_bound = (1 << (net.sign_sum_bits - 1)) - 1
    await start_clock(dut)
    ring = Ring(dut, config)
    cocotb.start_soon(ring.run())
    for number in range(GROUPS):
        active = random.randint(1, config.lanes)
        passes = (1, 2, 3)[number % 3]
        delta_exp = random.choice((1, DELTA_EXP_MAX, random.randint(1, DELTA_EXP_MAX)))
        factors = random.choice(((1, -1), (0, 1)))
        first = random.randint(0, top_node - active)
        last, output = random.getrandbits(1), random.getrandbits(1)
        sums = []
        while len(sums) < config.lanes:
            sign_sum = spread(random, -sign_bound, sign_bound)
            if config.nodes_only:
                sign_sum = random.choice((ONE, -ONE))
            left = net.sum_bound - abs(sign_sum << (net.grid_frac - delta_exp))
            if left >= 0:
                bound = left >> scale
                sums.append((spread(random, -bound, bound), sign_sum))
        expected = [
            (
                int(
                    pre_activation(
                        np.array(sums[p][0] << scale),
                        np.array(sums[p][1]),
                        factors[k],
                        delta_exp,
                        net,
                    )
                ),
                output,
                first + p,
                k,
                int(last and p == active - 1),
            )
            for k in (0, 1)
            if passes >> k & 1
            for p in range(active)
        ]
        dut.delta_exp.value = delta_exp
        dut.factor_0.value, dut.factor_1.value = factors[0] & 3, factors[1] & 3
        dut.group.value = packed_fields(
            groups, node=first, active=active, passes=passes, last=last, output=output
        )
        dut.take.value = 1
        half = 1 << (net.pre_shift - 1 - scale)
        ring.sums = [(base + half) >> config.sum_cut for base, _ in sums]
        ring.load = [None, [sign_sum for _, sign_sum in sums]]
        if config.nodes_only:
            ring.load = [None, [int(sign_sum < 0) for _, sign_sum in sums]]
        ring.turned_at, ring.first_valid = [], None
        ring.left = [0, 0]
        taken_at = clock_number()
        await FallingEdge(dut.clk)
        # The group is looked at with `take` only.
        dut.take.value, dut.group.value = 0, random.getrandbits(len(dut.group))
        stall = random.choice((0.0, 0.0, 0.3, 0.7))
        got = await receive(dut, "o", len(expected), stall=stall, rng=random)
        for raw, wanted in zip(got, expected, strict=True):
            tag = raw >> z_layout["tag"].offset
            actual = (
                field(z_layout, raw, "value"),
                unpack(z_layout, raw, "output"),
                *(unpack(tags, tag, name) for name in ("node", "second", "last")),
            )
            assert actual == wanted, f"group {number} of {active}, passes {passes}"
        turned = (config.lanes if passes == 3 else 0) + active
        assert len(ring.turned_at) == turned
        assert ring.left == [0 if output else active * (passes >> k & 1) for k in (0, 1)]
        if not stall:
            # The first lane's sum is there one clock after `take`; then one a clock.
            assert ring.first_valid == taken_at + 1 + Collector.latency
            assert ring.turned_at == list(range(taken_at + 1, taken_at + 1 + turned))
        for _ in range(random.randint(0, 4)):
            dut.o__ready.value = 1
            await ReadOnly()
            assert not int(dut.o__valid.value), "more values than neurons"
            await FallingEdge(dut.clk)
        dut.o__ready.value = 0
