"""Unpacks a sample record into activations."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ACT_BITS, Network
from mgd.rtl.memory.samples import REQUEST, WORD_BITS
from mgd.rtl.units.costs.base import label_shape


class Loader(wiring.Component):
    """Takes one record (see rtl.memory.samples) per `start` and writes its inputs, one a clock.

    `start` with `evaluate` is accepted while `busy` is low.  Inputs leave on the stream
    o: {index, value: Q1.14}; `loaded` rises after the last one was taken and `label` is then
    the record's; it stays high until `sample_consumed` or the next `start`.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        super().__init__(
            {
                "start": In(1),
                "evaluate": In(1),
                "input_shift": In(4),
                "busy": Out(1),
                "loaded": Out(1),
                "sample_consumed": In(1),
                "label": Out(label_shape(network)),
                "request": Out(stream.Signature(REQUEST)),
                "record": In(stream.Signature(WORD_BITS)),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {"index": range(network.layers[0] + 1), "value": signed(ACT_BITS)}
                        )
                    )
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        net = self.network
        slots = net.codes_per_word
        word = Signal(WORD_BITS)
        slot = Signal(range(max(slots, 2)))
        full = Signal()
        index = Signal(range(net.layers[0] + 1))
        labelled = Signal()
        requested = Signal()

        code = Signal(signed(net.sample_bits) if net.sample_signed else net.sample_bits)
        out = self.o
        last_code, last_slot, sent = Signal(), Signal(), Signal()
        m.d.comb += [
            code.eq(word[: net.sample_bits]),
            out.valid.eq(full),
            out.payload.index.eq(index),
            out.payload.value.eq(code << self.input_shift),
            sent.eq(out.valid & out.ready),
            last_slot.eq((slot == slots - 1) | last_code),
            self.request.payload.evaluate.eq(self.evaluate),
            self.request.valid.eq(requested),
        ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += requested.eq(0)
        with m.If(self.sample_consumed):
            m.d.sync += self.loaded.eq(0)
        with m.If(self.start):
            m.d.sync += [
                self.busy.eq(1),
                self.loaded.eq(0),
                requested.eq(1),
                labelled.eq(0),
                index.eq(0),
                last_code.eq(net.layers[0] == 1),
            ]
        # Compared a code ahead, so that it is a register: `sent` is valid late in its clock.
        with m.If(sent):
            m.d.sync += last_code.eq(index == net.layers[0] - 2)
            m.d.sync += [word.eq(word >> net.sample_bits), slot.eq(slot + 1), index.eq(index + 1)]
            with m.If(last_slot):
                m.d.sync += full.eq(0)
            with m.If(last_code):
                m.d.sync += [self.busy.eq(0), self.loaded.eq(1)]
        # A word is requested when the last one is used up, not a clock before: `ready` of `o` is
        # valid late in its clock, and the route into the sample memory is long.
        m.d.comb += self.record.ready.eq(self.busy & (~labelled | ~full))
        with m.If(self.record.valid & self.record.ready):
            # A record's first word is the label.
            with m.If(~labelled):
                self._label(m, labelled)
            with m.Else():
                m.d.sync += [word.eq(self.record.payload), slot.eq(0), full.eq(1)]
        return m

    def _label(self, m: Module, labelled) -> None:
        """Take a word of the label: the only one, or one of the target values, which enter at the
        upper end so that the first is in the lowest bits when all are there."""
        count = self.network.label_words
        if count == 1:
            m.d.sync += [labelled.eq(1), self.label.eq(self.record.payload)]
            return
        left = Signal(range(count), init=count - 1)
        m.d.sync += [
            self.label.eq(Cat(self.label[WORD_BITS:], self.record.payload)),
            left.eq(Mux(left == 0, count - 1, left - 1)),
            labelled.eq(left == 0),
        ]
