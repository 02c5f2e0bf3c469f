"""rtl.spatial.sums against golden_model.forward: weighted_sums and pre_activation, one a clock."""

from __future__ import annotations

from itertools import chain
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import rng
from cocotb_tests.support.side_by_side import Part, SideBySide, together
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import network_of, packed_array, signed_array, spread
from mgd.boards.devices import ECP5
from mgd.boards.netlist.cell_models import cell_models
from mgd.golden_model.forward import pre_activation, weighted_sum, with_bias
from mgd.golden_model.network import ACT_BITS, DELTA_EXP_MAX, ONE
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.sums import FirstSums, LaterSums

FIRST: dict[str, tuple[dict[str, Any], bool, bool, int]] = {
    # network, nodes, antithetic, input_shift
    "bit_wp": ({"layers": (5, 1), "sample_bits": 1}, False, True, 14),
    "bit_np": ({"layers": (17, 1), "sample_bits": 1}, True, False, 11),
    "signed_bit": ({"layers": (1, 1), "sample_bits": 1, "sample_signed": True}, False, False, 14),
    "signed": ({"layers": (3, 1), "sample_bits": 3, "sample_signed": True}, False, False, 13),
    "unsigned": (
        {"layers": (16, 1), "sample_bits": 4, "weight_bits": 18, "pre_frac": 14},
        *(False, True, 11),
    ),
    "narrow": (
        {"layers": (4, 1), "sample_bits": 8, "sample_signed": True, "weight_bits": 8},
        *(True, True, 0),
    ),
    # In an ECP5's carry cells, in fours and what is left of one.
    "cells_np": ({"layers": (6, 1), "sample_bits": 1}, True, True, 14),
    "cells_wp": ({"layers": (8, 1), "sample_bits": 2, "weight_bits": 9}, False, True, 12),
    # All planes at once, in pipelined cores.
    "pipelined_np": ({"layers": (2, 1), "sample_bits": 2, "sample_signed": True}, True, True, 14),
    "pipelined_wp": ({"layers": (16, 1), "sample_bits": 5, "weight_bits": 18}, False, True, 10),
    "cells_pipelined": (
        {"layers": (15, 1), "sample_bits": 4, "sample_signed": True},
        *(True, True, 11),
    ),
    "cells_eight": ({"layers": (7, 1), "sample_bits": 1, "sample_signed": True}, False, False, 14),
}
LATER: dict[str, tuple[dict[str, Any], bool, bool, bool]] = {
    # network, nodes, antithetic, product_dsp
    "dsp_wp": ({"layers": (2, 4, 1)}, False, True, True),
    "dsp_np": ({"layers": (2, 1, 1), "hidden": "relu"}, True, False, True),
    "logic_wp": (
        {"layers": (2, 16, 1), "hidden": "identity", "weight_bits": 18},
        *(False, False, False),
    ),
    "logic_np": ({"layers": (2, 5, 1), "weight_bits": 8, "pre_frac": 9}, True, True, False),
    "cells": ({"layers": (2, 6, 1)}, True, True, True),
}
TOKENS = 150
"""For each of the exponents."""


def first_config(name: str) -> SpatialConfig:
    fields, nodes, antithetic, input_shift = FIRST[name]
    return SpatialConfig(
        *(network_of(fields), nodes, antithetic, input_shift, 0, 0),
        ccu2c=name.startswith("cells"),
        update_delay=int("pipelined" in name),
    )


def later_config(name: str) -> SpatialConfig:
    fields, nodes, antithetic, dsp = LATER[name]
    return SpatialConfig(
        *(network_of(fields), nodes, antithetic, 0, 0, 0),
        product_dsp=dsp,
        ccu2c=name == "cells",
    )


@pytest.mark.simulated
def test_first_sums():
    latencies = {name: FirstSums.latency_of(first_config(name)) for name in FIRST}
    # A clock to the neuron, two levels of adders a clock, the bias among them; planes add one,
    # rounding two.
    assert latencies["signed_bit"] == 4
    assert latencies["bit_wp"] == 5
    assert latencies["bit_np"] == 6
    assert latencies["unsigned"] == 7
    assert (latencies["pipelined_np"], latencies["pipelined_wp"]) == (5, 8)
    units = {name: FirstSums(first_config(name)) for name in FIRST}
    cells = cell_models(ECP5.name, ["CCU2C"])
    return Row(SideBySide(units), first_equals_golden, seed=4, cells=cells)


@pytest.mark.simulated
def test_later_sums():
    latencies = {name: LaterSums.latency_of(later_config(name), 1) for name in LATER}
    assert latencies == {
        "dsp_wp": 7,
        "dsp_np": 6,
        "logic_wp": 8,
        "logic_np": 7,
        "cells": 7,
    }
    units = {name: LaterSums(later_config(name), 1) for name in LATER}
    cells = cell_models(ECP5.name, ["CCU2C"])
    return Row(SideBySide(units), later_equals_golden, seed=4, cells=cells)


class Checker:
    """Drives one unit, and compares z with what the token of `latency` clocks ago should give."""

    def __init__(self, dut, name: str, config: SpatialConfig, layer: int, latency: int) -> None:
        self.dut, self.name, self.config, self.latency = dut, name, config, latency
        self.bits = config.pre_bits(layer)
        self.expected: list[list[int] | None] = []
        self.compared = 0
        self.signs_after = FirstSums.SIGNS_AFTER if layer == 0 else LaterSums.SIGNS_AFTER
        self.weights_after = FirstSums.weights_after(config) if layer == 0 else 0
        self.late: list[tuple[str, object]] = []

    async def clock(self, wanted: list[int] | None = None) -> None:
        """One clock with the pins as they are."""
        place = len(self.expected)
        self.expected.append(wanted)
        await ReadOnly()
        due = self.expected[place - self.latency] if place >= self.latency else None
        if due is not None:
            got = signed_array(int(self.dut.z.value), self.config.passes, self.bits)
            assert got == due, f"{self.name}, clock {place - self.latency}"
            self.compared += 1
        await FallingEdge(self.dut.clk)
        for port, value in self.late:
            getattr(self.dut, port).value = value
        self.late.clear()

    def drive(self, port: str, value) -> None:
        """What meets the inputs: a clock behind them in the first layer, which registers them."""
        after = self.weights_after if port == "weights" else self.signs_after
        assert after in (0, 1)
        if after:
            self.late.append((port, value))
        else:
            getattr(self.dut, port).value = value

    async def drain(self) -> None:
        for _ in range(self.latency + 1):
            await self.clock()

    def weights(self, random) -> np.ndarray:
        net = self.config.network
        count = net.layers[-2] + 1
        kind = random.random()
        if kind < 0.2:
            values = [random.choice((net.weight_min, net.weight_max)) for _ in range(count)]
        elif kind < 0.3:
            values = [random.choice((net.weight_min, net.weight_max))] * count
        else:
            values = [spread(random, net.weight_min, net.weight_max) for _ in range(count)]
        self.drive("weights", packed_array(values, net.weight_bits))
        return np.array(values)

    def signs(self, random) -> np.ndarray:
        """±1 per input or one in all, as the golden model's draws have them."""
        count = 1 if self.config.nodes else self.config.network.layers[-2] + 1
        bits = random.choice((0, (1 << count) - 1, random.getrandbits(count)))
        self.drive("signs", bits)
        return np.array([-1 if bits >> k & 1 else 1 for k in range(count)])

    def wanted(self, weights, inputs, signs, unperturbed: int, delta_exp: int) -> list[int]:
        """inputs: those of each pass, without the bias."""
        cfg, net, found = self.config, self.config.network, []
        for x, factor in zip(inputs, (1, -1), strict=False):
            x = with_bias(np.array(x))
            base = weighted_sum(weights[None].astype(float), x, net)
            sign_sum = int(signs[0]) * ONE if cfg.nodes else int(signs @ x)
            z = pre_activation(base, sign_sum, 0 if unperturbed else factor, delta_exp, net)
            found.append(int(z[0]))
        return found


def exponents(net) -> tuple[int, ...]:
    return 1, 5, DELTA_EXP_MAX


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def first_equals_golden(dut):
    await start_clock(dut)
    await together(*(first_sums(Part(dut, name), name) for name in FIRST))


async def first_sums(dut, name: str) -> None:
    config, random = first_config(name), rng()
    net, bits = config.network, config.planes
    checker = Checker(dut, name, config, 0, FirstSums.latency_of(config))
    for delta_exp in exponents(net):
        dut.scale.value = net.grid_frac - delta_exp
        tokens = 0
        while tokens < TOKENS:
            weights = checker.weights(random)
            codes = [
                random.choice(
                    (net.code_min, net.code_max, spread(random, net.code_min, net.code_max))
                )
                for _ in range(net.layers[0])
            ]
            dut.codes.value = packed_array(codes, net.sample_bits)
            inputs = [[code << config.input_shift for code in codes]] * config.passes
            steps = random.randint(1, 4)
            for number in range(bits - 1 + steps):
                left = max(bits - 1 - number, 0)  # the number of the plane
                plane = sum((code >> left & 1) << j for j, code in enumerate(codes))
                first, last = number == 0, number == bits - 1
                if net.sample_bits > bits:
                    plane = random.getrandbits(net.layers[0])  # takes the codes themselves
                elif bits == 1:
                    first = last = True  # with every token
                elif number >= bits:
                    plane = random.getrandbits(net.layers[0])
                dut.plane.value = plane
                dut.plane_first.value, dut.plane_last.value = int(first), int(last)
                unperturbed = int(random.random() < 0.2)
                dut.unperturbed.value = unperturbed
                signs = checker.signs(random)
                if number < bits - 1:
                    await checker.clock()
                    continue
                await checker.clock(checker.wanted(weights, inputs, signs, unperturbed, delta_exp))
                tokens += 1
                dut.plane_first.value = dut.plane_last.value = 0
                while random.random() < 0.15:  # W·x is there after clocks without a token, too
                    dut.plane.value = random.getrandbits(net.layers[0])
                    await checker.clock()
        await checker.drain()
    assert checker.compared >= 3 * TOKENS


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def later_equals_golden(dut):
    await start_clock(dut)
    await together(*(later_sums(Part(dut, name), name) for name in LATER))


async def later_sums(dut, name: str) -> None:
    config, random = later_config(name), rng()
    net = config.network
    bound = net.input_bound(1)
    low, high = (-bound, bound) if bound == ONE else (-bound, bound - 1)
    checker = Checker(dut, name, config, 1, LaterSums.latency_of(config, 1))
    for delta_exp in exponents(net):
        dut.scale.value = net.grid_frac - delta_exp
        for _ in range(6):
            weights = checker.weights(random)
            ends = random.random() < 0.3
            for _ in range(TOKENS // 6):
                inputs = [
                    [
                        random.choice((low, high)) if ends else spread(random, low, high)
                        for _ in range(net.layers[1])
                    ]
                    for _ in range(config.passes)
                ]
                dut.x.value = packed_array(chain(*inputs), ACT_BITS)
                unperturbed = int(random.random() < 0.2)
                dut.unperturbed.value = unperturbed
                signs = checker.signs(random)
                await checker.clock(checker.wanted(weights, inputs, signs, unperturbed, delta_exp))
            await checker.drain()
    assert checker.compared >= 3 * (TOKENS // 6) * 6
