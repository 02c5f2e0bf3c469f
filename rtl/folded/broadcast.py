"""The global broadcast: one update term per input, the same for all lanes."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Out

from mgd.golden_model.formats import stochastic_round
from mgd.golden_model.network import ACT_BITS, ACT_FRAC, DELTA_EXP_MAX, ONE, ROUND_BITS, SHIFT_MIN
from mgd.golden_model.update.shift import update_shift
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.arithmetic import saturated
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.product import DSP_BITS, product
from mgd.rtl.lib.unit import Unit


class Broadcast(Unit):
    """stochastic_round of D·x, as in golden_model.update.

    x (the input's activation in the step being applied) enters, `update_term` leaves `latency`
    clocks later, one per clock.  x may come straight out of a memory, since it goes into a register
    first.  All other inputs are stable during a sweep, from the clock behind the first x on, and
    the settings among them from two clocks before it:
    `delta` is D, `random` the step's random byte.  Weight perturbation gives every input the
    term of a bias, D·1.0.  `shift` is S, for the lanes.

    `update` comes a clock before the term, latency − 1 clocks behind its x: where it is low the
    term is 0.  `inject` puts `injected_term` in the place of the next term.

    A term of 2^weight_bits or more makes every weight clip, as does −2^weight_bits or less:
    from there on any such number of the same sign may leave.  Contributions are always exact.
    Cost: one multiplier, none where weights alone are perturbed.
    extra_clocks: registers beyond LEAST_LATENCY, 0 to 2; None: those of the config.
    """

    def __init__(self, config: CoreConfig, *, extra_clocks: int | None = None) -> None:
        self.config = config
        self.latency = self.latency_of(config, extra_clocks)
        self.extra_clocks = self.latency - self.LEAST_LATENCY
        net = config.network
        super().__init__(
            {
                "x": In(signed(ACT_BITS)),
                "update": In(1),
                "inject": In(1),
                "injected_term": In(signed(config.change_bits)),
                "delta": In(signed(net.delta_cost_bits)),
                "random": In(ROUND_BITS),
                "nodes": In(1),
                "accumulates": In(1),
                "delta_exp": In(range(DELTA_EXP_MAX + 1)),
                "eta_exp": In(5),
                "update_term": Out(signed(config.share_bits)),
                "shift": Out(signed(7)),
            }
        )

    model = staticmethod(stochastic_round)
    LEAST_LATENCY = 4
    """Without registers beyond the least."""

    @classmethod
    def latency_of(cls, config: CoreConfig, extra_clocks: int | None = None) -> int:
        """Clocks from an x to its term: a product in logic gets two registers more, one of
        multipliers that are far from all else one."""
        if extra_clocks is None and config.weights_only:
            extra_clocks = 0
        elif extra_clocks is None:
            extra_clocks = config.memory_register if config.broadcast_dsp else 2
        return cls.LEAST_LATENCY + extra_clocks

    def elaborate(self, platform):
        m = Module()
        cfg, net = self.config, self.config.network
        # A constant where both exponents are.
        domain = m.d.comb if cfg.fixed_rate else m.d.sync
        domain += self.shift.eq(update_shift(net, self.eta_exp, self.delta_exp))
        # (D·x << ROUND_BITS) >> (S + ACT_FRAC); S >= SHIFT_MIN makes it a plain right shift, of
        # `least` bits and `amount` more.
        least = SHIFT_MIN + ACT_FRAC - ROUND_BITS
        assert least >= 0
        amount = Signal(range(net.shift_max - SHIFT_MIN + 1))
        above = self.shift - SHIFT_MIN
        if net.accumulators:
            above = Mux(self.accumulates, -SHIFT_MIN, above)
        domain += amount.eq(above)

        if cfg.weights_only:
            exact = Signal(signed(net.product_bits))
            m.d.sync += exact.eq(self.delta << ACT_FRAC)
        else:
            registers = min(self.extra_clocks, 1)
            # The setting comes from far away, and is there long before.
            nodes = self.nodes if cfg.nodes_only else delayed(m, self.nodes, registers)
            x = Mux(nodes, self.x, ONE)
            # D may become another layer's behind a bias.  That is not too early: rtl.lib.product
            # needs it a clock more for a negative x alone.
            exact = product(
                m, self.delta, x, dsp=cfg.broadcast_dsp, pipelined=self.extra_clocks > 1
            )
            # An adder or two are behind its own register.
            exact = delayed(m, exact, registers)
        value = exact[least:]
        sign = value[-1]

        # Of the shifted product only `kept` bits and the sign are wanted, and whether they are
        # all of it: bits that a step can no longer bring down to them are looked at and left.
        kept = ROUND_BITS + cfg.change_bits - 2
        if net.accumulators:
            kept = max(kept, ROUND_BITS + net.contribution_bits - 1)
        beyond = 0
        # What is in front of the shift, a sum at most, decides how much of it comes at once: where
        # the product is two blocks' it is an adder.
        in_one_block = cfg.broadcast_dsp and net.delta_cost_bits <= DSP_BITS
        early = 3 if in_one_block or cfg.weights_only else 2
        if self.extra_clocks:
            early = min(4, len(amount) - 1)
        for number, k in enumerate(reversed(range(len(amount)))):
            if number == early:
                value_2, sign_2, beyond_2 = Signal.like(value), Signal(), Signal()
                m.d.sync += [value_2.eq(value), sign_2.eq(sign), beyond_2.eq(beyond)]
                value, sign, beyond = value_2, sign_2, beyond_2
            if self.extra_clocks or number >= early:
                cut = kept + (2 << k) - 1
                beyond |= (value[cut:] ^ sign.replicate(len(value[cut:]))).any()
                value = value[:cut]
            step = min(1 << k, len(value))
            value = Mux(amount[k], Cat(value[step:], sign.replicate(step)), value)
        beyond |= (value[kept:] ^ sign.replicate(len(value[kept:]))).any()
        value = value[:kept]
        if cfg.share_bits > kept - ROUND_BITS + 1:
            # Room for one bit more than `kept`: it tells that the number is beyond, and a 0 below
            # it keeps the rounding from getting there.
            value = Cat(value[:-1], value[-1] & ~beyond, sign ^ beyond, sign)
            term = (value.as_signed() + self.random) >> ROUND_BITS
        else:
            whole = (Cat(value, sign).as_signed() + self.random) >> ROUND_BITS
            limited, _ = saturated(whole, cfg.share_bits)
            ends = Cat((~sign).replicate(cfg.share_bits - 1), sign)
            term = Mux(beyond, ends, limited)
        with m.If(self.inject):
            m.d.sync += self.update_term.eq(self.injected_term)
        with m.Elif(self.update):
            m.d.sync += self.update_term.eq(term)
        with m.Else():
            m.d.sync += self.update_term.eq(0)
        return m
