"""Steps of a core that sums per node: weights change in a sweep of their own, between two steps."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.folded.control.step_control import StepControl
from mgd.rtl.folded.program.step_clocks import steps_overlap


class NodeStepControl(StepControl):
    """`update` is high while an outer sweep is under way, from its start until its last weight is
    written.  It begins when the last step's ΔC is in all sums, that is, while `sums_busy` is low.

    `recall`: the step has the sample and the weights of the step before, and so its first layer's
    sums. Where rtl.folded.program.step_clocks.steps_overlap allows it a step begins as soon as the
    tokens of the one before have been issued, at most one cost behind. A FLUSH leaves sums that
    are not to change weights yet as they are.
    """

    def _ports(self) -> dict[str, wiring.Member]:
        return {"recall": Out(1), "sums_busy": In(1)}

    def _may_begin(self, r):
        return r.may_begin & ~self._due(r)

    @staticmethod
    def _due(r):
        """The last step has ended a sum, and weights have not changed yet."""
        return r.pending & r.change_pending

    def _renew(self, m: Module, r):
        self._renews = super()._renew(m, r)
        return self._renews

    def _begin_step(self, m: Module, r, passes, phases, layers) -> None:
        super()._begin_step(m, r, passes, phases, layers)
        with m.If(r.starts):
            m.d.sync += [self.recall.eq(~self._renews), self.update.eq(0)]

    def _outer_sweep(self, m: Module, r, then: str) -> None:
        """Begins one, as soon as it may."""
        with m.If(~r.awaits_cost & ~self.sums_busy):
            m.d.comb += self.sweep.eq(1)
            m.d.sync += [
                self.flush.eq(1),
                self.update.eq(1),
                r.in_step.eq(0),
                r.pending.eq(0),
                r.dirty.eq(1),
            ]
            m.next = then

    def _train(self, m: Module, r, layers, result_soon) -> None:
        fetches = Signal()
        m.d.comb += fetches.eq(r.new_sample & ~self.loaded & ~self.loading & ~r.finished)
        with m.State("BEGIN"):
            m.d.sync += r.in_step.eq(1)
            m.next = "STEP"
        with m.State("STEP"):
            m.d.sync += self.training.eq(1)
            with m.If(self._due(r)):
                m.d.comb += self.load.eq(fetches)
                self._outer_sweep(m, r, "OUTER")
            with m.Elif(r.ends & ~r.awaits_cost):
                m.d.sync += [self.busy.eq(0), r.in_step.eq(0)]
                m.next = "IDLE"
            with m.Else():
                m.d.comb += self.load.eq(fetches)
            with m.If(r.starts):
                m.next = "COUNTED"
        with m.State("OUTER"):
            m.d.comb += self.load.eq(fetches)
            with m.If(~self.sweeping & self.drained):
                m.d.sync += [self.flush.eq(0), self.update.eq(0)]
                m.next = "BEGIN"
        with m.State("COUNTED"):  # from the next clock on `finished` is about the step to come
            m.next = "COST"
        with m.State("COST"):
            m.d.comb += self.load.eq(fetches)
            overlaps = steps_overlap(self.config)
            with m.If(~self.sweeping & ~r.awaits_cost if overlaps else result_soon):
                m.d.sync += [r.awaits_cost.eq(1), r.in_step.eq(1)]
                m.next = "STEP"

    def _flush(self, m: Module, r) -> None:
        with m.State("FLUSH"):
            m.d.sync += r.evaluated.eq(0)
            with m.If(self._due(r)):
                self._outer_sweep(m, r, "DRAIN")
            with m.Else():
                m.next = "FLUSHED"
        self._flushed(m, r)
