"""ΔC of a step from the costs of its passes: one unit per kind of difference, with equal ports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Out

from mgd.golden_model.trainer import Trainer
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.arithmetic import as_signed
from mgd.rtl.lib.unit import Unit
from mgd.rtl.units.highpass import HighPass


class CostDifference(Unit):
    """Antithetic or forward: C⁺ − C⁻, or 2·(C − C0); golden_model.trainer.Step.delta.

    A pass's `cost` enters with `valid`, the second one with `second`; `done` is high in the clock
    of the second one, and `delta_cost` is then right.  A step without a first pass (forward, C0
    known) is compared with the first pass that came last.  `restart` begins a run.
    """

    latency = 0
    """Clocks from the last pass's cost to `done`."""
    model: ClassVar[Callable[..., Any]] = Trainer.step
    SECOND_PASS = True
    """Whether a step's last cost is a second pass's."""

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "restart": In(1),
                "valid": In(1),
                "second": In(1),
                "cost": In(config.cost_shape),
                "antithetic": In(1),
                "done": Out(1),
                "delta_cost": Out(signed(config.network.delta_cost_bits)),
            }
        )

    @classmethod
    def passes(cls, antithetic, renew):
        """The mask of the passes that a step has; `renew`: its C0 is not known."""
        return 2 | (antithetic | renew)

    @classmethod
    def first_is_plus(cls, antithetic):
        """Whether the first pass is perturbed."""
        return antithetic

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.done.eq(self.valid & self.second),
            self.delta_cost.eq(self._limited(self._difference(m))),
        ]
        return m

    def _difference(self, m: Module):
        # One adder for both differences: with n = ~C₀ (or ~C⁺), C − C0 = C + n + 1, and
        # C⁺ − C⁻ = ~(C⁻ + n).
        cost = as_signed(self.cost)
        negative = Signal(cost.shape(), reset_less=True)
        with m.If(self.valid & ~self.second):
            m.d.sync += negative.eq(~cost)
        total = Cat(1, negative).as_signed() + Cat(~self.antithetic, cost).as_signed()
        total = total[1:].as_signed()
        return Mux(self.antithetic, ~total, total << 1)

    # -- what rtl.imperfect makes imperfect ---------------------------------------------------

    def _limited(self, delta_cost):
        return delta_cost


class ContinuousDifference(CostDifference):
    """The continuous form: rtl.units.highpass.HighPass of the costs, one a step."""

    latency = HighPass.latency
    model = HighPass.model
    SECOND_PASS = False

    @classmethod
    def passes(cls, antithetic, renew):
        return Const(1, 2)

    @classmethod
    def first_is_plus(cls, antithetic):
        return Const(1)

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.highpass = highpass = HighPass(cfg.network, cfg.variant.highpass_exp)
        m.d.comb += [
            highpass.restart.eq(self.restart),
            highpass.valid.eq(self.valid),
            highpass.cost.eq(self.cost),
            self.done.eq(highpass.done),
            self.delta_cost.eq(highpass.delta),
        ]
        return m


def difference_kind(config: CoreConfig) -> type[CostDifference]:
    """The unit of the difference that a core is built for."""
    return ContinuousDifference if config.variant.continuous else CostDifference
