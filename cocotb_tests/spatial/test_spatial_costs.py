"""rtl.units.costs against golden_model.costs: a cost and a class in every clock."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import rng
from cocotb_tests.support.side_by_side import Part, SideBySide, together
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import network_of, packed_array
from cocotb_tests.units.test_cost import cases, packed_label
from mgd.golden_model.costs import classify
from mgd.golden_model.network import ACT_MAX, ACT_MIN, ONE
from mgd.rtl.units.costs import UNITS, parallel_cost, parallel_kind, value_bits

ENTROPY = {"cost": "cross_entropy"}
CASES: dict[str, tuple[dict[str, Any], bool, int]] = {
    # network, dsp, latency
    "mse_1": ({"layers": (3, 1), "target_high": ONE - 1}, True, 4),
    "mse_1_wide": (
        {"layers": (3, 1), "target_low": ACT_MIN, "target_high": ACT_MAX, "cost_frac": 16},
        *(False, 4),
    ),
    "mse_2": ({"layers": (3, 2), "cost_frac": 16}, False, 4),
    "mse_5": ({"layers": (4, 5), "target_low": 0, "cost_frac": 8}, True, 5),
    "entropy_2": (
        {"layers": (3, 2), "pre_frac": 8, "cost_frac": 16, "weight_bits": 8, **ENTROPY},
        *(False, 10),
    ),
    "entropy_3": (
        {"layers": (5, 3), "pre_frac": 14, "cost_frac": 14, "weight_bits": 18, **ENTROPY},
        *(True, 11),
    ),
    "entropy_10": ({"layers": (32, 10), **ENTROPY}, True, 14),
    "smoothed_2": (
        {"layers": (3, 2), "pre_frac": 8, "cost_frac": 16, **ENTROPY, "smoothing_exp": 1},
        *(False, 11),
    ),
    "smoothed_10": ({"layers": (32, 10), **ENTROPY, "smoothing_exp": 5}, True, 15),
    "l1_1": ({"layers": (3, 1), "cost": "l1", "target_low": ACT_MIN}, True, 4),
    "l1_5": ({"layers": (4, 5), "cost": "l1", "cost_frac": 16}, True, 5),
    "mse_targets_1": ({"layers": (3, 1), "targets": "value"}, True, 4),
    "mse_targets_3": ({"layers": (4, 3), "targets": "value"}, False, 4),
    "l1_targets_5": ({"layers": (4, 5), "targets": "value", "cost": "l1"}, True, 5),
    "hinge_1": ({"layers": (3, 1), "cost": "hinge"}, True, 2),
    "hinge_2": ({"layers": (3, 2), "cost": "hinge", "pre_frac": 8, "cost_frac": 16}, True, 3),
    "hinge_5": ({"layers": (4, 5), "cost": "hinge", "weight_bits": 18}, True, 5),
}


def test_every_cost_has_a_case():
    assert {network_of(fields).cost for fields, _, _ in CASES.values()} == set(UNITS)


@pytest.mark.simulated
def test_parallel_costs():
    units = {}
    for name, (fields, dsp, latency) in CASES.items():
        net = network_of(fields)
        units[name] = parallel_cost(net, dsp=dsp)
        assert units[name].latency == latency, name
    return Row(SideBySide(units), equals_golden_cost, seed=6)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def equals_golden_cost(dut):
    await start_clock(dut)
    await together(*(costs_in_a_row(Part(dut, name), name) for name in CASES))


async def costs_in_a_row(dut, name: str) -> None:
    net, random = network_of(CASES[name][0]), rng()
    latency = CASES[name][2]
    bits, model = value_bits(net), parallel_kind(net).model
    found = cases(net, random)
    random.shuffle(found)
    expected = []
    for clock in range(len(found) + latency):
        if clock < len(found):
            values, label = found[clock]
            dut.values.value, dut.label.value = packed_array(values, bits), packed_label(label)
            y = np.array(values)
            cost = int(model(y, np.array(label), net))
            expected.append((cost, int(classify(y, net))))
        await ReadOnly()
        if clock >= latency:
            got = int(dut.cost.value), int(dut.category.value)
            values, label = found[clock - latency]
            assert got == expected[clock - latency], f"{name}: {values}, label {label}"
        await FallingEdge(dut.clk)
