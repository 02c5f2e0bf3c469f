"""rtl.system.control: every register, the identity, both memories' spaces, and BUSY, over the
bus."""

from __future__ import annotations

from functools import cache
from typing import Any

import cocotb
import pytest
from cocotb import regression
from cocotb.triggers import FallingEdge, ReadOnly, Timer
from cocotb.utils import get_sim_time

from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import unpack
from cocotb_tests.support.runner import CLOCK_NS, params, rng
from cocotb_tests.support.streams import receive, send, start_clock
from cocotb_tests.support.values import config_of
from mgd.protocol.framing import Space, Status
from mgd.protocol.identity import Identity
from mgd.protocol.registers import EPOCH_SHIFT, FIRST_READABLE, REGISTERS, Command, Mode, Register
from mgd.rtl.interface import (
    SETTINGS_LAYOUT,
    evaluation_layout,
    packed_fields,
    weight_request_layout,
)
from mgd.rtl.system.control import Control, status_layout

SAMPLE_MEMORY = 600
CLOCK_HZ = 123_456_789
CASES = {
    "3-2_2_lanes": ({"layers": (3, 2), "weight_bits": 8}, 2, 1),
    "7-13-3_3_lanes": (
        {"layers": (7, 13, 3), "cost": "cross_entropy", "hidden": "relu", "weight_bits": 18},
        3,
        3,
    ),
    "3-2_2_lanes_narrow_accumulators": (
        {"layers": (3, 2), "weight_bits": 8, "accumulators": True, "tau_theta_max": 2},
        2,
        1,
    ),
    "3-2_2_lanes_wide_accumulators": (
        {"layers": (3, 2), "accumulators": True, "tau_theta_max": 60_000},
        2,
        2,
    ),
}
"""Network, lanes, latency of the sample memory."""
SETTINGS = {
    Register.STEP_TARGET: "step_target",
    Register.DELTA_EXP: "delta_exp",
    Register.ETA_EXP: "eta_exp",
    Register.INPUT_SHIFT: "input_shift",
    Register.TAU_X: "tau_x",
    Register.TAU_P: "tau_p",
    Register.TAU_THETA: "tau_theta",
    Register.EVAL_COUNT: "eval_count",
    Register.SIGN_LAYER: "sign_layer",
}
PINS = {
    Register.TRAIN_END: "train_end",
    Register.EVAL_TEST: "eval_test",
}
REPORTED = {
    Register.STEP: "step",
    Register.COST_SUM: "cost_sum",
    Register.TRAIN_CLOCKS: "train_clocks",
    Register.WEIGHT_SATURATIONS: "weight_saturations",
    Register.ACTIVATION_SATURATIONS: "activation_saturations",
    Register.FRAME_ERRORS: "frame_errors",
}
LATENCY = 4
"""Clocks from `strobe` to the `ack` of a write, both counted."""


class Host:
    """Bus initiator, and stand-ins for the weights and the sample memory."""

    def __init__(self, dut, config, random):
        self.dut, self.config, self.random = dut, config, random
        self.samples: dict[int, int] = {}
        self.sample_writes = 0
        self.weights: dict[tuple[int, int], int] = {}
        self.accumulators: dict[tuple[int, int], int] = {}
        self.delay = 0
        """More than 0: the memories do not take everything at once."""
        self.latency: int = params()["sample_latency"]
        self.clocks = 0

    async def start(self) -> None:
        await start_clock(self.dut)
        cocotb.start_soon(self._sample_memory())
        cocotb.start_soon(self._weights())

    async def access(self, space, address, data=None, *, expect=Status.OK) -> int:
        """One word; `data` makes it a write.  Returns what was read."""
        dut = self.dut
        dut.bus__space.value, dut.bus__address.value = int(space), int(address)
        dut.bus__write.value = int(data is not None)
        dut.bus__write_data.value = self.random.getrandbits(32) if data is None else data
        dut.bus__strobe.value = 1
        self.clocks = 0
        for _ in range(200):
            self.clocks += 1
            await ReadOnly()
            done = int(dut.bus__ack.value)
            status, value = int(dut.bus__status.value), int(dut.bus__read_data.value)
            await FallingEdge(dut.clk)
            if done:
                break
        else:
            raise AssertionError(f"no ack from {space} {address:#x}")
        dut.bus__strobe.value = 0
        for name in ("space", "address", "write", "write_data"):
            pin = getattr(dut, f"bus__{name}")
            pin.value = self.random.getrandbits(len(pin))
        await ReadOnly()
        assert not int(dut.bus__ack.value), "ack without strobe"
        await FallingEdge(dut.clk)
        assert status == expect, f"{space} {address:#x}: {Status(status)!r}, not {expect!r}"
        return value

    async def read(self, register: int) -> int:
        value = await self.access(Space.REGISTERS, register)
        assert self.clocks == LATENCY + self.latency
        return value

    async def read64(self, register: int) -> int:
        return await self.read(register) | await self.read(register + 1) << 32

    async def write(self, register: int, value: int, **more) -> None:
        await self.access(Space.REGISTERS, register, value, **more)

    async def _sample_memory(self) -> None:
        dut, reads = self.dut, []
        while True:
            ready = not self.delay or self.random.random() < 0.3
            dut.sample_ready.value = int(ready)
            await ReadOnly()
            address = int(dut.sample_address.value)
            if int(dut.sample_write.value) and ready:
                self.samples[address] = int(dut.sample_write_data.value)
                self.sample_writes += 1
            await FallingEdge(dut.clk)
            reads = [self.samples.get(address, 0), *reads[: self.latency - 1]]
            dut.sample_read_data.value = reads[-1]

    async def _weights(self) -> None:
        layout, network = weight_request_layout(self.config), self.config.network
        while True:
            stall = self.random.choice((0.0, 0.7)) if self.delay else 0.0
            (raw,) = await receive(self.dut, "weight_request", 1, stall=stall, rng=self.random)
            place = unpack(layout, raw, "lane"), unpack(layout, raw, "word")
            memory, bits = self.weights, network.weight_bits
            if unpack(layout, raw, "accumulator"):
                memory, bits = self.accumulators, network.gradient_bits
            if unpack(layout, raw, "write"):
                memory[place] = unpack(layout, raw, "data") & ((1 << bits) - 1)
            else:
                for _ in range(self.random.randint(0, self.delay)):
                    await FallingEdge(self.dut.clk)
                value = memory.get(place, 0)
                await send(self.dut, "weight_reply", [value], rng=self.random)


@cache
def built(name: str) -> tuple[Control, dict[str, Any]]:
    """One for all coroutines, and their parameters."""
    network, lanes, latency = CASES[name]
    given = {"network": network, "lanes": lanes, "sample_latency": latency}
    return Control(config_of(given), SAMPLE_MEMORY, CLOCK_HZ, latency), given


COROUTINES = (
    "registers_hold_what_is_written",
    "each_flag_is_its_own",
    "reports_and_refuses_writes",
    "tells_its_identity",
    "reaches_the_samples",
    "writes_samples_while_the_core_runs",
    "reaches_the_weights",
    "reaches_the_accumulators",
    "is_busy_while_the_core_is",
    "sums_evaluations",
    "sums_costs_beyond_32_bits",
)


@pytest.mark.simulated
@pytest.mark.parametrize("coroutine", COROUTINES)
@pytest.mark.parametrize("name", CASES)
def test_control(name, coroutine):
    control, given = built(name)
    return Row(control, globals()[coroutine], given)


def test_every_coroutine_is_in_the_list():
    found = {name for name, one in globals().items() if isinstance(one, regression.TestGenerator)}
    assert found == set(COROUTINES)


async def ready_host(dut) -> Host:
    host = Host(dut, config_of(params()), rng())
    await host.start()
    return host


def widths(dut) -> dict[int, int]:
    """Bits of every register that can be written, but for COMMAND."""
    found = {int(r): SETTINGS_LAYOUT[name].width for r, name in SETTINGS.items()}
    found |= {int(r): len(getattr(dut, pin)) for r, pin in PINS.items()}
    found |= {int(Register.MODE): len(Mode), int(Register.SEED): 32, int(Register.EPOCH): 8}
    found[Register.SEED + 1] = SETTINGS_LAYOUT["seed"].width - 32
    return found


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def registers_hold_what_is_written(dut):
    host = await ready_host(dut)
    bits = widths(dut)
    assert set(bits) | {Register.COMMAND} == set(range(max(bits) + 1))
    assert max(bits) < FIRST_READABLE
    # The end is kept modulo a power of two that the memory fits in.
    assert 1 << bits[int(Register.TRAIN_END)] >= SAMPLE_MEMORY
    for round_number in range(3):
        values = {}
        for register, width in bits.items():
            ones = (1 << width) - 1
            values[register] = (ones, 0, host.random.getrandbits(width))[round_number]
            above = host.random.getrandbits(32) & ~ones & 0xFFFFFFFF
            await host.write(register, values[register] | above)
        # What nothing is kept of may be written all the same, and nothing reads it back.
        for register in range(max(bits) + 1, FIRST_READABLE):
            await host.write(register, host.random.getrandbits(32))
        for register in range(FIRST_READABLE):
            await host.access(Space.REGISTERS, register, expect=Status.BAD_REQUEST)
        packed = int(dut.settings.value)
        for register, name in SETTINGS.items():
            assert unpack(SETTINGS_LAYOUT, packed, name) == values[register], name
        for register, pin in PINS.items():
            assert int(getattr(dut, pin).value) == values[register], pin
        mode = values[Register.MODE]
        for name, flag in (
            ("nodes", Mode.NODES),
            ("antithetic", Mode.ANTITHETIC),
            ("accumulates", Mode.ACCUMULATE),
        ):
            assert unpack(SETTINGS_LAYOUT, packed, name) == bool(mode & flag), name
        assert await host.read(Register.STATUS) == values[Register.EPOCH] << EPOCH_SHIFT
        seed = values[Register.SEED] | values[Register.SEED + 1] << 32
        assert unpack(SETTINGS_LAYOUT, packed, "seed") == seed


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def each_flag_is_its_own(dut):
    host = await ready_host(dut)
    for flag, name in zip(Mode, ("nodes", "antithetic", "accumulates"), strict=True):
        await host.write(Register.MODE, flag)
        packed = int(dut.settings.value)
        high = [
            n for n in ("nodes", "antithetic", "accumulates") if unpack(SETTINGS_LAYOUT, packed, n)
        ]
        assert high == [name]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reports_and_refuses_writes(dut):
    host = await ready_host(dut)
    layout = status_layout(host.config)
    given = {name: host.random.getrandbits(layout[name].width) for name in REPORTED.values()}
    dut.status.value = packed_fields(layout, **given)
    for register, name in REPORTED.items():
        wide = layout[name].width > 32
        got = await (host.read64(register) if wide else host.read(register))
        assert got == given[name], name
    for register in range(FIRST_READABLE, REGISTERS):
        await host.write(register, 5, expect=Status.BAD_REQUEST)
        assert host.clocks == LATENCY
    for register in range(max(Register) + 1, REGISTERS):
        assert await host.read(register) == 0
    for register, name in REPORTED.items():
        assert await host.read(register) == given[name] & 0xFFFFFFFF, "a refused write did it"
    for address in (REGISTERS, REGISTERS + 1, 0x100, 0xFFFFFF):
        await host.access(Space.REGISTERS, address, expect=Status.BAD_ADDRESS)
        await host.access(Space.REGISTERS, address, 1, expect=Status.BAD_ADDRESS)
    first, began = await host.read(Register.CLOCKS), get_sim_time("ns")
    for _ in range(host.random.randint(5, 50)):
        await FallingEdge(dut.clk)
    second = await host.read(Register.CLOCKS)
    assert second - first == (get_sim_time("ns") - began) / CLOCK_NS
    assert await host.read(Register.CLOCKS + 1) == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def tells_its_identity(dut):
    host = await ready_host(dut)
    config = host.config
    wanted = Identity.of(config.network, config.lanes, config.lane_words, SAMPLE_MEMORY, CLOCK_HZ)
    count = await host.access(Space.IDENTITY, 3)
    words = [await host.access(Space.IDENTITY, k) for k in range(count)]
    assert host.clocks == LATENCY + host.latency
    assert Identity.from_words(words) == wanted
    for address in (count, count + 1, 0x10000):
        for data in (None, 1):
            await host.access(Space.IDENTITY, address, data, expect=Status.BAD_ADDRESS)
    for address in (0, count - 1):
        await host.access(Space.IDENTITY, address, 1, expect=Status.BAD_REQUEST)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reaches_the_samples(dut):
    host = await ready_host(dut)
    written = {}
    pairs = SAMPLE_MEMORY // 2
    for address in [0, 1, pairs - 1, *host.random.sample(range(4, pairs - 4), 10)]:
        written[address] = host.random.getrandbits(32)
        await host.access(Space.SAMPLES, address, written[address])
        assert host.clocks == LATENCY
    assert host.samples == written
    for address, word in written.items():
        assert await host.access(Space.SAMPLES, address) == word
        assert host.clocks == LATENCY + host.latency
    for address in (pairs, pairs + 1, SAMPLE_MEMORY, 0x10000, 0xFFFFFF):
        await host.access(Space.SAMPLES, address, expect=Status.BAD_ADDRESS)
        await host.access(Space.SAMPLES, address, 1, expect=Status.BAD_ADDRESS)
    assert host.samples == written, "a read or a refused write wrote"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def writes_samples_while_the_core_runs(dut):
    """Each word once, when the memory takes it, and no clock is lost where it does at once."""
    host = await ready_host(dut)
    dut.status.value = packed_fields(status_layout(host.config), busy=1)
    written = {}
    for host.delay in (0, 1):
        longest = 0
        for _ in range(40):
            address = host.random.randrange(SAMPLE_MEMORY // 2)
            written[address] = host.random.getrandbits(32)
            await host.access(Space.SAMPLES, address, written[address])
            longest = max(longest, host.clocks)
            await host.access(Space.SAMPLES, address, expect=Status.BUSY)
        assert (longest == LATENCY) == (not host.delay)
    assert host.samples == written
    assert host.sample_writes == 80
    await host.access(Space.SAMPLES, SAMPLE_MEMORY // 2, 1, expect=Status.BAD_ADDRESS)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reaches_the_weights(dut):
    host = await ready_host(dut)
    config, bits = host.config, host.config.network.weight_bits
    lanes, words = config.lanes, config.lane_words
    places = [(lane, word) for lane in range(lanes) for word in {0, 1, words // 2, words - 1}]
    for host.delay in (0, 6):
        written = {}
        for lane, word in places:
            ends = ((1 << (bits - 1)) - 1, -1 << (bits - 1), -1)
            value = host.random.choice((*ends, host.random.randint(ends[1], ends[0])))
            written[lane, word] = value & 0xFFFFFFFF
            await host.access(Space.WEIGHTS, lane << 16 | word, value & 0xFFFFFFFF)
            if not host.delay:
                assert host.clocks == LATENCY + 1
        assert host.weights == {k: v & ((1 << bits) - 1) for k, v in written.items()}
        for lane, word in places:
            got = await host.access(Space.WEIGHTS, lane << 16 | word)
            assert got == written[lane, word] & ((1 << bits) - 1), "nothing above the weight"
        for lane, word in ((lanes, 0), (0, words), (lanes - 1, 0xFFFF), (0xFF, 0)):
            for data in (None, 3):
                await host.access(Space.WEIGHTS, lane << 16 | word, data, expect=Status.BAD_ADDRESS)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reaches_the_accumulators(dut):
    host = await ready_host(dut)
    lanes, words = host.config.lanes, host.config.lane_words
    bits = host.config.network.gradient_bits
    low, high = Space.ACCUMULATORS, Space.ACCUMULATORS_HIGH
    if not bits:
        for data in (None, 3):
            await host.access(low, 0, data, expect=Status.BAD_ADDRESS)
    if bits <= 32:
        for data in (None, 3):
            await host.access(high, 0, data, expect=Status.BAD_ADDRESS)
    if not bits:
        return
    written = {}
    for lane in range(lanes):
        for word in (0, 1, words - 1):
            value = host.random.choice((host.random.getrandbits(bits), (1 << bits) - 1))
            if bits > 32:
                await host.access(high, host.random.randrange(words), value >> 32)
                assert host.clocks == LATENCY
            await host.access(low, lane << 16 | word, value & 0xFFFFFFFF)
            written[lane, word] = value
    assert host.accumulators == written
    assert host.weights == {}
    for (lane, word), value in written.items():
        assert await host.access(low, lane << 16 | word) == value & 0xFFFFFFFF
        if bits > 32:
            assert await host.access(high, lane << 16 | word) == value >> 32
    for lane, word in ((lanes, 0), (0, words)):
        for data in (None, 3):
            await host.access(low, lane << 16 | word, data, expect=Status.BAD_ADDRESS)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def is_busy_while_the_core_is(dut):
    host = await ready_host(dut)
    bits = widths(dut)
    for register, width in bits.items():
        await host.write(register, host.random.getrandbits(width))

    def kept():
        return [int(dut.settings.value), *(int(getattr(dut, pin).value) for pin in PINS.values())]

    before = kept()

    epoch = await host.read(Register.STATUS)

    async def everything_is_refused():
        nonlocal before
        assert await host.read(Register.STATUS) == epoch | 1
        for register in [*bits, int(Register.COMMAND)]:
            if register != Register.STEP_TARGET:
                await host.write(register, host.random.getrandbits(32), expect=Status.BUSY)
        memories = [Space.SAMPLES, Space.WEIGHTS]
        if host.config.network.gradient_bits:
            memories.append(Space.ACCUMULATORS)
        if host.config.network.gradient_bits > 32:
            memories.append(Space.ACCUMULATORS_HIGH)
        for space in memories:
            for data in (None, 7):
                if (space, data) != (Space.SAMPLES, 7):
                    await host.access(space, 0, data, expect=Status.BUSY)
        assert kept() == before
        # But for the one that ends a run.
        target = host.random.getrandbits(32)
        await host.write(Register.STEP_TARGET, target)
        assert unpack(SETTINGS_LAYOUT, int(dut.settings.value), "step_target") == target
        before = kept()
        await host.access(Space.IDENTITY, 0)
        await host.read(Register.STEP)
        assert (host.samples, host.weights, host.accumulators) == ({}, {}, {})

    # First while a command waits to be taken, then while the core works.
    dut.command__ready.value = 0
    await host.write(Register.COMMAND, Command.EVALUATE)
    assert int(dut.command__valid.value)
    await everything_is_refused()
    assert int(dut.command__payload.value) == Command.EVALUATE
    dut.command__ready.value = 1
    dut.status.value = packed_fields(status_layout(host.config), busy=1)
    await FallingEdge(dut.clk)
    await ReadOnly()
    assert not int(dut.command__valid.value), "a command is given once"
    await FallingEdge(dut.clk)
    dut.command__ready.value = 0
    await everything_is_refused()
    dut.status.value = 0
    assert await host.read(Register.STATUS) == epoch
    for command in Command:
        dut.command__ready.value = 1
        taken = cocotb.start_soon(receive(dut, "command", 1, rng=host.random))
        await host.write(Register.COMMAND, command)
        assert await taken == [command]
    await host.access(Space.SAMPLES, 0, 7)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def sums_evaluations(dut):
    host = await ready_host(dut)
    layout = evaluation_layout(host.config)
    net = host.config.network
    for command in (Command.EVALUATE, Command.TRAIN):
        dut.command__ready.value = 1
        await host.write(Register.COMMAND, command)
        assert await host.read(Register.EVAL_CORRECT) == 0
        assert await host.read64(Register.EVAL_COST) == 0
        results = [
            {
                "cost": host.random.choice(
                    (net.cost_bound, host.random.randint(0, net.cost_bound))
                ),
                "category": host.random.randrange(net.classes),
                "correct": host.random.getrandbits(1),
            }
            for _ in range(40)
        ]
        packed = [packed_fields(layout, **r) for r in results]
        await send(dut, "evaluation", packed, idle=0.3, rng=host.random)
        dut.evaluation__payload.value = host.random.getrandbits(len(dut.evaluation__payload))
        assert await host.read(Register.EVAL_CORRECT) == sum(r["correct"] for r in results)
        assert await host.read64(Register.EVAL_COST) == sum(r["cost"] for r in results)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def sums_costs_beyond_32_bits(dut):
    host = await ready_host(dut)
    layout = evaluation_layout(host.config)
    cost = (1 << layout["cost"].width) - 1
    count = (1 << 32) // cost + 5
    dut.evaluation__payload.value = packed_fields(layout, cost=cost)
    dut.evaluation__valid.value = 1
    await Timer(count * CLOCK_NS, unit="ns")  # one result a clock
    dut.evaluation__valid.value = 0
    assert count * cost > 1 << 32
    assert await host.read64(Register.EVAL_COST) == count * cost
