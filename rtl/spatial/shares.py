"""The broadcast: a step's cost change on its way to all synapses."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ACT_BITS, DELTA_EXP_MAX, ONE, ROUND_BITS
from mgd.golden_model.update.shift import update_shift
from mgd.rtl.folded.broadcast import Broadcast
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.delay import delayed
from mgd.rtl.spatial.config import SpatialConfig

X_BEFORE_DELTA = 1
"""Clocks from an activation to the D that it is multiplied with."""


@dataclass(frozen=True)
class Sources:
    """Which inputs have a share of their own.

    x: for each distinct share its input, (layer, number), or the constant that it always is.
    share_of: for each layer and synapse of a neuron the number of its share among the layer's.
    wanted: for each layer the numbers of its shares among all.
    """

    x: tuple[tuple[int, int] | int, ...]
    share_of: tuple[tuple[int, ...], ...]
    wanted: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, config: SpatialConfig) -> Sources:
        """Weight perturbation has one share in all.  Under node perturbation a bias has it, and
        each input its own, but codes of one bit have one in common, which they let pass or not.
        """
        x: list[tuple[int, int] | int] = [ONE]
        share_of, wanted = [], []
        for layer, fan_in in enumerate(config.network.layers[:-1]):
            mine: list[tuple[int, int] | int] = [ONE] * (fan_in + 1)
            if config.nodes and layer == 0 and config.gated_codes:
                mine[:-1] = [1 << config.input_shift] * fan_in
            elif config.nodes:
                mine[:-1] = [(layer, j) for j in range(fan_in)]
            distinct = list(dict.fromkeys(mine))
            x += [one for one in distinct if one not in x]
            share_of.append(tuple(distinct.index(one) for one in mine))
            wanted.append(tuple(x.index(one) for one in distinct))
        return cls(tuple(x), tuple(share_of), tuple(wanted))


class Shares(wiring.Component):
    """From D to the shares; equals D·x, rounded, in golden_model.trainer.Trainer._update, and is
    0 where there is no step.

    D enters with `valid`; `share`, one per number in `x`, leaves latency_of() clocks later.  `x`
    belongs to the clock before D, the step's random byte to random_after() clocks behind it.
    Cost: a multiplier per share, none where D itself is the only one.
    """

    def __init__(self, config: SpatialConfig, count: int) -> None:
        self.config = config
        self.count = count
        super().__init__(
            {
                "delta": In(signed(config.delta_bits)),
                "valid": In(1),
                "x": In(data.ArrayLayout(signed(ACT_BITS), count)),
                "random": In(ROUND_BITS),
                "delta_exp": In(range(DELTA_EXP_MAX + 1)),
                "eta_exp": In(5),
                "share": Out(data.ArrayLayout(signed(config.share_bits), count)),
            }
        )

    @staticmethod
    def is_direct(config: SpatialConfig) -> bool:
        """Whether D itself is the share: nothing to multiply, nothing to round."""
        return not config.nodes and config.network.accumulators

    @classmethod
    def latency_of(cls, config: SpatialConfig) -> int:
        """Clocks from D to the shares."""
        if cls.is_direct(config):
            return 1
        return cls.random_after(config) + 1 + (config.align_max > 0)

    @classmethod
    def random_after(cls, config: SpatialConfig) -> int:
        """Clocks from D to what rounds its products: a pipelined core has a register more behind
        the multipliers, which are far from all else."""
        return Broadcast.LATENCY - X_BEFORE_DELTA - 1 + config.pipelined

    def elaborate(self, platform):
        m = Module()
        cfg, net = self.config, self.config.network
        shift, align = Signal(signed(7)), Signal(range(max(cfg.align_max, 1) + 1))
        m.d.sync += shift.eq(update_shift(net, self.eta_exp, self.delta_exp))
        if net.accumulators and cfg.align_max:
            m.d.comb += align.eq(cfg.shift_high - shift)
        valid = delayed(m, self.valid, self.random_after(cfg))
        rate = tuple(pair for pair in cfg.fixed if pair[0] in ("delta_exp", "eta_exp"))
        products = CoreConfig(net, 1, shared_dsps=4 if cfg.share_dsp else 0, fixed=rate)
        for k in range(self.count):
            if self.is_direct(cfg):
                m.d.sync += self.share[k].eq(Mux(self.valid, self.delta << align, 0))
                continue
            m.submodules[f"product_{k}"] = unit = Broadcast(products, more=int(cfg.pipelined))
            m.d.comb += [
                unit.x.eq(self.x[k]),
                unit.delta.eq(self.delta),
                unit.random.eq(self.random),
                unit.update.eq(valid),
                unit.nodes.eq(cfg.nodes),
                unit.accumulates.eq(net.accumulators),
                unit.delta_exp.eq(self.delta_exp),
                unit.eta_exp.eq(self.eta_exp),
            ]
            if cfg.align_max:
                m.d.sync += self.share[k].eq(unit.share << align)
            else:
                m.d.comb += self.share[k].eq(unit.share)
        return m
