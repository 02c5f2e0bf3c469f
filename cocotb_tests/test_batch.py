"""cocotb_tests.support.batch: each row has its own verdict, whatever happens to the others."""

from __future__ import annotations

import cocotb
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import FallingEdge

from cocotb_tests.support import batch
from cocotb_tests.support.batch import Batch, Row
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.streams import start_clock

WIDTH = 8


class Counter(wiring.Component):
    def __init__(self) -> None:
        super().__init__({"by": In(WIDTH), "total": Out(WIDTH)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.total.eq(self.total + self.by)
        return m


@cocotb.test(timeout_time=1, timeout_unit="us")
async def counts(dut):
    assert rng().randrange(1 << 30) == params()["drawn"]
    assert int(dut.by.value) == 0, "a row before has left something"
    await start_clock(dut, by=params()["by"])
    for clock in range(4):
        await FallingEdge(dut.clk)
        assert int(dut.total.value) == 3 * (clock + 1)


@cocotb.test(timeout_time=1, timeout_unit="us")
async def fails_in_a_task(dut):
    async def fails():
        await FallingEdge(dut.clk)
        raise ValueError("in a task")

    await start_clock(dut)
    cocotb.start_soon(fails())
    while True:
        await FallingEdge(dut.clk)


@cocotb.test(timeout_time=1, timeout_unit="us")
async def hangs(dut):
    await start_clock(dut)
    while True:
        await FallingEdge(dut.clk)


def test_verdicts(monkeypatch):
    monkeypatch.setattr(batch, "WITH_WAVES", 0)
    shared = Counter()
    passing = {"by": 3, "drawn": 548563996}
    rows = [
        Row(shared, counts, {**passing, "by": 2}, seed=5),
        Row(shared, fails_in_a_task, seed=6),
        Row(Counter(), hangs, seed=7),
        Row(shared, counts, passing, seed=5),
        Row(Counter(), counts, passing, seed=8),
    ]
    verdicts = Batch("test_batch", rows).verdicts()
    assert verdicts[3] is None
    for number, problem in ((0, "assert 2 == "), (1, "in a task"), (2, "SimTimeoutError"), (4, "")):
        verdict = verdicts[number]
        assert verdict is not None
        assert str(rows[number]) in verdict
        assert problem in verdict
