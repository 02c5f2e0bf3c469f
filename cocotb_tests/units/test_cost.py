"""rtl.units.costs against golden_model.costs: every cost function and the class."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import unpack
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.streams import receive, send, start_clock
from cocotb_tests.support.values import network_of, payload_layout, spread
from mgd.golden_model.costs import COSTS, classify
from mgd.golden_model.network import ACT_BITS, ACT_MAX, ACT_MIN, ONE
from mgd.golden_model.tables import TABLE_FRAC
from mgd.rtl.interface import packed_fields
from mgd.rtl.units.costs import RESULT_IN, UNITS, cost_kind, cost_unit

ENTROPY = {"cost": "cross_entropy"}
NARROW = {"layers": (3, 2), "pre_frac": 8, "cost_frac": 16, "weight_bits": 8}
CASES: dict[str, dict[str, Any]] = {
    "mse_1": {"layers": (3, 1), "target_low": -ONE, "target_high": ONE - 1},
    "mse_1_wide_targets": {
        "layers": (3, 1),
        "target_low": ACT_MIN,
        "target_high": ACT_MAX,
        "cost_frac": 16,
    },
    "mse_10": {"layers": (4, 10), "target_low": 0, "cost_frac": 8},
    "entropy_2": {**NARROW, **ENTROPY},
    "entropy_10": {"layers": (32, 10), **ENTROPY},
    "entropy_3": {"layers": (5, 3), "pre_frac": 14, "cost_frac": 14, "weight_bits": 18, **ENTROPY},
    "smoothed_2": {**NARROW, **ENTROPY, "smoothing_exp": 1},
    "smoothed_10": {"layers": (32, 10), **ENTROPY, "smoothing_exp": 5},
    "smoothed_3": {"layers": (5, 3), "cost_frac": 13, **ENTROPY, "smoothing_exp": 16},
    "l1_1": {"layers": (3, 1), "cost": "l1", "target_low": ACT_MIN, "target_high": ACT_MAX},
    "l1_5": {"layers": (4, 5), "cost": "l1", "target_low": 0, "cost_frac": 16},
    "mse_targets_1": {"layers": (3, 1), "targets": "value"},
    "mse_targets_3": {"layers": (4, 3), "targets": "value", "cost_frac": 16},
    "l1_targets_5": {"layers": (4, 5), "targets": "value", "cost": "l1"},
    "hinge_1": {"layers": (3, 1), "cost": "hinge"},
    "hinge_2": {**NARROW, "cost": "hinge"},
    "hinge_5": {"layers": (4, 5), "cost": "hinge", "weight_bits": 18},
}


def choices() -> list[tuple[str, bool, bool]]:
    """Each case with its multiplier in a DSP block, with or without a register, and in logic, where
    there is one."""
    multiplies = {name: cost_kind(network_of(CASES[name])).product for name in CASES}
    return [
        (name, dsp, registered)
        for name in CASES
        for dsp, registered in ((True, False), (True, True), (False, False))
        if (dsp and not registered) or multiplies[name](network_of(CASES[name]))
    ]


def test_every_cost_has_a_case():
    assert {network_of(case).cost for case in CASES.values()} == set(COSTS) == set(UNITS)


@pytest.mark.simulated
@pytest.mark.parametrize(("name", "dsp", "registered"), choices())
def test_cost(name, dsp, registered):
    network = CASES[name]
    given = {"dsp": dsp, "registered": registered}
    unit = cost_unit(network_of(network), **given)
    return Row(unit, equals_golden_cost, {"network": network, **given})


def packed_label(label: int | tuple[int, ...]) -> int:
    """A label, or target values side by side, the first in the lowest bits."""
    if isinstance(label, int):
        return label
    return sum((value & (1 << ACT_BITS) - 1) << ACT_BITS * k for k, value in enumerate(label))


def target_cases(net, random) -> list[tuple[list[int], tuple[int, ...]]]:
    """Outputs and targets: both ends, equal ones, any."""
    n, ends = net.outputs, (ACT_MIN, ACT_MAX, 0, -1, ONE)
    found = [([a] * n, (b,) * n) for a in ends for b in ends]
    for _ in range(60):
        values, wanted = ([spread(random, ACT_MIN, ACT_MAX) for _ in range(n)] for _ in range(2))
        found.append((values, tuple(wanted)))
    return found


def cases(net, random) -> list[tuple[list[int], Any]]:
    """Outputs and a label: ends, ties, near ties, far and near values."""
    if net.regression:
        return target_cases(net, random)
    n = net.outputs
    if not net.reads_sums:
        low, high, unit = ACT_MIN, ACT_MAX, ONE
        points = [net.target_low, net.target_high]
        middle = (net.target_low + net.target_high) // 2
        points += [middle - 1, middle, middle + 1, middle + 2]
    else:
        high = net.output_bound
        low, unit = -high, 1 << net.pre_frac
        points = [0, unit, 15 * unit, -unit, -1]
    points = [max(low, min(high, p)) for p in points]
    labels = list(range(net.classes))
    found = [([value] * n, label) for value in (low, high, *points) for label in labels]
    for label in labels:
        # One output at the far end of all others: the largest costs.
        for inside, outside in ((low, high), (high, low)):
            values = [outside] * n
            values[label % n] = inside
            found.append((values, label))
        if net.cost == "cross_entropy":
            # All others whole units below, about where their terms vanish.
            for whole in range(TABLE_FRAC - 1, TABLE_FRAC + 4):
                values = [0] * n
                values[label] = whole * unit
                found.append((values, label))
    for _ in range(60):
        centre = spread(random, low, high)
        reach = random.choice((1, unit // 4, 2 * unit, 20 * unit, high))
        values = [max(low, min(high, centre + random.randint(-reach, reach))) for _ in range(n)]
        if random.random() < 0.3:
            values[random.randrange(n)] = max(values)  # a tie for the class
        found.append((values, random.choice(labels)))
    return found


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def equals_golden_cost(dut):
    net, random = network_of(params()["network"]), rng()
    unit = cost_unit(net)
    layout, result = payload_layout(unit, "i"), payload_layout(unit, "o")
    await start_clock(dut)

    def packed(values, second):
        return [
            packed_fields(layout, value=v, node=k, second=second, last=k == net.outputs - 1)
            for k, v in enumerate(values)
        ]

    def wanted(values, label, second):
        y = np.array(values)
        cost = int(unit.model(y, np.array(label), net))
        assert 0 <= cost <= net.cost_bound
        return cost, int(classify(y, net)), second

    for idle, stall in ((0.0, 0.0), (0.4, 0.6)):
        found = cases(net, random)
        random.shuffle(found)
        # Two passes of one step share a label and may wait for each other.
        for number, (values, label) in enumerate(found):
            other = found[(number * 7 + 1) % len(found)][0]
            passes = [(values, 0), (other, 1)]
            dut.label.value = packed_label(label)
            sender = cocotb.start_soon(
                send(
                    dut,
                    "i",
                    [p for v, second in passes for p in packed(v, second)],
                    idle=idle,
                    rng=random,
                )
            )
            got = await receive(dut, "o", 2, stall=stall, rng=random)
            await sender
            for raw, (v, second) in zip(got, passes, strict=True):
                actual = tuple(unpack(result, raw, k) for k in ("cost", "category", "second"))
                assert actual == wanted(v, label, second), f"{v}, label {label}"

    for second in (1, 0):
        await send(dut, "i", packed([0] * net.outputs, second), rng=random)
        # send() returns one clock after the last output was taken.
        announced, latency = [], 1
        while True:
            await ReadOnly()
            if int(dut.result_in_3.value):
                announced.append(latency)
            if int(dut.o__valid.value):
                break
            latency += 1
            assert latency < 1000
            await FallingEdge(dut.clk)
        assert announced == ([latency - RESULT_IN] if second else [])
        await FallingEdge(dut.clk)
        if second:
            await receive(dut, "o", 1, rng=random)
    assert latency == unit.latency_of(net, params()["dsp"], params()["registered"])
    for _ in range(5):
        await FallingEdge(dut.clk)
    assert int(dut.o__valid.value), "a result stays until it is taken"
    if net.cost == "cross_entropy":
        # The next pass is taken in while the result waits, and then no more.
        waiting = [0] * net.outputs
        waiting[-1] = 1 << net.pre_frac
        await send(dut, "i", packed(waiting, 1), rng=random)
    assert not int(dut.i__ready.value), "the next pass waits for the result to leave"
    (raw,) = await receive(dut, "o", 1, rng=random)
    assert unpack(result, raw, "second") == 0
    if net.cost == "cross_entropy":
        await FallingEdge(dut.clk)  # the clock in which the pass that waited begins
    assert int(dut.i__ready.value)
    if net.cost == "cross_entropy":
        (raw,) = await receive(dut, "o", 1, rng=random)
        assert unpack(result, raw, "second") == 1
        assert unpack(result, raw, "category") == net.outputs - 1
