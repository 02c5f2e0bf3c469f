"""The on-chip sample memory and the reader that turns it into a stream of records."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.network import Network

WORD_BITS = 16


class SampleMemory(wiring.Component):
    """Records of golden_model.network.Network.sample_words 16-bit words each.

    A record is the label, then the input codes, several to a word, the first in the low bits.
    Each `request` {evaluate} brings one record on `record`: the next training sample, in
    order and round again, or the next evaluation sample.  `restart` {train or evaluate, one
    bit each} sets these back to the first.

    The host's port reads and writes two words at a time at an even word address;
    host_read_data is valid two clocks after the address.  Use it only while no request is
    under way.  depth: 16-bit words, even.
    """

    def __init__(self, network: Network, depth: int) -> None:
        self.network = network
        self.depth = depth
        address = range(depth)
        super().__init__(
            {
                "train_base": In(address),
                "train_count": In(32),
                "eval_base": In(address),
                "restart_train": In(1),
                "restart_evaluate": In(1),
                "request": In(stream.Signature(data.StructLayout({"evaluate": 1}))),
                "record": Out(stream.Signature(WORD_BITS)),
                "host_address": In(address),
                "host_write": In(1),
                "host_write_data": In(2 * WORD_BITS),
                "host_read_data": Out(2 * WORD_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        stride = self.network.sample_words
        m.submodules.words = memory = Memory(shape=2 * WORD_BITS, depth=self.depth // 2, init=[])
        read, write = memory.read_port(), memory.write_port()

        train, evaluate = Signal(range(self.depth)), Signal(range(self.depth))
        done = Signal(32)
        address = Signal(range(self.depth + 1))
        left = Signal(range(stride + 1))
        valid, half = Signal(), Signal()

        advance = Signal()
        m.d.comb += advance.eq(~valid | self.record.ready)
        with m.If(advance):
            m.d.sync += [valid.eq(left != 0), half.eq(address[0])]
            with m.If(left != 0):
                m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
        m.d.comb += [
            self.request.ready.eq((left == 0) & ~valid),
            self.record.valid.eq(valid),
            self.record.payload.eq(read.data.word_select(half, WORD_BITS)),
        ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += left.eq(stride)
            with m.If(self.request.payload.evaluate):
                m.d.sync += [address.eq(evaluate), evaluate.eq(evaluate + stride)]
            with m.Else():
                m.d.sync += [address.eq(train), train.eq(train + stride), done.eq(done + 1)]
                with m.If(done + 1 == self.train_count):
                    m.d.sync += [train.eq(self.train_base), done.eq(0)]
        with m.If(self.restart_train):
            m.d.sync += [train.eq(self.train_base), done.eq(0)]
        with m.If(self.restart_evaluate):
            m.d.sync += evaluate.eq(self.eval_base)

        reading = left != 0
        m.d.comb += [
            read.addr.eq(Mux(reading, address, self.host_address)[1:]),
            read.en.eq(advance),
            write.addr.eq(self.host_address[1:]),
            write.data.eq(self.host_write_data),
            write.en.eq(self.host_write),
            self.host_read_data.eq(read.data),
        ]
        return m
