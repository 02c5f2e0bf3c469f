"""The on-chip sample memory and the reader that turns it into a stream of records."""

from __future__ import annotations

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.errors import UserError
from golden_model.network import Network
from rtl.spram import SPRAM
from rtl.spram import WORDS as SPRAM_WORDS

WORD_BITS = 16
STORAGES = ("block", "spram", "spram-model")
SPRAM_DEPTHS = (2 * SPRAM_WORDS, 4 * SPRAM_WORDS)
"""16-bit words of two blocks, side by side, and of all four of a UP5K."""


class SampleMemory(wiring.Component):
    """Records of golden_model.network.Network.sample_words 16-bit words each.

    A record is the label, then the input codes, several to a word, the first in the low bits.
    Each `request` {evaluate} brings one record on `record`, two clocks later and then a word a
    clock: the next training sample, in order and round again, or the next evaluation sample.
    Training samples begin at word 0 and end before word `train_end` (modulo the width of
    an address).  `restart_train` goes back to the first, `restart_evaluate` to word 0 or, where
    `eval_test` is high, to train_end.  Use restart_evaluate before the first evaluation sample
    after training ones; the training samples then go on where they were.

    The host's port reads and writes two words at a time; `host_address` is half that of the
    first.  host_read_data is valid one clock after the address.  Use it only while no request is
    under way.

    depth: 16-bit words, even.  storage: "block" RAM, the iCE40 UltraPlus' "spram", or
    "spram-model", which behaves as that one everywhere.  Raises UserError for more words than
    SPRAM has.
    """

    def __init__(self, network: Network, depth: int, storage: str = "block") -> None:
        if storage not in STORAGES:
            raise UserError(f"storage = {storage!r}: must be one of {', '.join(STORAGES)}")
        if storage != "block" and depth > SPRAM_DEPTHS[-1]:
            raise UserError(
                f"{depth} words of sample memory: the SPRAM of a UP5K has {SPRAM_DEPTHS[-1]}; "
                "use fewer samples"
            )
        self.network = network
        self.depth = depth
        self.storage = storage
        address = range(depth)
        super().__init__(
            {
                "train_end": In(address),
                "eval_test": In(1),
                "restart_train": In(1),
                "restart_evaluate": In(1),
                "request": In(stream.Signature(data.StructLayout({"evaluate": 1}))),
                "record": Out(stream.Signature(WORD_BITS)),
                "host_address": In(range(max(depth // 2, 2))),
                "host_write": In(1),
                "host_write_data": In(2 * WORD_BITS),
                "host_read_data": Out(2 * WORD_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        stride = self.network.sample_words
        address = Signal(range(self.depth))
        """Next word to read."""
        train = Signal.like(address)
        """Next training sample."""
        left = Signal(range(stride + 1))
        evaluate = Signal()
        """The record under way is an evaluation sample."""
        trained = Signal()
        """A training sample was read to its end."""
        valid, half = Signal(), Signal()
        reading, advance, write = Signal(), Signal(), Signal()
        row = Signal(range(max(self.depth // 2, 2)))

        m.d.comb += [
            advance.eq(~valid | self.record.ready),
            reading.eq(left != 0),
            self.request.ready.eq(~reading & ~valid),
            self.record.valid.eq(valid),
            self.record.payload.eq(self.host_read_data.word_select(half, WORD_BITS)),
            row.eq(Mux(reading, address[1:], self.host_address)),
            write.eq(self.host_write),
        ]
        m.d.sync += trained.eq(0)
        with m.If(advance):
            m.d.sync += [valid.eq(reading), half.eq(address[0])]
            with m.If(reading):
                m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
                m.d.sync += trained.eq((left == 1) & ~evaluate)
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [left.eq(stride), evaluate.eq(self.request.payload.evaluate)]
            with m.If(~self.request.payload.evaluate):
                m.d.sync += address.eq(train)
        with m.If(self.restart_evaluate):
            m.d.sync += address.eq(Mux(self.eval_test, self.train_end, 0))
        with m.If(self.restart_train | (trained & (address == self.train_end))):
            m.d.sync += train.eq(0)
        with m.Elif(trained):
            m.d.sync += train.eq(address)

        if self.storage == "block":
            self._block(m, row, advance, write)
        else:
            self._spram(m, row, advance, write)
        return m

    def _block(self, m: Module, row, enable, write) -> None:
        m.submodules.words = words = Memory(shape=2 * WORD_BITS, depth=self.depth // 2, init=[])
        read_port, write_port = words.read_port(), words.write_port()
        m.d.comb += [
            read_port.addr.eq(row),
            read_port.en.eq(enable & ~write),
            write_port.addr.eq(row),
            write_port.data.eq(self.host_write_data),
            write_port.en.eq(write),
            self.host_read_data.eq(read_port.data),
        ]

    def _spram(self, m: Module, row, enable, write) -> None:
        """One or two banks of two blocks side by side."""
        banks = 1 if self.depth <= SPRAM_DEPTHS[0] else 2
        bank, bank_before = Signal(), Signal()
        if banks > 1:
            m.d.comb += bank.eq(row[14:])
        with m.If(enable):
            m.d.sync += bank_before.eq(bank)
        rows = []
        for k in range(banks):
            halves = [SPRAM(model=self.storage == "spram-model") for _ in range(2)]
            for name, block, part in zip(("low", "high"), halves, range(2), strict=True):
                m.submodules[f"bank_{k}_{name}"] = block
                m.d.comb += [
                    block.address.eq(row[:14]),
                    block.enable.eq(enable & (bank == k)),
                    block.write.eq(write),
                    block.write_data.eq(self.host_write_data.word_select(part, WORD_BITS)),
                ]
            rows.append(Cat(*(block.read_data for block in halves)))
        m.d.comb += self.host_read_data.eq(Array(rows)[bank_before])
