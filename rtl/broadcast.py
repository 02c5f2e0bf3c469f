"""The global broadcast: one share of the cost change per input, the same for all lanes."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.network import ACT_BITS, ACT_FRAC, DELTA_EXP_MAX, ONE, ROUND_BITS, SHIFT_MIN
from rtl.config import CoreConfig
from rtl.lane import saturated


class Broadcast(wiring.Component):
    """Equals golden_model.formats.stochastic_round of D·x in Trainer._update.

    x (the input's activation in the step being applied) enters, `share` leaves LATENCY clocks
    later, one per clock.  All other inputs are stable during a sweep: `delta` is D, `random`
    the step's random byte.  Weight perturbation gives every input the share of a bias, D·1.0.
    `shift` is S, for the lanes.  Cost: one multiplier.
    """

    LATENCY = 3

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        net = config.network
        super().__init__(
            {
                "x": In(signed(ACT_BITS)),
                "delta": In(signed(net.delta_cost_bits)),
                "random": In(ROUND_BITS),
                "nodes": In(1),
                "accumulates": In(1),
                "delta_exp": In(range(DELTA_EXP_MAX + 1)),
                "eta_exp": In(5),
                "share": Out(signed(config.share_bits)),
                "shift": Out(signed(7)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, net = self.config, self.config.network
        # S from the exponents, as in golden_model.settings.Settings.shift.
        m.d.sync += self.shift.eq(
            self.eta_exp - self.delta_exp + (net.cost_frac + 1 - net.weight_frac)
        )
        # (D·x << ROUND_BITS) >> (S + ACT_FRAC); S >= SHIFT_MIN makes it a plain right shift.
        assert SHIFT_MIN + ACT_FRAC >= ROUND_BITS
        amount = Signal(range(net.shift_max + ACT_FRAC + 1))
        m.d.sync += amount.eq(Mux(self.accumulates, 0, self.shift) + (ACT_FRAC - ROUND_BITS))

        product = Signal(signed(net.product_bits))
        shifted = Signal(signed(net.product_bits))
        whole = Signal(signed(net.product_bits))
        m.d.sync += [
            product.eq(self.delta * Mux(self.nodes, self.x, ONE)),
            shifted.eq(product >> amount),
        ]
        m.d.comb += whole.eq((shifted + self.random) >> ROUND_BITS)
        # Beyond ±2^weight_bits every weight clips; a contribution always fits.
        limit = (1 << (cfg.share_bits - 1)) - 1
        m.d.sync += self.share.eq(saturated(whole, -limit, limit))
        return m
