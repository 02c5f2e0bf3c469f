"""rtl.units.activation (and rtl.lib.piecewise in it) against golden_model.activations.activate."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge
from cocotb.utils import get_sim_time

from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import unpack
from cocotb_tests.support.runner import CLOCK_NS, params, rng
from cocotb_tests.support.streams import receive, send, start_clock
from cocotb_tests.support.values import (
    around,
    clocks_until,
    field,
    network_of,
    payload_layout,
    spread,
)
from mgd.golden_model.network import ACT_FRAC, ACTIVATIONS
from mgd.rtl.interface import packed_fields
from mgd.rtl.units.activation import Activation, used_kinds
from mgd.rtl.units.activations import KINDS

TAG_BITS = 7
CASES: dict[str, dict[str, Any]] = {
    "tanh_relu_8": {"layers": (3, 2, 1), "output": "relu", "pre_frac": 8},
    "identity_tanh_12": {"layers": (9, 5, 2), "hidden": "identity", "weight_bits": 18},
    "tanh_identity_14": {
        "layers": (4, 3, 3),
        "output": "identity",
        "pre_frac": 14,
        "cost_frac": 14,
    },
    "one_layer_relu_14": {"layers": (1, 1), "output": "relu", "pre_frac": 14, "weight_bits": 8},
    "cross_entropy_relu": {"layers": (5, 4, 3), "hidden": "relu", "cost": "cross_entropy"},
    "sigmoid_tanh_8": {"layers": (3, 2, 1), "hidden": "sigmoid", "pre_frac": 8},
    "tanh_sigmoid_12": {"layers": (3, 2, 1), "output": "sigmoid", "cost": "l1"},
    "sigmoid_14": {
        "layers": (2, 3),
        "output": "sigmoid",
        "pre_frac": 14,
        "cost_frac": 14,
    },
    "leaky_relu_hard_tanh_12": {
        "layers": (9, 5, 2),
        "hidden": "leaky_relu",
        "output": "hard_tanh",
    },
    "hard_tanh_leaky_relu_8": {
        "layers": (9, 5, 2),
        "hidden": "hard_tanh",
        "output": "leaky_relu",
        "pre_frac": 8,
    },
    "hinge_sigmoid": {"layers": (5, 4, 3), "hidden": "sigmoid", "cost": "hinge"},
}


def test_every_activation_has_a_case():
    used = {kind.name for c in CASES.values() for kind in used_kinds(network_of(c))}
    assert used == set(ACTIVATIONS) == set(KINDS)


PLAIN = (True, False, False)
OPPOSITES = ((False, False, False), (True, True, True))
OTHERS = (
    PLAIN,
    (True, True, False),
    (True, False, True),
    (False, True, False),
    (False, False, True),
)


def choices() -> list[tuple[str, bool, bool, bool]]:
    """Every unit with and without each option (dsp, table_memory, position_register), and every
    pair of options with one unit at least; units without tables have no options."""
    with_tables = [n for n in CASES if Activation(network_of(CASES[n]), TAG_BITS).tables]
    rows = [(name, *PLAIN) for name in CASES if name not in with_tables]
    for number, name in enumerate(with_tables):
        rows += [(name, *options) for options in (*OPPOSITES, OTHERS[number % len(OTHERS)])]
    return rows


@pytest.mark.simulated
@pytest.mark.parametrize(("name", "dsp", "table_memory", "register"), choices())
def test_activation(name, dsp, table_memory, register):
    network = CASES[name]
    unit = Activation(
        network_of(network),
        TAG_BITS,
        dsp=dsp,
        table_memory=table_memory,
        position_register=register,
    )
    given = {"network": network, "latency": unit.latency}
    return Row(unit, equals_activate, given)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def equals_activate(dut):
    net, random = network_of(params()["network"]), rng()
    unit = Activation(net, TAG_BITS)
    layout, result = payload_layout(unit, "i"), payload_layout(unit, "o")
    high = (1 << (net.pre_bits - 1)) - 1
    one = 1 << net.pre_frac
    # Ends of the tables' segments, of the activation format, and of the input itself.
    corners = [k * one // 2 for k in range(-18, 19)]
    corners += [1 << (net.pre_frac + 1), -1 << (net.pre_frac + 1), ~high, high]
    corners += [((1 << 15) - 1) << net.pre_frac >> ACT_FRAC]
    values = around(corners, ~high, high, reach=3)
    values += [random.randint(-9 * one, 9 * one) for _ in range(400)]
    values += [spread(random, ~high, high) for _ in range(200)]
    random.shuffle(values)
    # Cross-entropy and hinge send no outputs through here.
    chosen = [0 if net.reads_sums else random.getrandbits(1) for _ in values]
    if net.depth == 1:
        chosen = [1] * len(values)
    tags = [random.getrandbits(TAG_BITS) for _ in values]
    expected = []
    for z, output, tag in zip(values, chosen, tags, strict=True):
        y, over = Activation.model(net.output if output else net.hidden, np.array(z), net.pre_frac)
        expected.append((int(y), int(over), output, tag))
    payloads = [
        packed_fields(layout, value=z, output=o, tag=t)
        for z, o, t in zip(values, chosen, tags, strict=True)
    ]

    await start_clock(dut)
    for idle, stall in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.6)):
        began = get_sim_time("ns")
        cocotb.start_soon(send(dut, "i", payloads, idle=idle, rng=random))
        got = await receive(dut, "o", len(payloads), stall=stall, rng=random)
        if not idle and not stall:
            clocks = round((get_sim_time("ns") - began) / CLOCK_NS)
            assert clocks == len(payloads) + params()["latency"]
        found = [
            (field(result, raw, "value"), *(unpack(result, raw, k) for k in names))
            for raw in got
            for names in [("saturated", "output", "tag")]
        ]
        for z, wanted, actual in zip(values, expected, found, strict=True):
            assert actual == wanted, f"z = {z}"

    # An offer does not wait for being taken.
    dut.o__ready.value = 0
    dut.i__valid.value = 1
    cocotb.start_soon(_one_clock(dut))
    assert await clocks_until(dut, dut.o__valid) == params()["latency"]


async def _one_clock(dut):
    await FallingEdge(dut.clk)
    dut.i__valid.value = 0
