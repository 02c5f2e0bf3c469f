"""rtl.samples and rtl.loader: records from memory, and activations from records."""

from __future__ import annotations

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from cocotb.utils import get_sim_time

from cocotb_tests.core_driver import packed_record, unpack
from cocotb_tests.runner import CLOCK_NS, params, rng, simulate
from cocotb_tests.streams import receive, send, start_clock
from cocotb_tests.values import field, network_of, payload_layout
from golden_model.settings import Settings
from golden_model.trainer import Trainer
from rtl.config import CoreConfig
from rtl.loader import Loader
from rtl.samples import SampleMemory

MEMORIES = {
    "three_words": ({"layers": (3, 2), "sample_bits": 5}, 46),
    "two_words": ({"layers": (7, 3), "sample_bits": 2}, 32),
}


@pytest.mark.parametrize("name", MEMORIES)
def test_sample_memory(name):
    network, depth = MEMORIES[name]
    simulate(
        SampleMemory(network_of(network), depth),
        __name__,
        "brings_records",
        {"network": network, "depth": depth},
    )


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def brings_records(dut):
    net, depth, random = network_of(params()["network"]), params()["depth"], rng()
    stride = net.sample_words
    await start_clock(dut)
    memory = [random.getrandbits(16) for _ in range(depth)]
    for address in range(0, depth, 2):
        dut.host_address.value = address
        dut.host_write_data.value = memory[address] | memory[address + 1] << 16
        dut.host_write.value = 1
        await FallingEdge(dut.clk)
        dut.host_write.value = 0
        dut.host_write_data.value = random.getrandbits(32)
        dut.host_address.value = random.randrange(0, depth, 2)
        await FallingEdge(dut.clk)

    async def read_back():
        for address in range(0, depth, 2):
            dut.host_address.value = address
            for _ in range(2):
                await FallingEdge(dut.clk)
            wanted = memory[address] | memory[address + 1] << 16
            assert int(dut.host_read_data.value) == wanted, f"host's read of {address}"

    await read_back()
    records = depth // stride
    for stall in (0.0, 0.5):
        for train_count, train_base, eval_base in (
            (records, depth - records * stride, 0),  # up to the very end
            (1, 1, stride),
            (3, 0, 3 * stride),
            (records - 1, 1, depth - 2 * stride),
        ):
            dut.train_base.value, dut.train_count.value = train_base, train_count
            dut.eval_base.value = eval_base
            next_train, next_evaluate = 0, -1  # -1: not started yet
            for number in range(5 * train_count + 4):
                if number == 0 or random.random() < 0.1:
                    dut.restart_train.value, next_train = 1, 0
                evaluations_left = (depth - eval_base) // stride
                if next_evaluate in (-1, evaluations_left) or random.random() < 0.1:
                    dut.restart_evaluate.value, next_evaluate = 1, 0
                await FallingEdge(dut.clk)
                dut.restart_train.value = dut.restart_evaluate.value = 0
                evaluate = int(random.random() < 0.4)
                if evaluate:
                    start, next_evaluate = eval_base + next_evaluate * stride, next_evaluate + 1
                else:
                    start = train_base + next_train * stride
                    next_train = (next_train + 1) % train_count
                await send(dut, "request", [evaluate], rng=random)
                dut.request__payload.value = 1 - evaluate
                began = get_sim_time("ns")
                got = await receive(dut, "record", stride, stall=stall, rng=random)
                assert got == memory[start : start + stride], f"record at {start}"
                if not stall:
                    # One word a clock, the first one clock after the memory's read.
                    assert get_sim_time("ns") - began == (stride + 1) * CLOCK_NS
                for _ in range(random.randint(0, 2)):
                    dut.record__ready.value = 1
                    await ReadOnly()
                    assert not int(dut.record__valid.value), "more words than a record has"
                    await FallingEdge(dut.clk)
                dut.record__ready.value = 0
            # A second request is not taken while the record of the first is under way.
            await send(dut, "request", [0], rng=random)
            dut.request__valid.value = 1
            for _ in range(stride + 4):
                await ReadOnly()
                assert not int(dut.request__ready.value)
                await FallingEdge(dut.clk)
            dut.request__valid.value = 0
            await receive(dut, "record", stride, stall=stall, rng=random)
            await read_back()


LOADERS = {
    "1_bit_49": {"layers": (49, 4, 4), "sample_bits": 1},
    "5_bits_3": {"layers": (3, 1), "sample_bits": 5},
    "3_bits_signed_8": {"layers": (8, 10), "sample_bits": 3, "sample_signed": True},
    "12_bits_signed_5": {"layers": (5, 3, 2), "sample_bits": 12, "sample_signed": True},
}


@pytest.mark.parametrize("name", LOADERS)
def test_loader(name):
    network = LOADERS[name]
    simulate(Loader(network_of(network)), __name__, "unpacks", {"network": network})


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def unpacks(dut):
    net, random = network_of(params()["network"]), rng()
    config, layout = CoreConfig(net, 1), payload_layout(Loader(net), "o")
    inputs = net.layers[0]
    await start_clock(dut)
    largest = 15 - net.sample_bits + (1 if net.sample_signed else 0)
    for number in range(24):
        idle, stall = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.6), (0.4, 0.4))[number % 4]
        codes = np.array([random.randint(net.code_min, net.code_max) for _ in range(inputs)])
        if number < 2:
            codes[:] = (net.code_min, net.code_max)[number]
        label = (0, net.classes - 1, random.randrange(net.classes))[number % 3]
        shift = random.choice((0, min(largest, 14), random.randint(0, min(largest, 14))))
        settings = Settings(input_shift=shift)
        wanted = Trainer(net, settings, codes[None], np.array([label]), [], [1]).inputs[0]
        evaluate = number // 2 % 2
        dut.input_shift.value, dut.evaluate.value = shift, evaluate
        dut.start.value = 1
        await FallingEdge(dut.clk)
        dut.start.value = 0
        await ReadOnly()
        assert (int(dut.busy.value), int(dut.loaded.value)) == (1, 0)
        await FallingEdge(dut.clk)
        asked = await receive(dut, "request", 1, stall=stall, rng=random)
        assert asked == [evaluate]
        began = get_sim_time("ns")
        record = packed_record(config, codes, label)
        # A word of another record waits behind this one's; it is not to be taken.
        words = [*record, random.getrandbits(16)]
        sender = cocotb.start_soon(send(dut, "record", words, idle=idle, rng=random))
        got = await receive(dut, "o", inputs, stall=stall, rng=random)
        if not idle and not stall:
            # Label, first word, then one input a clock.
            assert get_sim_time("ns") - began == (2 + inputs) * CLOCK_NS
        assert [unpack(layout, raw, "index") for raw in got] == list(range(inputs))
        assert [field(layout, raw, "value") for raw in got] == wanted.tolist()
        sender.cancel()
        dut.record__valid.value = 1
        for _ in range(random.randint(1, 4)):
            await ReadOnly()
            assert not int(dut.record__ready.value), "a word too many is taken"
            assert not int(dut.o__valid.value), "a word too many was taken"
            assert not int(dut.request__valid.value)
            assert (int(dut.busy.value), int(dut.loaded.value)) == (0, 1)
            assert int(dut.label.value) == label
            await FallingEdge(dut.clk)
        dut.record__valid.value = 0
        if random.random() < 0.5:
            dut.taken.value = 1
            await FallingEdge(dut.clk)
            dut.taken.value = 0
            await ReadOnly()
            assert not int(dut.loaded.value)
            assert int(dut.label.value) == label
            await FallingEdge(dut.clk)
