"""The phases of the time constants: when a sample, a draw and a window of updates end."""

from __future__ import annotations

from amaranth import Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import TAU_MAX
from mgd.rtl.folded.config import CoreConfig


class Phases(wiring.Component):
    """Whether the next step is the last one of its sample, of its draw, and of its window.

    `restart` begins all periods anew, `step` counts a step.  A result is right two clocks after
    either; a time constant that is always 1, as tau_theta in a core without accumulators, has no
    counter.  A time constant that is lowered must not be below the phase that its counter has.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        tau = In(TAU_MAX.bit_length())
        super().__init__(
            {
                "restart": In(1),
                "step": In(1),
                "tau_x": tau,
                "tau_p": tau,
                "tau_theta": tau,
                "last_of_sample": Out(1),
                "last_of_draw": Out(1),
                "changes_weights": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        for tau, ends, most in (
            ("tau_x", self.last_of_sample, TAU_MAX),
            ("tau_p", self.last_of_draw, TAU_MAX),
            ("tau_theta", self.changes_weights, cfg.tau_theta_max),
        ):
            m.d.comb += ends.eq(self._ends(m, getattr(self, tau), cfg.longest(tau, most), tau))
        return m

    def _ends(self, m: Module, period, longest: int, name: str):
        if longest == 1:
            return Const(1)
        # From 1 up to the period.  INIT restarts it, and nobody asks before.  The comparison has a
        # register: its result is awaited many clocks after the count has changed.
        phase = Signal(range(longest + 1), reset_less=True, name=f"phase_{name}")
        ends = Signal(name=f"ends_{name}")
        m.d.sync += ends.eq(phase == period)
        with m.If(self.step):
            with m.If(ends):
                m.d.sync += phase.eq(1)
            with m.Else():
                m.d.sync += phase.eq(phase + 1)
        with m.If(self.restart):
            m.d.sync += phase.eq(1)
        return ends
