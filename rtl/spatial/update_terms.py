"""The broadcast: a step's cost change, times its inputs, on the way to all synapses."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from mgd.golden_model.formats import stochastic_round
from mgd.golden_model.network import ACT_BITS, DELTA_EXP_MAX, ONE, ROUND_BITS
from mgd.golden_model.update.shift import update_shift
from mgd.rtl.folded.broadcast import Broadcast
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.unit import Unit
from mgd.rtl.spatial.config import SpatialConfig

X_TO_DELTA = 1
"""Clocks from an activation to the delta_cost that it is multiplied with."""


@dataclass(frozen=True)
class Sources:
    """Which inputs have an update term of their own.

    x: for each distinct term its input, (layer, number), or the constant that it always is.
    term_of: for each layer and synapse of a neuron the number of its term among the layer's.
    layer_terms: for each layer the numbers of its terms among all.
    """

    x: tuple[tuple[int, int] | int, ...]
    term_of: tuple[tuple[int, ...], ...]
    layer_terms: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, config: SpatialConfig) -> Sources:
        """Weight perturbation has one term in all.  Under node perturbation a bias has it, and
        each input its own; but codes of one bit have one in common, which each of them gates.
        """
        x: list[tuple[int, int] | int] = [ONE]
        term_of, layer_terms = [], []
        for layer, fan_in in enumerate(config.network.layers[:-1]):
            sources: list[tuple[int, int] | int] = [ONE] * (fan_in + 1)
            if config.nodes and layer == 0 and config.gated_codes:
                sources[:-1] = [1 << config.input_shift] * fan_in
            elif config.nodes:
                sources[:-1] = [(layer, j) for j in range(fan_in)]
            distinct = list(dict.fromkeys(sources))
            x += [one for one in distinct if one not in x]
            term_of.append(tuple(distinct.index(one) for one in sources))
            layer_terms.append(tuple(x.index(one) for one in distinct))
        return cls(tuple(x), tuple(term_of), tuple(layer_terms))


class UpdateTerms(Unit):
    """From delta_cost to the update terms; each equals delta_cost·x, rounded, in
    golden_model.update.memory.WeightMemory, and is 0 where there is no step.

    `delta_cost` enters with `valid`; `update_term`, one per number in `x`, leaves `latency`
    clocks later.  `x` belongs to the clock before delta_cost, the step's random byte to
    random_after() clocks behind it.
    Cost: a multiplier per term, none where delta_cost itself is the only one.
    """

    model = staticmethod(stochastic_round)

    def __init__(self, config: SpatialConfig, count: int) -> None:
        self.config = config
        self.latency = self.latency_of(config)
        self.count = count
        super().__init__(
            {
                "delta_cost": In(signed(config.delta_bits)),
                "valid": In(1),
                "x": In(data.ArrayLayout(signed(ACT_BITS), count)),
                "random": In(ROUND_BITS),
                "delta_exp": In(range(DELTA_EXP_MAX + 1)),
                "eta_exp": In(5),
                "update_term": Out(data.ArrayLayout(signed(config.share_bits), count)),
            }
        )

    @staticmethod
    def is_direct(config: SpatialConfig) -> bool:
        """Whether delta_cost itself is the term: nothing to multiply, nothing to round."""
        return not config.nodes and config.network.accumulators

    @classmethod
    def latency_of(cls, config: SpatialConfig) -> int:
        """Clocks from delta_cost to the terms."""
        if cls.is_direct(config):
            return 1
        return cls.random_after(config) + 1 + (config.align_max > 0)

    @classmethod
    def random_after(cls, config: SpatialConfig) -> int:
        """Clocks from delta_cost to the random byte that rounds its products: a pipelined core has
        a register more behind the multipliers, because these are far from all other logic."""
        return Broadcast.LEAST_LATENCY - X_TO_DELTA - 1 + config.pipelined

    def elaborate(self, platform):
        m = Module()
        cfg, net = self.config, self.config.network
        shift, align = Signal(signed(7)), Signal(range(max(cfg.align_max, 1) + 1))
        # Settings change only while the core is idle, so a register costs no clock.
        m.d.sync += shift.eq(update_shift(net, self.eta_exp, self.delta_exp))
        if net.accumulators and cfg.align_max:
            m.d.comb += align.eq(cfg.shift_high - shift)
        # `update` of a product comes latency − 1 clocks behind its x, and x one before delta_cost.
        valid = delayed(m, self.valid, self.random_after(cfg))
        rate = tuple(pair for pair in cfg.fixed if pair[0] in ("delta_exp", "eta_exp"))
        # Of this core of one lane only the broadcast is built.
        products = CoreConfig(net, 1, shared_dsps=4 if cfg.share_dsp else 0, fixed=rate)
        for k in range(self.count):
            if self.is_direct(cfg):
                m.d.sync += self.update_term[k].eq(Mux(self.valid, self.delta_cost << align, 0))
                continue
            m.submodules[f"product_{k}"] = unit = Broadcast(
                products, extra_clocks=int(cfg.pipelined)
            )
            m.d.comb += [
                unit.x.eq(self.x[k]),
                unit.delta.eq(self.delta_cost),
                unit.random.eq(self.random),
                unit.update.eq(valid),
                unit.nodes.eq(cfg.nodes),
                unit.accumulates.eq(net.accumulators),
                unit.delta_exp.eq(self.delta_exp),
                unit.eta_exp.eq(self.eta_exp),
            ]
            if cfg.align_max:
                m.d.sync += self.update_term[k].eq(unit.update_term << align)
            else:
                m.d.comb += self.update_term[k].eq(unit.update_term)
        return m
