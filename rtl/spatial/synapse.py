"""A synapse: its weight, its gradient accumulator, and nothing else."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.lib.arithmetic import beyond
from mgd.rtl.lib.carry import accumulated, moved
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.limit import limited_or_other


class Synapse(wiring.Component):
    """Equals golden_model.trainer.Trainer._update for one weight.

    With accumulators: each clock with `gate` G ← G ± share; a clock with `change` (with `gate`, and
    a share of 0, as in the two clocks behind) makes W ← clip(W − ⌊G·2^-S⌋), which leaves the
    residual in G.  Without: a clock with `change` makes W ← clip(W ∓ share), where `gate` low makes
    the share 0.  Pipelined: so does every clock, and the next share may come in the clock behind.
    A `sign` of 1 subtracts the share; under node perturbation, where that is the
    neuron's, it comes as ~share then, and with accumulators `sign` is low with `change`.  All
    outputs are registers: G is there a clock later; latency_of() clocks later W, and `clipped`,
    which tells whether the change was cut off.

    While `turn` is high W takes `before`, its neighbour's weight: the host reads and writes a
    ring of all weights.  `takes` is high with `turn` and in the last clock before the new W.
    With accumulators the upper part of G is the weight to come from the clock behind `change`, in
    which `changed` is high, to that one, in which `empty` is.  `clear` with `empty` empties G.
    """

    def __init__(self, config: SpatialConfig) -> None:
        self.config = config
        weight = signed(config.network.weight_bits)
        super().__init__(
            {
                "share": In(signed(config.share_bits)),
                "gate": In(1),
                "sign": In(1),
                "change": In(1),
                "changed": In(1),
                "clear": In(1),
                "empty": In(1),
                "turn": In(1),
                "takes": In(1),
                "before": In(weight),
                "weight": Out(weight),
                "gradient": Out(signed(max(config.gradient_bits, 1))),
                "clipped": Out(1),
            }
        )

    @staticmethod
    def latency_of(config: SpatialConfig) -> int:
        """Clocks from `change`, or from a share in a pipelined core, to the new weight."""
        if config.pipelined:
            return 1
        return 3 if config.network.accumulators else 2

    def elaborate(self, platform):
        m = Module()
        cfg, bits = self.config, self.config.network.weight_bits
        if cfg.pipelined:
            self._add_at_once(m)
            return m
        if cfg.gradient_bits:
            # The adder of the accumulator is that of the weight as well: G holds the inverse of
            # what is left of W when the lower part of G is cut off, and W takes it from there.
            cut = cfg.shift_high
            total = accumulated(
                *(m, self.gradient, self.share, self.sign, self.change),
                Cat(Const((1 << cut) - 1, cut), self.weight).as_signed(),
                inverted=cfg.nodes,
                ccu2c=cfg.ccu2c,
            )
            residual, upper = (
                Signal(len(part), name=name, reset_less=True)
                for name, part in (("residual", total[:cut]), ("upper", total[cut:]))
            )
            with m.If(self.gate):
                m.d.sync += [residual.eq(total[:cut]), upper.eq(total[cut:])]
            m.d.comb += self.gradient.eq(Cat(residual, upper))
            # As resets: no gate behind the adder.
            with m.If(self.clear):
                m.d.sync += residual.eq(0)
            with m.If(self.empty):
                m.d.sync += upper.eq(0)
            kept = ~upper
            # A clock of its own: the share has a long way into the adder.
            domain, clips = m.d.sync, self.changed
        else:
            total = self._moved(m)
            kept = Signal(len(total), reset_less=True)
            m.d.sync += kept.eq(total)
            domain, clips = m.d.comb, self.takes & ~self.turn
        high, low = Signal(), Signal()
        is_high, is_low = beyond(kept, bits)
        domain += [high.eq(clips & is_high), low.eq(clips & is_low)]
        # A register behind the adder: its carry and the clipping are a clock each, and synthesis
        # does not make one wide function of both.  Clipping up sets the bits below the sign,
        # clipping down is their reset: a bit, its limit and its neighbour's fit one LUT.  That
        # reset must be the only one, and come from a register, or from few.
        m.d.sync += self.clipped.eq(high | low)
        rest, sign = Signal(bits - 1, reset_less=True), Signal(reset_less=True)
        with m.If(self.takes):
            m.d.sync += [
                rest.eq(Mux(self.turn, self.before, kept[: bits - 1] | high.replicate(bits - 1))),
                sign.eq(Mux(self.turn, self.before[-1], kept[-1])),
            ]
        with m.If(low):
            m.d.sync += rest.eq(0)
        m.d.comb += self.weight.eq(Cat(rest, sign))
        return m

    def _moved(self, m: Module):
        """The weight less its share, wide enough for any of both."""
        cfg = self.config
        return moved(
            *(m, self.weight, self.share, self.sign, self.gate),
            inverted=cfg.nodes,
            ccu2c=cfg.ccu2c,
        )

    def _add_at_once(self, m: Module) -> None:
        """W ← clip(W ∓ share) in a single clock."""
        following, clips = limited_or_other(
            m, self._moved(m), self.before, self.turn, lut4=self.config.ccu2c
        )
        m.d.sync += [self.weight.eq(following), self.clipped.eq(clips)]
