"""A synapse: its weight, its gradient accumulator, and nothing else."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Out

from mgd.golden_model.update.memory import WeightMemory
from mgd.rtl.lib import carry
from mgd.rtl.lib.arithmetic import beyond
from mgd.rtl.lib.unit import Unit
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.limit import limited_or_other


class Synapse(Unit):
    """golden_model.update.memory.WeightMemory of one weight.

    * With accumulators: in each clock with `gate` G ← G ± term; a clock with `change` (with `gate`,
      and a term of 0, as in the two clocks behind) makes W ← clip(W − ⌊G·2^-S⌋), which leaves the
      residual in G.
    * Without: a clock with `change` makes W ← clip(W ∓ term), where `gate` low makes the term 0.
    * Pipelined: every clock makes W ← clip(W ∓ term), and the next term may come in the clock
      behind.

    A `sign` of 1 subtracts the term; under node perturbation, where that is the neuron's, the term
    comes inverted then, and with accumulators `sign` is low with `change`.  All outputs are
    registers: G is there a clock later; `latency` clocks later W, and `clipped`, which is high
    where the change was limited.

    While `turn` is high W takes `entering`, its neighbour's weight: the host reads and writes a
    ring of all weights.  `captures` is high with `turn` and in the last clock before the new W.
    With accumulators the upper part of G holds the weight to come from the clock behind `change`,
    in which `changed` is high, to the clock of `captures`, in which `empty` is high too.  `clear`
    with `empty` empties G.
    """

    model = WeightMemory

    def __init__(self, config: SpatialConfig) -> None:
        self.config = config
        self.latency = self.latency_of(config)
        weight = signed(config.network.weight_bits)
        super().__init__(
            {
                "update_term": In(signed(config.share_bits)),
                "gate": In(1),
                "sign": In(1),
                "change": In(1),
                "changed": In(1),
                "clear": In(1),
                "empty": In(1),
                "turn": In(1),
                "captures": In(1),
                "entering": In(weight),
                "weight": Out(weight),
                "gradient": Out(signed(max(config.gradient_bits, 1))),
                "clipped": Out(1),
            }
        )

    @classmethod
    def latency_of(cls, config: SpatialConfig) -> int:
        """Clocks from `change`, or from an update term in a pipelined core, to the new weight."""
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
            # One adder for accumulator and weight.  A change adds the inverse of W to the upper
            # part of G: the sum is the inverse of the new weight, which W takes from there, and the
            # lower part stays as the residual.
            cut = cfg.shift_high
            total = carry.accumulated(
                *(m, self.gradient, self.update_term, self.sign, self.change),
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
            # Synchronous resets of the registers, which put no gate behind the adder.
            with m.If(self.clear):
                m.d.sync += residual.eq(0)
            with m.If(self.empty):
                m.d.sync += upper.eq(0)
            moved = ~upper
            # The limit has a clock of its own, because the term has a long route into the adder.
            domain, clips = m.d.sync, self.changed
        else:
            total = self._moved(m)
            moved = Signal(len(total), reset_less=True)
            m.d.sync += moved.eq(total)
            domain, clips = m.d.comb, self.captures & ~self.turn
        high, low = Signal(), Signal()
        is_high, is_low = beyond(moved, bits)
        domain += [high.eq(clips & is_high), low.eq(clips & is_low)]
        # The adder's carry and the limit are a clock each, with a register between them, so that
        # synthesis does not make one wide function of both.  The upper limit sets the bits below
        # the sign, the lower one is their reset: a bit, its limit and its neighbour's bit then fit
        # one LUT.  That reset must be the only one, and come from one register, or from few.
        m.d.sync += self.clipped.eq(high | low)
        rest, sign = Signal(bits - 1, reset_less=True), Signal(reset_less=True)
        with m.If(self.captures):
            m.d.sync += [
                rest.eq(
                    Mux(self.turn, self.entering, moved[: bits - 1] | high.replicate(bits - 1))
                ),
                sign.eq(Mux(self.turn, self.entering[-1], moved[-1])),
            ]
        with m.If(low):
            m.d.sync += rest.eq(0)
        m.d.comb += self.weight.eq(Cat(rest, sign))
        return m

    def _moved(self, m: Module):
        """The weight less its update term, wide enough for any of both."""
        cfg = self.config
        return carry.moved(
            *(m, self.weight, self.update_term, self.sign, self.gate),
            inverted=cfg.nodes,
            ccu2c=cfg.ccu2c,
        )

    def _add_at_once(self, m: Module) -> None:
        """W ← clip(W ∓ term) in a single clock."""
        next_weight, clips = limited_or_other(
            m, self._moved(m), self.entering, self.turn, lut4=self.config.ccu2c
        )
        m.d.sync += [self.weight.eq(next_weight), self.clipped.eq(clips)]
