"""The host's access to weights and accumulators, which takes nothing in the lanes."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ACT_FRAC
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.lane import Lane
from mgd.rtl.folded.lanes.sum_control import SumControl
from mgd.rtl.interface import weight_request_layout, weight_shape

PHASE_BITS = 3
"""An access to a weight has two phases of 2^PHASE_BITS clocks."""


class WeightAccess(wiring.Component):
    """Answers `request` on `reply` while the core is not `busy`; the addresses of
    rtl.folded.lanes.update_control are then the request's word.

    A command waits for the end of an access (`access` is high), and goes before one that has not
    begun (`command_waits`).

    *Writing a weight* is two updates: `inject` puts `injected_term` in the place of the broadcast's
    next update term, which clips to the least weight in the first phase, and in the second goes up
    from there to the new one.  The signs are −1.0 meanwhile (`access`), so a term is added.
    `stores` has a bit per lane: its memory takes the new weight.

    *Reading a weight* is a sum of one product, of it and 1.0: `reads_sum` has it taken, and then
    the ring turns until the lane's sum is in the first lane's register, whose value is `sum`.

    *An accumulator* is written where `write_gradient`, a bit per lane, is high, and read with
    `hide_gradient` high for all other lanes, so that the answer is `gradients`, the OR of all: that
    takes fewer cells than choosing would.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        lanes, net = config.lanes, config.network
        super().__init__(
            {
                "request": In(stream.Signature(weight_request_layout(config))),
                "reply": Out(stream.Signature(weight_shape(config))),
                "busy": In(1),
                "command_waits": In(1),
                "sum": In(signed(config.out_bits)),
                "gradients": In(max(net.gradient_bits, 1)),
                "access": Out(1),
                "inject": Out(1),
                "injected_term": Out(signed(config.change_bits)),
                "stores": Out(lanes),
                "reads_sum": Out(1),
                "write_gradient": Out(lanes),
                "hide_gradient": Out(lanes),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, host = self.config, self.request.payload
        # Each phase is long enough from the address to the new weight, which the second one reads
        # again, and from the update term, which is in the lanes 1 + value_clocks after it.
        phase = 1 << PHASE_BITS
        assert phase >= Lane.latency_of(cfg) + max(cfg.value_clocks, 1)
        # A read's sum is taken in the last clock of both, and its product added before that.
        last = 2 * phase - 1
        add_clock = last - SumControl.READ_LATENCY
        assert add_clock > Lane.latency_of(cfg) + cfg.operand_clocks
        clocks, following_clock = Signal(PHASE_BITS + 1), Signal(PHASE_BITS + 1)
        of_accumulator = host.accumulator if cfg.network.accumulators else Const(0)
        full, writes, reads = Signal(), Signal(), Signal()
        turns, turned, turn = Signal(), Signal(), Signal(range(max(cfg.lanes, 2)))
        m.d.comb += [
            writes.eq(self.access & host.write & ~of_accumulator),
            reads.eq(self.access & ~host.write & ~of_accumulator & ~self.reply.valid),
            following_clock.eq(clocks + 1),
            self.reads_sum.eq(reads & (clocks == add_clock)),
            # The last clock of a read lasts until the lane's sum is in the first one.
            turns.eq(full & ~host.write),
            turned.eq(turns & (turn == host.lane)),
        ]
        with m.If(turns & ~turned):
            m.d.sync += turn.eq(turn + 1)
        with m.Else():
            m.d.sync += turn.eq(0)
            with m.If(reads | writes):
                m.d.sync += [clocks.eq(following_clock), full.eq(following_clock.all())]
        self._write(m, host, writes, clocks[-1], following_clock)
        # An access begins in a register: it reaches all lanes.
        asked = self.request.valid & ~self.request.ready & ~self.busy
        m.d.sync += self.access.eq(asked & (self.access | ~self.command_waits))

        # Above sum_cut are the bits that round a sum, and above the fraction of 1.0 is the weight.
        bits = cfg.network.weight_bits
        weight = self.sum[ACT_FRAC - cfg.sum_cut :][:bits]
        if cfg.sum_start >> ACT_FRAC:
            weight = (weight - (cfg.sum_start >> ACT_FRAC))[:bits]
        with m.If(turned):
            m.d.sync += [self.reply.valid.eq(1), self.reply.payload.eq(weight)]
        with m.Elif(self.reply.ready):
            m.d.sync += self.reply.valid.eq(0)
        weight_ready = Mux(host.write, full, turned)
        if not cfg.network.accumulators:
            m.d.comb += self.request.ready.eq(self.access & weight_ready)
            return m
        self._accumulators(m, host, of_accumulator, weight_ready)
        return m

    def _write(self, m: Module, host, writes, second_phase, following_clock) -> None:
        """The last clock of each phase writes; from there on a lane's memory has a clock of its
        own."""
        cfg = self.config
        sign = cfg.network.weight_bits - 1
        above_least = Cat(host.data[:sign], ~host.data[sign])
        clips = Const(-(1 << (cfg.change_bits - 1)), signed(cfg.change_bits))
        stored = writes & following_clock[:PHASE_BITS].all()
        m.d.comb += [
            self.inject.eq(writes),
            self.injected_term.eq(Mux(second_phase, above_least, clips)),
        ]
        m.d.sync += self.stores.eq(Cat(stored & (host.lane == p) for p in range(cfg.lanes)))

    def _accumulators(self, m: Module, host, of_accumulator, weight_ready) -> None:
        lanes = self.config.lanes
        # Two clocks from the address to the accumulator.
        reading, read_lane = Signal(2), Signal.like(host.lane)
        accepted = self.access & of_accumulator & self.request.ready & ~host.write
        writes = self.access & host.write & of_accumulator
        m.d.sync += reading.eq(Cat(accepted, reading))
        with m.If(accepted):
            m.d.sync += read_lane.eq(host.lane)
        with m.If(reading[-1]):
            m.d.sync += [self.reply.valid.eq(1), self.reply.payload.eq(self.gradients)]
        m.d.comb += [
            self.request.ready.eq(
                self.access
                & Mux(
                    of_accumulator,
                    host.write | (~self.reply.valid & ~reading.any()),
                    weight_ready,
                )
            ),
            self.write_gradient.eq(Cat(writes & (host.lane == p) for p in range(lanes))),
            self.hide_gradient.eq(Cat(reading.any() & (read_lane != p) for p in range(lanes))),
        ]
