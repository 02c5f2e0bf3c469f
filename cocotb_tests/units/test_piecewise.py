"""rtl.lib.piecewise.SharedTables against golden_model.tables, each table's turn at random."""

from __future__ import annotations

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import as_signed
from mgd.golden_model.network import ACT_BITS
from mgd.golden_model.tables import EXP2, LOG2, PiecewiseLinear
from mgd.rtl.lib.piecewise import SharedTables
from mgd.rtl.units.activations import KINDS, Tabulated

CLOCKS = 3000
BEYOND_BITS = 4


@pytest.mark.simulated
@pytest.mark.parametrize("dsp", [True, False], ids=("dsp", "logic"))
@pytest.mark.parametrize(
    ("kind", "bits", "cost_bits"), [("tanh", 11, 17), ("tanh", 17, 15), ("sigmoid", 16, 14)]
)
def test_shared_tables(kind, bits, cost_bits, dsp):
    given = {"kind": kind, "bits": bits, "cost_bits": cost_bits}
    unit = SharedTables(tabulated(kind), bits, cost_bits, BEYOND_BITS, dsp=dsp)
    return Row(unit, equals_tables, given)


def tabulated(name: str) -> PiecewiseLinear:
    kind = KINDS[name]
    assert isinstance(kind, Tabulated)
    return kind.table


def position(random, bits: int) -> int:
    """Anywhere, or at an end of a segment."""
    end = random.randint(0, 16) << (bits - 4)
    near = min(max(end + random.randint(-2, 2), 0), (1 << bits) - 1)
    return random.choice((near, random.getrandbits(bits)))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def equals_tables(dut):
    given, random = params(), rng()
    table = tabulated(given["kind"])
    await start_clock(dut)
    expected = []
    for clock in range(CLOCKS):
        activates, logarithm = random.getrandbits(1), random.getrandbits(1)
        at = position(random, given["bits"]), position(random, given["cost_bits"])
        dut.activates.value, dut.logarithm.value = activates, logarithm
        dut.position.value, dut.cost_position.value = at
        inside = (0, (1 << BEYOND_BITS) - 1)
        beyond = random.choice((*inside, random.getrandbits(BEYOND_BITS)))
        dut.beyond.value = beyond
        if activates:
            last = 0 if beyond >> (BEYOND_BITS - 1) else (1 << given["bits"]) - 1
            place = at[0] if beyond in inside else last
            wanted = table(np.array(place), given["bits"])
        else:
            wanted = (LOG2 if logarithm else EXP2)(np.array(at[1]), given["cost_bits"])
        expected.append((int(wanted), activates, logarithm, at))
        await ReadOnly()
        if clock >= SharedTables.latency:
            wanted, *where = expected[clock - SharedTables.latency]
            assert as_signed(int(dut.value.value), ACT_BITS) == wanted, where
        await FallingEdge(dut.clk)
