"""A synapse: its weight, its gradient accumulator, and nothing else."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.arithmetic import add_or_subtract
from rtl.spatial.carry import gated_sum
from rtl.spatial.config import SpatialConfig


class Synapse(wiring.Component):
    """Equals golden_model.trainer.Trainer._update for one weight.

    With accumulators: each clock G ← G ± share; a clock with `change` (and a share of 0) makes
    W ← clip(W − ⌊G·2^-S⌋), which leaves the residual in G.  Without: a clock with `change` makes
    W ← clip(W ∓ share).  `gate` low makes the share 0, a `sign` of 1 subtracts it.  All outputs
    are registers: G is there a clock later; two clocks later W, and `clipped`, which tells
    whether the change was cut off.

    While `turn` is high W takes `before`, its neighbour's weight: the host reads and writes a
    ring of all weights.  `clear` empties G.
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
                "clear": In(1),
                "turn": In(1),
                "before": In(weight),
                "weight": Out(weight),
                "gradient": Out(signed(max(config.gradient_bits, 1))),
                "clipped": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, bits = self.config, self.config.network.weight_bits
        if cfg.gradient_bits:
            cut = cfg.shift_high
            total = gated_sum(m, self.gradient, self.share, self.sign, self.gate, ccu2c=cfg.ccu2c)
            m.d.sync += self.gradient.eq(total)
            with m.If(self.change):
                # Upper bits as a reset: no gate behind the adder.
                m.d.sync += self.gradient.eq(Cat(total[:cut], Const(0, cfg.gradient_bits - cut)))
            with m.If(self.clear):
                m.d.sync += self.gradient.eq(0)
            # No wider adder than it takes: where more is given than all of W's range, W clips.
            given = self.gradient[cut:]
            moved, far = self.weight - given[: bits + 1].as_signed(), given[bits:]
            beyond, up = far.any() & ~far.all(), given[-1]
        else:
            share = Mux(self.gate, self.share, 0)
            moved = add_or_subtract(self.weight, share, ~self.sign)
            beyond = up = Const(0)
        # A register behind the adder: its carry and the clipping are a clock each, and synthesis
        # does not make one wide function of both.  Clipping up sets the bits below the sign,
        # clipping down is their reset: a bit, its limit and its neighbour's fit one LUT.  That
        # reset must be the only one, and come from a register.
        above = moved[bits - 1 :]
        kept = Signal(bits, reset_less=True)
        high, low, changes = Signal(), Signal(), Signal()
        m.d.sync += [
            kept.eq(Cat(moved[: bits - 1], Mux(beyond, ~up, above[-1]))),
            high.eq(self.change & Mux(beyond, up, ~above[-1] & above.any())),
            low.eq(self.change & Mux(beyond, ~up, above[-1] & ~above.all())),
            changes.eq(self.change),
            self.clipped.eq(high | low),
        ]
        rest, sign = Signal(bits - 1, reset_less=True), Signal(reset_less=True)
        with m.If(changes | self.turn):
            m.d.sync += [
                rest.eq(Mux(self.turn, self.before, kept[:-1] | high.replicate(bits - 1))),
                sign.eq(Mux(self.turn, self.before[-1], kept[-1])),
            ]
        with m.If(low):
            m.d.sync += rest.eq(0)
        m.d.comb += self.weight.eq(Cat(rest, sign))
        return m
