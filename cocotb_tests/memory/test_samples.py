"""rtl.memory.samples and rtl.memory.loader: records from memory, and activations from records."""

from __future__ import annotations

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly
from cocotb.utils import get_sim_time

from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import packed_record, unpack
from cocotb_tests.support.runner import CLOCK_NS, params, rng
from cocotb_tests.support.streams import receive, send, start_clock
from cocotb_tests.support.values import field, network_of, payload_layout
from mgd.golden_model.errors import UserError
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.memory.loader import Loader
from mgd.rtl.memory.samples import SampleMemory

MEMORIES = {
    "three_words": ({"layers": (3, 2), "sample_bits": 5}, 46),
    "two_words": ({"layers": (7, 3), "sample_bits": 2}, 32),
}


@pytest.mark.simulated
@pytest.mark.parametrize("storage", ["block", "spram-model"])
@pytest.mark.parametrize("name", MEMORIES)
def test_sample_memory(name, storage):
    network, depth = MEMORIES[name]
    memory = SampleMemory(network_of(network), depth, storage)
    assert memory.latency == (3 if storage == "block" else 1)
    return Row(
        memory,
        brings_records,
        {
            "network": network,
            "depth": depth,
            "latency": memory.latency,
            "record_latency": memory.record_latency,
        },
    )


class Memory:
    """The memory's contents, and the host's side of it."""

    def __init__(self, dut, random):
        self.dut, self.random, self.latency = dut, random, params()["latency"]
        self.words: dict[int, int] = {}

    async def write(self, address: int, pair: tuple[int, int]) -> None:
        """Two words from an even address on."""
        dut = self.dut
        dut.host_address.value = address // 2
        dut.host_write_data.value = pair[0] | pair[1] << 16
        dut.host_write.value = 1
        while True:
            await ReadOnly()
            ready = int(dut.host_ready.value)
            await FallingEdge(dut.clk)
            if ready:
                break
        dut.host_write.value = 0
        dut.host_write_data.value = self.random.getrandbits(32)
        dut.host_address.value = self.random.getrandbits(len(dut.host_address))
        self.words[address], self.words[address + 1] = pair

    async def check(self, addresses) -> None:
        for address in addresses:
            self.dut.host_address.value = address // 2
            for _ in range(self.latency):
                await FallingEdge(self.dut.clk)
                self.dut.host_address.value = self.random.getrandbits(len(self.dut.host_address))
            wanted = self.words[address] | self.words[address + 1] << 16
            assert int(self.dut.host_read_data.value) == wanted, f"host's read of {address}"

    async def fill(self, depth: int) -> None:
        """Write noise into every word."""
        for address in range(0, depth, 2):
            await self.write(address, (self.random.getrandbits(16), self.random.getrandbits(16)))

    def record(self, start: int, stride: int) -> list[int]:
        return [self.words[start + k] for k in range(stride)]


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def brings_records(dut):
    net, depth, random = network_of(params()["network"]), params()["depth"], rng()
    stride = net.sample_words
    await start_clock(dut)
    memory = Memory(dut, random)
    await memory.fill(depth)
    await memory.check(range(0, depth, 2))
    records = depth // stride
    for stall in (0.0, 0.5):
        for train_count in (records - 2, 1, records, 3):
            # An address is as wide as the depth needs: the end of a full memory may be 0.
            dut.train_end.value = train_count * stride % (1 << len(dut.train_end))
            next_train, next_evaluate = 0, None  # None: not started since the last training one
            dut.restart_train.value = 1
            await FallingEdge(dut.clk)
            dut.restart_train.value = 0
            for _ in range(5 * train_count + 8):
                if random.random() < 0.1:
                    dut.restart_train.value, next_train = 1, 0
                    await FallingEdge(dut.clk)
                    dut.restart_train.value = 0
                evaluate = int(random.random() < 0.5)
                if evaluate and (next_evaluate in (None, records) or random.random() < 0.1):
                    test = int(train_count < records and random.random() < 0.5)
                    next_evaluate = train_count if test else 0
                    dut.eval_test.value, dut.restart_evaluate.value = test, 1
                    await FallingEdge(dut.clk)
                    dut.eval_test.value, dut.restart_evaluate.value = 1 - test, 0
                if evaluate:
                    start, next_evaluate = next_evaluate * stride, next_evaluate + 1
                else:
                    start, next_evaluate = next_train * stride, None
                    next_train = (next_train + 1) % train_count
                await send(dut, "request", [evaluate], rng=random)
                dut.request__payload.value = 1 - evaluate
                began = get_sim_time("ns")
                got = await receive(dut, "record", stride, stall=stall, rng=random)
                assert got == memory.record(start, stride), f"record at {start}"
                if not stall:
                    # One word a clock, the first when the memory's read is there.
                    clocks = stride + params()["record_latency"]
                    assert get_sim_time("ns") - began == clocks * CLOCK_NS
                for _ in range(random.randint(0, 2)):
                    dut.record__ready.value = 1
                    await ReadOnly()
                    assert not int(dut.record__valid.value), "more words than a record has"
                    await FallingEdge(dut.clk)
                dut.record__ready.value = 0
                # The host's reads between two records do not disturb the order of them.
                if random.random() < 0.3:
                    await memory.check([random.randrange(0, depth, 2)])
            # A second request is not taken while the record of the first is under way.
            await send(dut, "request", [0], rng=random)
            dut.request__valid.value = 1
            for _ in range(stride + 4):
                await ReadOnly()
                assert not int(dut.request__ready.value)
                await FallingEdge(dut.clk)
            dut.request__valid.value = 0
            await receive(dut, "record", stride, stall=stall, rng=random)
            await memory.check(range(0, depth, 2))


@pytest.mark.simulated
@pytest.mark.parametrize("storage", ["block", "spram-model"])
@pytest.mark.parametrize("name", MEMORIES)
def test_sample_memory_that_is_written_meanwhile(name, storage):
    network, depth = MEMORIES[name]
    memory = SampleMemory(network_of(network), depth, storage)
    given = {"network": network, "depth": depth, "latency": memory.latency}
    return Row(memory, brings_records_between_writes, given)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def brings_records_between_writes(dut):
    """The host writes anywhere but into the record under way, as often as the bus can: no word is
    lost, doubled or taken from the wrong place."""
    net, depth, random = network_of(params()["network"]), params()["depth"], rng()
    stride = net.sample_words
    await start_clock(dut)
    memory = Memory(dut, random)
    await memory.fill(depth)
    records = depth // stride
    dut.train_end.value = records * stride % (1 << len(dut.train_end))
    dut.restart_train.value = 1
    await FallingEdge(dut.clk)
    dut.restart_train.value = 0
    number, under_way = 0, False

    async def writes(density):
        while under_way:
            # Not the record under way, nor one that shares a pair of words with it.
            near = range(number * stride - 1, (number + 1) * stride + 1)
            address = random.randrange(depth // 2) * 2
            if random.random() < density and address not in near and address + 1 not in near:
                await memory.write(address, (random.getrandbits(16), random.getrandbits(16)))
            await FallingEdge(dut.clk)

    for density in (0.2, 0.6, 1.0):
        for stall in (0.0, 0.5):
            for _ in range(2 * records + 1):
                under_way = True
                writer = cocotb.start_soon(writes(density))
                await send(dut, "request", [0], rng=random)
                got = await receive(dut, "record", stride, stall=stall, rng=random)
                assert got == memory.record(number * stride, stride), f"record {number}"
                under_way = False
                await writer
                number = (number + 1) % records
    await memory.check(range(0, depth, 2))


DEEP = {"layers": (7, 3), "sample_bits": 2}


@pytest.mark.simulated
@pytest.mark.parametrize(
    ("depth", "storage", "latency"),
    [
        (2 * 16384, "spram-model", 1),
        (2 * 16384 + 2, "spram-model", 1),
        (4 * 16384, "spram-model", 1),
        (2 * 512, "block", 3),
        (2 * 513, "block", 4),
        (2 * (2048 + 1024 + 300), "block", 4),
        (2 * 8192, "block", 3),
        (2 * 8192 + 2, "block", 4),
        (2 * 3 * 8192 + 4000, "block", 4),
    ],
)
def test_banks(depth, storage, latency):
    memory = SampleMemory(network_of(DEEP), depth, storage)
    assert memory.latency == latency
    return Row(memory, banks, {"depth": depth, "latency": latency})


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def banks(dut):
    """Rows around every power of two, among them where one bank ends and another begins."""
    depth, random = params()["depth"], rng()
    stride = network_of(DEEP).sample_words
    await start_clock(dut)
    memory = Memory(dut, random)
    places = {2 * row for bit in range(16) for row in range((1 << bit) - 3, (1 << bit) + 3)}
    addresses = [a for a in {*places, *range(depth - 6, depth, 2)} if 0 <= a < depth]
    random.shuffle(addresses)
    for address in addresses:
        await memory.write(address, (random.getrandbits(16), random.getrandbits(16)))
    await memory.check(addresses)
    dut.eval_test.value = 1
    for start in sorted(addresses):
        if not all(start + k in memory.words for k in range(2 * stride)):
            continue
        dut.train_end.value = start
        dut.restart_evaluate.value = 1
        await FallingEdge(dut.clk)
        dut.restart_evaluate.value = 0
        for k in range(2):
            await send(dut, "request", [1], rng=random)
            got = await receive(dut, "record", stride, stall=0.3, rng=random)
            assert got == memory.record(start + k * stride, stride)


def test_what_spram_cannot_hold_is_refused():
    network = network_of(DEEP)
    with pytest.raises(UserError, match=r"65538 words of sample memory: .* 65536") as error:
        SampleMemory(network, 65538, "spram")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="storage = 'sram': must be one of block, spram"):
        SampleMemory(network, 64, "sram")


LOADERS = {
    "1_bit_49": {"layers": (49, 4, 4), "sample_bits": 1},
    "5_bits_7": {"layers": (7, 1), "sample_bits": 5},
    "3_bits_signed_8": {"layers": (8, 10), "sample_bits": 3, "sample_signed": True},
    "12_bits_signed_5": {"layers": (5, 3, 2), "sample_bits": 12, "sample_signed": True},
}


@pytest.mark.simulated
@pytest.mark.parametrize("name", LOADERS)
def test_loader(name):
    network = LOADERS[name]
    return Row(Loader(network_of(network)), unpacks, {"network": network})


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
        weights = [w[None] for w in initial_weights(net, 1)]
        trainer = Trainer(net, settings, codes[None], np.array([label]), weights, [1])
        trainer.step()
        wanted = trainer.trace.inputs[0, :-1]  # but for the bias
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
            # A clock for the label and each word, which is asked for when the last one is used
            # up, and one for each input.
            assert get_sim_time("ns") - began == (len(record) + inputs) * CLOCK_NS
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
            dut.sample_consumed.value = 1
            await FallingEdge(dut.clk)
            dut.sample_consumed.value = 0
            await ReadOnly()
            assert not int(dut.loaded.value)
            assert int(dut.label.value) == label
            await FallingEdge(dut.clk)
