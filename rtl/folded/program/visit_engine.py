"""The loop engine of a core with skip_zeros: the first layer's inputs are visits."""

from __future__ import annotations

from amaranth import Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.program.loop_engine import LoopEngine
from mgd.rtl.folded.program.nonzero_inputs import visit_layout


class VisitEngine(LoopEngine):
    """In rows that read the sample the inner loop is that of `visits`, from
    rtl.folded.program.nonzero_inputs: which inputs a group visits, and its bias last.
    """

    def _ports(self) -> dict[str, wiring.Member]:
        return {"visits": In(stream.Signature(visit_layout(self.config)))}

    def _is_bias(self, reads_sample, at_bias):
        return Mux(reads_sample, self.visits.payload.bias, at_bias)

    def _issue(self, m, reads_sample, is_bias, running, may_issue, free, waiting, ends) -> None:
        # What keeps a visit waiting, and nothing that keeps the other rows' tokens.
        visit_may = Mux(self.visits.payload.bias, free, ~waiting)
        m.d.comb += [
            self.visits.ready.eq(reads_sample & running & visit_may),
            self.valid.eq(running & may_issue & (~reads_sample | self.visits.valid)),
            ends.eq(self.valid & is_bias),
        ]

    def _inner_loop(self, m, row, reads_sample, is_bias, j, at_bias, word) -> None:
        # `word` is the group's first one here, and `j` stays 0.
        token, visit, begins = self.token, self.visits.payload, Signal(init=1)
        m.d.comb += [token.current.eq(1), token.previous.eq(1)]
        with m.If(self.valid):
            m.d.sync += begins.eq(is_bias)
        with m.If(reads_sample):
            m.d.comb += [
                token.input.eq(visit.input),
                token.first.eq(begins),
                token.word.eq(word + visit.input),
                token.current.eq(visit.current),
                token.previous.eq(visit.previous),
            ]
        group_stride = self._field(row, lambda r: r.group_stride)
        with m.If(self.valid & reads_sample):
            m.d.sync += [j.eq(0), at_bias.eq(0), word.eq(word + Mux(is_bias, group_stride, 0))]


def loop_engine(config: CoreConfig) -> LoopEngine:
    """That of the core: with or without visits."""
    return (VisitEngine if config.variant.skip_zeros else LoopEngine)(config)
