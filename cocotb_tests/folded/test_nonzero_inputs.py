"""rtl.folded.program.nonzero_inputs: the inputs that a sweep visits, of any three samples, at any
pace."""

from __future__ import annotations

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import unpack
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import config_of
from mgd.rtl.folded.config import NONZERO_WORD
from mgd.rtl.folded.program.nonzero_inputs import NonzeroInputs, visit_layout
from mgd.rtl.folded.program.step_clocks import Visits

INPUTS = (1, 2, 7, 8, 9, 15, 16, 17, 40)


@pytest.mark.simulated
@pytest.mark.parametrize("inputs", INPUTS)
def test_nonzero_inputs(inputs):
    given = {"network": {"layers": (inputs, 2)}, "lanes": 1, "variant": {"skip_zeros": True}}
    return Row(NonzeroInputs(config_of(given)), visits, given, seed=inputs)


def pattern(random, inputs: int) -> list[int]:
    """Which inputs are not 0: none, all, one, or some, with whole words that are all 0."""
    kind = random.randrange(6)
    if kind < 2:
        return [kind] * inputs
    flags = [int(random.random() < 0.5) for _ in range(inputs)]
    if kind == 2:
        return [int(k == random.randrange(inputs)) for k in range(inputs)]
    if kind == 3:
        zero_words = {k for k in range(-(-inputs // NONZERO_WORD)) if random.random() < 0.6}
        flags = [0 if k // NONZERO_WORD in zero_words else flag for k, flag in enumerate(flags)]
    return flags


async def load(dut, random, buffer: int, flags: list[int]) -> None:
    """Write a sample's bits, with pauses in which the other pins say anything."""
    for index, flag in enumerate(flags):
        while random.random() < 0.2:
            dut.write.value, dut.nonzero.value = 0, random.getrandbits(1)
            dut.index.value = random.randrange(len(flags))
            await FallingEdge(dut.clk)
        dut.write.value, dut.buffer.value = 1, buffer
        dut.index.value, dut.nonzero.value = index, flag
        await FallingEdge(dut.clk)
    dut.write.value = 0


def group(current: list[int], previous: list[int], uses: tuple[int, int], every: int) -> list[dict]:
    """The visits of a group."""
    found = []
    for k, (a, b) in enumerate(zip(current, previous, strict=True)):
        a, b = a & uses[0], b & uses[1]
        if a or b or every:
            found.append({"input": k, "bias": 0, "current": a, "previous": b})
    if not found:
        found.append({"input": len(current) - 1, "bias": 0, "current": 0, "previous": 0})
    return [*found, {"input": len(current), "bias": 1, "current": 1, "previous": 1}]


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def visits(dut):
    config, random = config_of(params()), rng()
    inputs, layout = config.network.layers[0], visit_layout(config)
    await start_clock(dut)
    dut.start.value = dut.write.value = dut.o__ready.value = 0
    samples = [[0] * inputs for _ in range(3)]
    for number in range(60):
        buffer = number % 3
        samples[buffer] = pattern(random, inputs)
        await load(dut, random, buffer, samples[buffer])
        first, second = random.randrange(3), random.randrange(3)
        uses, every = ((1, 1), (1, 0), (0, 1), (1, 1))[number % 4], int(random.random() < 0.2)
        stall = (0.0, 0.0, 0.3)[number % 3]
        # What comes before `start` is over with it.
        dut.o__ready.value = random.getrandbits(1)
        for _ in range(random.randrange(5)):
            await FallingEdge(dut.clk)
        dut.o__ready.value, dut.start.value = 0, 1
        await FallingEdge(dut.clk)
        dut.start.value = 0
        dut.sample_current.value, dut.sample_previous.value = first, second
        dut.uses_current.value, dut.uses_previous.value, dut.all.value = *uses, every
        wanted = group(samples[first], samples[second], uses, every)
        flags = [int(any(visit["input"] == k for visit in wanted)) for k in range(inputs)]
        clocks = Visits(inputs, flags)
        clock = taken = 0
        for turn in range(3):
            for visit in wanted:
                while True:
                    clock += 1
                    ready = int(random.random() >= stall)
                    dut.o__ready.value = ready
                    await ReadOnly()
                    valid = int(dut.o__valid.value)
                    if valid:
                        raw = int(dut.o__payload.value)
                        got = {name: unpack(layout, raw, name) for name in visit}
                        assert got == visit, f"sweep {number}, group {turn}"
                    await FallingEdge(dut.clk)
                    if valid and ready:
                        break
                    assert clock < 100 * (inputs + 9), "no more visits"
            if not stall:
                taken = clocks.group(taken + 1, 0)
                assert clock == taken, f"sweep {number}, group {turn}"
        dut.o__ready.value = 0
