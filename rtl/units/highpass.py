"""Continuous MGD's filter: delta_cost from the sequence of costs, one a step."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Signal, signed, unsigned
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import Network
from mgd.golden_model.update import highpass
from mgd.golden_model.update.highpass import EXTRA_FRAC
from mgd.rtl.lib.arithmetic import add_with_carry, as_signed
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.unit import Unit


class HighPass(Unit):
    """The high-pass filter of one seed.

    A cost C enters with `valid`; `latency` clocks later `done` is high and `delta` is delta_cost.
    The next cost may come in that clock at the earliest.  `restart`: the next one is the first.

    The state is the costs' moving average A = C − H, where H is the golden model's filter: A moves
    towards C by the 2^-exp part of the distance, rounded half up, and never beyond.  So A is
    between the least and the largest cost, which bounds H and makes |delta_cost| twice a cost at
    most.
    """

    latency = 2
    model = highpass.HighPass

    def __init__(self, network: Network, exp: int) -> None:
        self.exp = exp
        self._bits = network.cost_bits + EXTRA_FRAC
        super().__init__(
            {
                "restart": In(1),
                "valid": In(1),
                "cost": In(unsigned(network.cost_bits)),
                "done": Out(1),
                "delta": Out(signed(network.delta_cost_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        average, begun = Signal(self._bits, reset_less=True), Signal()
        distance = Signal(signed(self._bits + 1), reset_less=True)
        high = Signal.like(distance)
        cost = Signal(self._bits)
        m.d.comb += cost.eq(Cat(Const(0, EXTRA_FRAC), self.cost))

        # distance >> exp, rounded half up: the highest bit that is dropped is the carry.  H is the
        # distance less that part, whose inverse and carry are added.
        part, rounds = distance[self.exp :].as_signed(), distance[self.exp - 1]
        moved = delayed(m, self.valid, 1)
        # A cost enters in clock 0; its distance is there in clock 1, the average and H in clock 2,
        # in which `done` is high and the next cost finds the new average.
        m.d.comb += self.done.eq(delayed(m, moved, 1))
        with m.If(moved):
            m.d.sync += average.eq(add_with_carry(as_signed(average), part, rounds))
        m.d.sync += high.eq(add_with_carry(distance, ~part, ~rounds))
        with m.If(self.valid):
            m.d.sync += [begun.eq(1), distance.eq(cost - average)]
            # With a distance of 0 the average stays in the next clock, and H is 0.
            with m.If(~begun):
                m.d.sync += [average.eq(cost), distance.eq(0)]
        with m.If(self.restart):
            m.d.sync += begun.eq(0)
        drops = EXTRA_FRAC - 1
        m.d.comb += self.delta.eq(high[drops:].as_signed() + high[drops - 1])
        return m
