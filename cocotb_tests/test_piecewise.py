"""rtl.piecewise.SharedTables against golden_model.tables, each table's turn at random."""

from __future__ import annotations

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.runner import params, rng, simulate
from cocotb_tests.streams import start_clock
from cocotb_tests.values import as_signed
from golden_model.network import ACT_BITS
from golden_model.tables import EXP2, LOG2, TANH
from rtl.piecewise import LATENCY, SharedTables

CLOCKS = 3000


@pytest.mark.parametrize("dsp", [True, False], ids=("dsp", "logic"))
@pytest.mark.parametrize(("tanh_bits", "cost_bits"), [(11, 17), (17, 15), (15, 14)])
def test_shared_tables(tanh_bits, cost_bits, dsp):
    given = {"tanh_bits": tanh_bits, "cost_bits": cost_bits}
    simulate(SharedTables(**given, dsp=dsp), __name__, "equals_tables", given)


def position(random, bits: int) -> int:
    """Anywhere, or at an end of a segment."""
    end = random.randint(0, 16) << (bits - 4)
    near = min(max(end + random.randint(-2, 2), 0), (1 << bits) - 1)
    return random.choice((near, random.getrandbits(bits)))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def equals_tables(dut):
    given, random = params(), rng()
    await start_clock(dut)
    expected = []
    for clock in range(CLOCKS):
        tanh, logarithm = random.getrandbits(1), random.getrandbits(1)
        at = position(random, given["tanh_bits"]), position(random, given["cost_bits"])
        dut.tanh.value, dut.logarithm.value = tanh, logarithm
        dut.tanh_position.value, dut.cost_position.value = at
        if tanh:
            wanted = TANH(np.array(at[0]), given["tanh_bits"])
        else:
            wanted = (LOG2 if logarithm else EXP2)(np.array(at[1]), given["cost_bits"])
        expected.append((int(wanted), tanh, logarithm, at))
        await ReadOnly()
        if clock >= LATENCY:
            wanted, *where = expected[clock - LATENCY]
            assert as_signed(int(dut.value.value), ACT_BITS) == wanted, where
        await FallingEdge(dut.clk)
