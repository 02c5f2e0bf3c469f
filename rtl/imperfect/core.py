"""The folded core with imperfections."""

from __future__ import annotations

from amaranth import Mux, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from mgd.golden_model.imperfections import Imperfections
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.control.step_control import StepControl
from mgd.rtl.folded.core import FoldedCore
from mgd.rtl.folded.options import token_is_trained
from mgd.rtl.folded.units import Units
from mgd.rtl.imperfect.config import ImperfectConfig
from mgd.rtl.imperfect.costs import LimitedStepControl, measured
from mgd.rtl.imperfect.lane import ImperfectLane
from mgd.rtl.imperfect.neurons import imperfect
from mgd.rtl.lib.arithmetic import as_signed
from mgd.rtl.lib.delay import delayed


class ImperfectCore(FoldedCore):
    """Equals golden_model.trainer.Trainer with these imperfections, for a run with this seed, if
    its noise inputs are those of ImperfectHardware.

    It takes the clocks of FoldedCore, and has its ports and, where there is noise, these:

    * `cost_noise`, a stream that always has the next number: the noise on the next cost that
      is measured, signed, in units of 2^-cost_frac.  It is consumed where `ready` is high.
    * `update_noise`, likewise with a number for each lane: the noise on the lanes' weights in
      `update_noise_word`, signed, as weights are, in every change of the weights.  All words of
      the layers that are trained are asked for in their order.  The number of a lane without a
      neuron there has no effect.

    Any noise of that width will do.  A training cost may be negative, and cost_sum is then signed.
    """

    def __init__(self, config: CoreConfig, imperfections: Imperfections, seed: int) -> None:
        self.imperfect = ImperfectConfig.of(config, imperfections, seed)
        super().__init__(self.imperfect)

    def _ports(self) -> dict[str, wiring.Member]:
        cfg = self.imperfect
        ports: dict[str, wiring.Member] = {}
        if cfg.cost_noise_bits:
            shape = signed(cfg.cost_noise_bits)
            ports["cost_noise"] = In(stream.Signature(shape, always_valid=True))
        if cfg.update_noise_bits:
            numbers = data.ArrayLayout(signed(cfg.update_noise_bits), cfg.lanes)
            ports["update_noise"] = In(stream.Signature(numbers, always_valid=True))
            ports["update_noise_word"] = Out(range(cfg.lane_words))
        return ports

    def _step_control(self) -> StepControl:
        if not self.imperfect.measures_badly:
            return super()._step_control()
        return LimitedStepControl(self.imperfect)

    def _lane(self, number: int) -> ImperfectLane:
        return ImperfectLane(self.imperfect, number)

    def _measure(self, m, control, cost) -> None:
        cfg = self.imperfect
        if not cfg.measures_badly:
            connect(m, control.cost, cost.o)
            return
        noise = 0
        if cfg.cost_noise_bits:
            noise = self.cost_noise.payload
            m.d.comb += self.cost_noise.ready.eq(control.training & cost.o.valid & cost.o.ready)
        exact, seen = cost.o.payload, control.cost.payload
        m.d.comb += [
            control.cost.valid.eq(cost.o.valid),
            cost.o.ready.eq(control.cost.ready),
            seen.cost.eq(
                Mux(
                    control.training,
                    measured(m, cfg, exact.cost, noise),
                    as_signed(exact.cost),
                )
            ),
            seen.category.eq(exact.category),
            seen.second.eq(exact.second),
        ]

    def _pre_activation(self, m, z):
        what = self.imperfect.imperfections
        return imperfect(m, self.imperfect, z) if what.gain or what.offset else z.value

    def _disturb(self, m, u: Units) -> None:
        for lane in u.lanes:
            m.d.comb += lane.host.eq(self.weight_request.valid & ~u.control.busy)
        if not self.imperfect.update_noise_bits:
            return
        engine, control, clocks = u.engine, u.control, u.timing.change
        due = engine.valid & engine.token.lead & control.update & control.change
        changes = delayed(m, due & token_is_trained(u), clocks)
        m.d.comb += [
            self.update_noise.ready.eq(changes),
            self.update_noise_word.eq(delayed(m, engine.token.word, clocks)),
        ]
        for p, lane in enumerate(u.lanes):
            m.d.comb += lane.noise.eq(Mux(changes, self.update_noise.payload[p], 0))
