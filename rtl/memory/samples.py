"""The on-chip sample memory, and the reader that sends its records as a stream."""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.protocol.record import WORD_BITS
from mgd.rtl.lib.copies import kept_copy
from mgd.rtl.lib.unit import Unit
from mgd.rtl.memory.spram import ADDRESS_BITS as SPRAM_ADDRESS_BITS
from mgd.rtl.memory.spram import SPRAM
from mgd.rtl.memory.spram import WORDS as SPRAM_WORDS

STORAGES = ("block", "spram", "spram-model")
ADDRESS_BITS = 20
"""Of a record's first word, in a request that has one."""
REQUEST = data.StructLayout({"evaluate": 1})
ADDRESSED = data.StructLayout({"evaluate": 1, "address": ADDRESS_BITS})
SPRAM_DEPTHS = (2 * SPRAM_WORDS, 4 * SPRAM_WORDS)
"""16-bit words of two blocks, side by side, and of all four of a UP5K."""
BANK_ROWS = 8192
"""Rows of 32 bits in the largest bank of block RAM: 16 blocks of an ECP5, each with two bits of
every row, so that no multiplexer follows the blocks."""
LEAST_BANK_ROWS = 512
"""Rows of one block."""


def bank_rows(rows: int) -> list[int]:
    """Rows of each bank.  All are powers of two except the last one, which is one block: so no bank
    needs a multiplexer behind its blocks, and together they use no block too many."""
    banks, size = [], BANK_ROWS
    while rows >= LEAST_BANK_ROWS:
        if rows >= size:
            banks.append(size)
            rows -= size
        else:
            size //= 2
    return banks + [rows] * (rows > 0)


def queue_depth(latency: int) -> int:
    """Words of block RAM in flight at a word a clock: from the address to the clock after the one
    in which the word is consumed."""
    return latency + 2


def sample_link(addressed: bool) -> dict[str, wiring.Member]:
    """The ports of a core that a SampleMemory serves."""
    return {
        "sample_request": Out(stream.Signature(ADDRESSED if addressed else REQUEST)),
        "record": In(stream.Signature(WORD_BITS)),
        "restart_train": Out(1),
        "restart_evaluate": Out(1),
    }


class SampleMemory(Unit):
    """Records of golden_model.network.Network.sample_words 16-bit words each.

    A record is the label, then the input codes, several to a word, the first in the low bits.
    Each `request` {evaluate} brings one record on `record`, 1 + record_latency clocks later and
    then a word a clock: the next training sample, in order and repeating, or the next evaluation
    sample.
    Training samples begin at word 0 and end before word `train_end` (modulo the width of
    an address).  `restart_train` goes back to the first, `restart_evaluate` to word 0 or, where
    `eval_test` is high, to train_end.  Use restart_evaluate before the first evaluation sample
    after training ones; the training samples then continue where they were.

    The host's port reads and writes two words at a time; `host_address` is half that of the
    first.  host_read_data is valid `latency` clocks after the address, while no
    request is under way.  A write is accepted in the clock in which host_write and host_ready are
    high, and may come at any time: it takes a clock from a record that is being read.

    depth: 16-bit words, even.  storage: "block" RAM, the iCE40 UltraPlus' "spram", or
    "spram-model", which behaves as that one everywhere.  addressed: a request for a training sample
    has the address of its first word with it, and that one comes instead of the next.  Raises
    UserError for more words than SPRAM has.
    """

    def __init__(
        self, network: Network, depth: int, storage: str = "block", addressed: bool = False
    ) -> None:
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
        self.addressed = addressed
        self.latency = self.latency_of(depth, storage)
        self.record_latency = self.latency + (storage == "block")
        address = range(depth)
        super().__init__(
            {
                "train_end": In(address),
                "eval_test": In(1),
                "restart_train": In(1),
                "restart_evaluate": In(1),
                "request": In(stream.Signature(ADDRESSED if addressed else REQUEST)),
                "record": Out(stream.Signature(WORD_BITS)),
                "host_address": In(range(max(depth // 2, 2))),
                "host_write": In(1),
                "host_ready": Out(1),
                "host_write_data": In(2 * WORD_BITS),
                "host_read_data": Out(2 * WORD_BITS),
            }
        )

    @classmethod
    def latency_of(cls, depth: int, storage: str) -> int:
        """Clocks from the host's address to its data: block RAM is far away, so that its address
        has a register, and slow, so that its output has one, as has the choice between banks of
        it."""
        if storage != "block":
            return 1
        return 3 if len(bank_rows(depth // 2)) == 1 else 4

    def serve(self, m: Module, core) -> None:
        """Connect a core's ports of sample_link()."""
        connect(m, core.sample_request, self.request)
        connect(m, self.record, core.record)
        m.d.comb += [
            self.restart_train.eq(core.restart_train),
            self.restart_evaluate.eq(core.restart_evaluate),
        ]

    def elaborate(self, platform):
        m = Module()
        stride = self.network.sample_words
        address = Signal(range(self.depth))
        """Next word to read."""
        train = Signal.like(address)
        """Next training sample."""
        remaining = Signal(range(stride))
        """Words to read after this one."""
        evaluate = Signal()
        """The current record is an evaluation sample."""
        trained = Signal()
        """The last word of a training sample was read, a clock ago."""
        round_again = Signal()
        """It was the last one."""
        ended = Signal()
        """The last word of a training sample was read."""
        # Words on their way out of the memory, the latest one in bit 0.
        valid, half = Signal(self.latency), Signal(self.latency)
        reading, reads, advance, writes, write = Signal(), Signal(), Signal(), Signal(), Signal()
        row = Signal(range(max(self.depth // 2, 2)))

        word = self.host_read_data.word_select(half[-1], WORD_BITS)
        if self.storage == "block":
            room, idle = self._queue(m, valid[-1], word, reads)
            m.d.comb += advance.eq(1)
        else:
            room, idle = Const(1), ~valid.any()
            m.d.comb += [
                advance.eq(~valid[-1] | self.record.ready),
                self.record.valid.eq(valid[-1]),
                self.record.payload.eq(word),
            ]
        m.d.comb += [
            self.request.ready.eq(~(reading | ended | trained) & idle),
            reads.eq(reading & room & ~writes),
            # Not while a word waits at the output: a write destroys the output of a single-ported
            # memory.
            write.eq(writes & advance),
            self.host_ready.eq(write),
            row.eq(Mux(reads, address[1:], self.host_address)),
        ]
        # A write takes two clocks, because `host_write`, from the bus, enters a register first.
        m.d.sync += [
            writes.eq(self.host_write & ~write),
            ended.eq(0),
            trained.eq(ended),
            round_again.eq(address == self.train_end),
        ]
        with m.If(advance):
            m.d.sync += [valid.eq(Cat(reads, valid)), half.eq(Cat(address[0], half))]
            with m.If(reads):
                m.d.sync += [
                    address.eq(address + 1),
                    remaining.eq(remaining - 1),
                    reading.eq(remaining != 0),
                    ended.eq((remaining == 0) & ~evaluate),
                ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [
                reading.eq(1),
                remaining.eq(stride - 1),
                evaluate.eq(self.request.payload.evaluate),
            ]
            with m.If(~self.request.payload.evaluate):
                m.d.sync += address.eq(self.request.payload.address if self.addressed else train)
        with m.If(self.restart_evaluate):
            m.d.sync += address.eq(Mux(self.eval_test, self.train_end, 0))
        with m.If(self.restart_train | (trained & round_again)):
            m.d.sync += train.eq(0)
        with m.Elif(trained):
            m.d.sync += train.eq(address)

        if self.storage == "block":
            self._block(m, row, write)
        else:
            self._spram(m, row, advance, write)
        return m

    def _queue(self, m: Module, valid, word, reads):
        """The queue in which words wait for the reader.  Whether a word is consumed reaches two
        counters and nothing of the memory, whose blocks are spread over the device: words are read
        as long as there is room for all in flight.  Returns whether there is room, and whether no
        word is in flight or waits."""
        depth = queue_depth(self.latency)
        m.submodules.queue = queue = SyncFIFO(width=WORD_BITS, depth=depth)
        free, consumed = Signal(range(depth + 1), init=depth), Signal()
        m.d.comb += [
            queue.w_en.eq(valid),
            queue.w_data.eq(word),
            queue.r_en.eq(self.record.ready),
            self.record.valid.eq(queue.r_rdy),
            self.record.payload.eq(queue.r_data),
            consumed.eq(self.record.valid & self.record.ready),
        ]
        with m.If(reads & ~consumed):
            m.d.sync += free.eq(free - 1)
        with m.Elif(consumed & ~reads):
            m.d.sync += free.eq(free + 1)
        return free != 0, free == depth

    def _block(self, m: Module, row, write) -> None:
        """Banks of block RAM: registers before and behind them, one behind their multiplexer."""
        banks = bank_rows(self.depth // 2)
        bank, first, outputs = Signal(range(len(banks))), 0, []
        stores = Signal()
        m.d.sync += stores.eq(write)
        for k, rows in enumerate(banks):
            # Each bank has its own copies of address and data, because its blocks fill a row of the
            # FPGA.
            row_1 = kept_copy(m, row, f"row_{k}")
            data_1 = kept_copy(m, self.host_write_data, f"data_{k}")
            words = Memory(shape=2 * WORD_BITS, depth=rows, init=[])
            m.submodules[f"words_{k}" if len(banks) > 1 else "words"] = words
            read_port, write_port = words.read_port(), words.write_port()
            # A bank begins at a multiple of its size: the bits above its own address select it.
            address_bits, selected = (rows - 1).bit_length(), Signal(name=f"selected_{k}")
            m.d.comb += [
                selected.eq(row_1[address_bits:] == first >> address_bits),
                read_port.addr.eq(row_1),
                read_port.en.eq(~stores),
                write_port.addr.eq(row_1),
                write_port.data.eq(data_1),
                write_port.en.eq(stores & selected),
            ]
            with m.If(selected):
                m.d.comb += bank.eq(k)
            output = Signal(2 * WORD_BITS, name=f"output_{k}", reset_less=True)
            m.d.sync += output.eq(read_port.data)
            outputs.append(output)
            first += rows
        if len(banks) == 1:
            m.d.comb += self.host_read_data.eq(outputs[0])
            return
        bank_1, bank_2 = Signal.like(bank, reset_less=True), Signal.like(bank, reset_less=True)
        m.d.sync += [
            bank_1.eq(bank),
            bank_2.eq(bank_1),
            self.host_read_data.eq(Array(outputs)[bank_2]),
        ]

    def _spram(self, m: Module, row, enable, write) -> None:
        """One or two banks of two blocks side by side.  Every bank reads; the number of the bank
        only selects its output, and the bank that is written."""
        banks = 1 if self.depth <= SPRAM_DEPTHS[0] else 2
        bank_written, bank_read = Signal(), Signal()
        if banks > 1:
            m.d.comb += bank_written.eq(self.host_address[SPRAM_ADDRESS_BITS:])
            with m.If(enable):
                m.d.sync += bank_read.eq(row[SPRAM_ADDRESS_BITS:])
        rows = []
        for k in range(banks):
            halves = [SPRAM(behavioural=self.storage == "spram-model") for _ in range(2)]
            for name, block, part in zip(("low", "high"), halves, range(2), strict=True):
                m.submodules[f"bank_{k}_{name}"] = block
                m.d.comb += [
                    block.address.eq(row[:SPRAM_ADDRESS_BITS]),
                    block.enable.eq(enable),
                    block.write.eq(write & (bank_written == k)),
                    block.write_data.eq(self.host_write_data.word_select(part, WORD_BITS)),
                ]
            rows.append(Cat(*(block.read_data for block in halves)))
        m.d.comb += self.host_read_data.eq(Array(rows)[bank_read])
