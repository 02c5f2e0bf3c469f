"""A cost that is not measured exactly: golden_model.imperfections.ImperfectHardware.costs."""

from __future__ import annotations

from amaranth import Module, Signal

from mgd.rtl.folded.control.cost_difference import CostDifference
from mgd.rtl.folded.control.step_control import StepControl
from mgd.rtl.imperfect.config import ImperfectConfig
from mgd.rtl.imperfect.limit import limited
from mgd.rtl.lib.arithmetic import as_signed


def measured(m: Module, config: ImperfectConfig, exact, noise):
    """`exact` with `noise` added, rounded to cost_bits; no clock later."""
    dropped = config.hardware.dropped_bits
    value = Signal(config.cost_shape)
    total = as_signed(exact) + noise
    m.d.comb += value.eq((total + (1 << dropped >> 1)) >> dropped << dropped)
    return value


class LimitedDifference(CostDifference):
    """ΔC is limited to ±ImperfectHardware.delta_bound, which all units behind it can hold."""

    def __init__(self, config: ImperfectConfig) -> None:
        super().__init__(config)
        self._bound = config.hardware.delta_bound

    def _limited(self, delta_cost):
        return limited(delta_cost, self._bound)


class LimitedStepControl(StepControl):
    """With a LimitedDifference."""

    def __init__(self, config: ImperfectConfig) -> None:
        super().__init__(config)
        self._imperfect = config

    def _difference(self) -> CostDifference:
        return LimitedDifference(self._imperfect)
