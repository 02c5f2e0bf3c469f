"""A lane with noise on its weight changes and stuck bits in its weights."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from mgd.rtl.folded.lanes.lane import Lane
from mgd.rtl.imperfect.config import ImperfectConfig
from mgd.rtl.imperfect.limit import limited
from mgd.rtl.imperfect.stuck import broken_bits


class ImperfectLane(Lane):
    """Equals Lane's golden functions with those of ImperfectHardware.

    `noise` is added to the weight in clock UPDATE − 1 of its token; 0 where it does not change.
    `host` is high throughout the host's access to a weight.
    """

    def __init__(self, config: ImperfectConfig, number: int) -> None:
        self.imperfect, self.number = config, number
        super().__init__(config)

    def _ports(self) -> dict[str, wiring.Member]:
        bits = self.imperfect.update_noise_bits
        return {"host": In(1), **({"noise": In(signed(bits))} if bits else {})}

    def _moved(self, weight, change, subtract):
        if not self.imperfect.update_noise_bits:
            return super()._moved(weight, change, subtract)
        # A change is exact, or beyond a weight's whole range.  It is limited before noise is added,
        # so that the result does not depend on how far beyond it is.
        change = limited(change, self.imperfect.hardware.change_bound)
        return super()._moved(weight, change, subtract) + self.noise

    def _kept(self, m: Module, weight):
        hardware = self.imperfect.hardware
        if not hardware.what.stuck:
            return weight
        broken = self._broken(m, "stuck", hardware.memory)
        # The first half of the host's write is the smallest weight, to which the second half is
        # added.  It is not a weight, so no bit is stuck in it; it alone clips.
        return Mux(self.host & self.clipped, weight, broken(weight)).as_signed()

    def _seen(self, m: Module):
        hardware = self.imperfect.hardware
        if not hardware.what.stuck_synapse:
            return self.new_weight
        broken = self._broken(m, "stuck_synapse", hardware.synapse)
        # The host reads a weight through the multiplier, and must get the memory's contents.
        seen = Signal.like(self.new_weight)
        m.d.comb += seen.eq(Mux(self.host, self.new_weight, broken(self.new_weight)))
        return seen

    def _broken(self, m: Module, name: str, bits):
        return broken_bits(m, name, self.imperfect, bits, self.number, self.address, self.latency)
