"""rtl.spatial.record_memory: a record a clock, in order and round again, and the host's words."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import rng
from cocotb_tests.support.side_by_side import Part, SideBySide, together
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import network_of
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.record_memory import RecordMemory

CASES: dict[str, tuple[dict[str, Any], int]] = {
    # network, 16-bit words
    "pairs": ({"layers": (7, 3), "sample_bits": 2}, 16 * 2),
    # Words that are not full, and records that do not fill a power of two.
    "fours": ({"layers": (9, 3), "sample_bits": 5}, 11 * 4),
    # 13 words in 16, the last 3 of which are not stored.
    "gaps": ({"layers": (12, 5), "sample_bits": 9}, 5 * 16),
    "one": ({"layers": (2, 1), "sample_bits": 8}, 2),
}
FIRST = 4
"""Clocks from `begin` to the first record: its own register, the memory, its queue."""


def configured(name: str) -> SpatialConfig:
    return SpatialConfig(network_of(CASES[name][0]), True, True, 0, 0, 0)


@pytest.mark.parametrize(("name", "stride"), list(zip(CASES, (2, 4, 16, 2), strict=True)))
def test_strides(name, stride):
    config = configured(name)
    assert config.record_stride == stride
    assert RecordMemory(config, CASES[name][1]).records == CASES[name][1] // stride


@pytest.mark.simulated
def test_record_memory():
    memories = {name: RecordMemory(configured(name), CASES[name][1]) for name in CASES}
    return Row(SideBySide(memories), brings_records, seed=5)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def brings_records(dut):
    await start_clock(dut)
    await together(*(use(Part(dut, name), name) for name in CASES))


class Memory:
    """What should be in it, and the host's side of it."""

    def __init__(self, dut, name: str, random) -> None:
        self.dut, self.random = dut, random
        self.config, self.depth = configured(name), CASES[name][1]
        self.stride = self.config.record_stride
        self.records = self.depth // self.stride
        widths = self.config.word_widths
        self.widths = widths + [0] * (self.stride - len(widths))
        self.words = [0] * self.depth

    async def write(self, pair: int) -> None:
        """Two words of any bits: those that a record has no use for are not stored."""
        data = self.random.getrandbits(32)
        self.dut.host_address.value, self.dut.host_write_data.value = pair, data
        self.dut.host_write.value = 1
        await FallingEdge(self.dut.clk)
        self.dut.host_write.value = 0
        self.dut.host_write_data.value = self.random.getrandbits(32)
        for half in (0, 1):
            place = 2 * pair + half
            width = self.widths[place % self.stride]
            self.words[place] = data >> 16 * half & ((1 << width) - 1)

    async def check(self, pairs) -> None:
        """The host's reads, one a clock."""
        pairs = list(pairs)
        for clock in range(len(pairs) + RecordMemory.latency):
            if clock < len(pairs):
                self.dut.host_address.value = pairs[clock]
            await ReadOnly()
            if clock >= RecordMemory.latency:
                pair = pairs[clock - RecordMemory.latency]
                wanted = self.words[2 * pair] | self.words[2 * pair + 1] << 16
                assert int(self.dut.host_read_data.value) == wanted, f"host's read of {pair}"
            await FallingEdge(self.dut.clk)

    def record(self, number: int) -> int:
        """As `record` brings it: label and codes side by side."""
        value = place = 0
        for k, width in enumerate(self.widths):
            value |= self.words[number * self.stride + k] << place
            place += width
        return value


async def pulse(dut, *names: str) -> None:
    for name in names:
        getattr(dut, name).value = 1
    await FallingEdge(dut.clk)
    for name in names:
        getattr(dut, name).value = 0


async def use(dut, name: str) -> None:
    random = rng()
    memory = Memory(dut, name, random)
    pairs = range(memory.depth // 2)
    for pair in pairs:
        await memory.write(pair)
    await memory.check(pairs)
    records = memory.records
    for train_count in sorted({records, records - 1, 1, max(records // 2, 1)} - {0}):
        # An address is as wide as the depth needs: the end of a full memory may be 0.
        dut.train_end.value = train_count * memory.stride % (1 << len(dut.train_end))
        await pulse(dut, "restart_train")
        current = 0
        for _ in range(12):
            kind = random.choice(("train", "train", "evaluate", "test"))
            if kind == "test" and train_count == records:
                kind = "evaluate"
            dut.evaluate.value = int(kind != "train")
            dut.eval_test.value = int(kind == "test")
            if random.random() < 0.2:
                await pulse(dut, "restart_train")
                current = 0
            await pulse(dut, "begin")
            # Settings may be anything from then on.
            dut.evaluate.value = random.getrandbits(1)
            dut.eval_test.value = random.getrandbits(1)
            first = {"train": current, "evaluate": 0, "test": train_count}[kind]
            wanted = range(first, records)
            if kind == "train":
                wanted = [(first + k) % train_count for k in range(random.randint(0, 25))]
            stall = random.choice((0.0, 0.0, 0.5))
            clocks, next_sample = 1, 0
            for place, number in enumerate(wanted):
                while True:
                    ready = int(random.random() >= stall)
                    dut.record__ready.value = ready
                    # Which sample is the current one has nothing to do with those on their way.
                    next_sample = int(random.random() < 0.3)
                    dut.next_sample.value = next_sample
                    current = (current + next_sample) % train_count
                    await ReadOnly()
                    valid = int(dut.record__valid.value)
                    if valid:
                        got = int(dut.record__payload.value)
                        assert got == memory.record(number), f"{name}: {kind}, record {number}"
                    await FallingEdge(dut.clk)
                    if not stall:
                        assert valid == (clocks >= FIRST), f"{name}: not a record a clock"
                    clocks += 1
                    if valid and ready:
                        break
                    assert clocks < FIRST + 20 * (place + 1)
            dut.record__ready.value = dut.next_sample.value = 0
            if random.random() < 0.5:
                continue  # `begin` ends what was under way
            await pulse(dut, "stop")
            for _ in range(FIRST + 2):
                await ReadOnly()
                assert not int(dut.record__valid.value), "a record after stop"
                await FallingEdge(dut.clk)
            if random.random() < 0.5:
                await memory.write(random.choice(pairs))
            await memory.check([random.choice(pairs) for _ in range(4)])
        await pulse(dut, "stop")
        await memory.check(pairs)
