"""The sample memory of the spatial core: a whole sample in every clock."""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect

from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.unit import Unit
from mgd.rtl.memory.samples import WORD_BITS
from mgd.rtl.spatial.config import SpatialConfig

BUFFERED = 4
"""Records on their way out of the memory or waiting."""


def record_layout(config: SpatialConfig) -> data.StructLayout:
    """A sample: its label and its codes."""
    net = config.network
    return data.StructLayout(
        {"label": net.label_bits, "codes": data.ArrayLayout(net.sample_bits, net.layers[0])}
    )


def record_link(config: SpatialConfig) -> dict[str, wiring.Member]:
    """The ports of a core that a RecordMemory serves."""
    return {
        "begin": Out(1),
        "stop": Out(1),
        "evaluate": Out(1),
        "restart_train": Out(1),
        "next_sample": Out(1),
        "record": In(stream.Signature(record_layout(config))),
    }


class RecordMemory(Unit):
    """As rtl.memory.samples.SampleMemory for the host, a record a clock for the core.

    The host writes the same words (the label, then packed codes), but a record begins every
    SpatialConfig.record_stride words, and what lies between two records is not stored.
    host_address counts pairs of words; host_read_data is valid `latency` clocks after it, while
    no stream is under way.  Writes are done at once, at any time.

    `begin` starts a stream of records on `record`: with `evaluate` low the training samples, from
    the current one on and round again; with it high those from 0 or, with `eval_test`, from
    train_end on.  It ends what was under way, as `stop` does.
    `next_sample` makes the following training sample the current one, `restart_train` the first.
    depth: 16-bit words that the host sees.
    """

    latency = 2
    """Clocks from the address to the data: a register follows the memory, whose output is slow."""

    def __init__(self, config: SpatialConfig, depth: int) -> None:
        self.config = config
        self.depth = depth
        self.records = depth // config.record_stride
        address = range(depth)
        super().__init__(
            {
                "train_end": In(address),
                "eval_test": In(1),
                "restart_train": In(1),
                "next_sample": In(1),
                "begin": In(1),
                "stop": In(1),
                "evaluate": In(1),
                "record": Out(stream.Signature(record_layout(config))),
                "host_address": In(range(max(depth // 2, 2))),
                "host_write": In(1),
                "host_ready": Out(1),
                "host_write_data": In(2 * WORD_BITS),
                "host_read_data": Out(2 * WORD_BITS),
            }
        )

    def serve(self, m: Module, core) -> None:
        """Connect a core's ports of record_link()."""
        connect(m, self.record, core.record)
        m.d.comb += [
            getattr(self, name).eq(getattr(core, name))
            for name in ("begin", "stop", "evaluate", "restart_train", "next_sample")
        ]

    def elaborate(self, platform):
        m = Module()
        number = range(max(self.records, 2))
        address, current = Signal(number), Signal(number)
        train_end = self.train_end[self._sub_bits + 1 :]

        def next_record(record):
            return Mux(record + 1 == train_end, 0, record + 1)

        m.d.comb += self.host_ready.eq(1)
        with m.If(self.restart_train):
            m.d.sync += current.eq(0)
        with m.Elif(self.next_sample):
            m.d.sync += current.eq(next_record(current))

        # Records are fetched while there is room for them: `free` counts it.  `consumed` is valid
        # late in its clock, so both counts are unary: as many ones, which shift up or down.
        reading, training = Signal(), Signal()
        fetches, arrives, consumed = Signal(), Signal(), Signal()
        free, filled = Signal(BUFFERED), Signal(BUFFERED)
        # A bit for each record on its way out of the memory, the oldest one highest.
        in_flight = Signal(self.latency)
        m.d.comb += [
            fetches.eq(reading & free[0]),
            arrives.eq(in_flight[-1]),
            consumed.eq(self.record.valid & self.record.ready),
        ]
        m.d.sync += in_flight.eq(Cat(fetches, in_flight))
        _move(m, free, consumed, fetches)
        _move(m, filled, arrives, consumed)
        with m.If(fetches):
            m.d.sync += address.eq(Mux(training, next_record(address), address + 1))

        fetched = self._words(m, Mux(reading, address, self.host_address[self._sub_bits :]))

        slots = [Signal(len(fetched), name=f"slot_{k}", reset_less=True) for k in range(BUFFERED)]
        put, get = Signal(range(BUFFERED)), Signal(range(BUFFERED))
        for k, slot in enumerate(slots):
            with m.If(arrives & (put == k)):
                m.d.sync += slot.eq(fetched)
        m.d.sync += [put.eq(put + arrives), get.eq(get + consumed)]
        m.d.comb += [
            self.record.valid.eq(filled[0]),
            self.record.payload.eq(Array(slots)[get]),
        ]
        # in_flight goes to 0 too: what was fetched for the stream before is not taken when it
        # arrives.
        with m.If(self.begin | self.stop):
            m.d.sync += [
                reading.eq(self.begin),
                training.eq(~self.evaluate),
                address.eq(Mux(self.evaluate, Mux(self.eval_test, train_end, 0), current)),
                *(register.eq(0) for register in (in_flight, put, get, filled)),
                free.eq(~0),
            ]
        return m

    @property
    def _sub_bits(self) -> int:
        """Bits of host_address inside a record."""
        return (self.config.record_stride // 2 - 1).bit_length()

    def _words(self, m: Module, row):
        """A memory per word of a record, as wide as the bits used of it; returns the record at
        `row`, `latency` clocks later."""
        sub = self.host_address[: self._sub_bits]
        outputs, padded = [], []
        for k, width in enumerate(self.config.word_widths):
            m.submodules[f"word_{k}"] = memory = Memory(
                shape=width, depth=self.records, init=[], attrs={"no_rw_check": True}
            )
            read, write = memory.read_port(), memory.write_port()
            output = Signal(width, name=f"output_{k}", reset_less=True)
            m.d.sync += output.eq(read.data)
            m.d.comb += [
                read.addr.eq(row),
                write.addr.eq(self.host_address[self._sub_bits :]),
                write.data.eq(self.host_write_data.word_select(k % 2, WORD_BITS)),
                write.en.eq(self.host_write & (sub == k // 2)),
            ]
            outputs.append(output)
            padded.append(Cat(output, Const(0, WORD_BITS - width)))
        padded += [Const(0, WORD_BITS)] * (len(padded) % 2)
        pairs = [Cat(*padded[k : k + 2]) for k in range(0, len(padded), 2)]
        m.d.comb += self.host_read_data.eq(Array(pairs)[delayed(m, sub, self.latency)])
        return Cat(*outputs)


def _move(m: Module, count: Signal, more, less) -> None:
    """One more or one less in a unary count."""
    with m.If(more ^ less):
        m.d.sync += count.eq(Mux(more, Cat(1, count[:-1]), count[1:]))
