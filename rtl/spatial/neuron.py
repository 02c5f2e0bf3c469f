"""A neuron's synapses, and the two windows of the sign sequence that serve them."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Const, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.spatial.config import SpatialConfig
from rtl.spatial.streams import SignStream, sign_leap
from rtl.spatial.synapse import Synapse


def weights_layout(config: SpatialConfig, fan_in: int) -> data.ArrayLayout:
    """The weights of a neuron, the bias last."""
    return data.ArrayLayout(signed(config.network.weight_bits), fan_in + 1)


class Synapses(wiring.Component):
    """All synapses of one neuron: weights, accumulators, and the signs for both ends of a step.

    The perturbation of a step that enters the network has the signs `signs` (one per synapse, or
    one in all for node perturbation), which go on in the clock after `draw`.  The cost change
    that leaves it belongs to an earlier draw: a second, later window, which goes on after
    `draw_before`, replays its signs.  No sign is stored.

    Synapse k takes number share_of[k] of the `share`s that enter.  They are registered here, so
    that the broadcast has to reach neurons, not synapses: a synapse sees its share, and its bit
    of `gates` (1 unless `gated`), 1 clock later.  `draw_before`, `change` and `clipped` belong
    to that clock, as in Synapse.
    """

    def __init__(self, config: SpatialConfig, share_of: Sequence[int], gated: bool) -> None:
        self.config = config
        self.gated = gated
        self.share_of = share_of
        self.fan_in = fan_in = len(share_of) - 1
        self.shares = shares = max(share_of) + 1
        self.leap = sign_leap(config, fan_in)
        count = fan_in + 1
        super().__init__(
            {
                "load": In(1),
                "bit": In(1),
                "draw": In(1),
                "signs": Out(self.leap),
                "draw_before": In(1),
                "share": In(data.ArrayLayout(signed(config.share_bits), shares)),
                "gates": In(count),
                "change": In(1),
                "clear": In(1),
                "turn": In(1),
                "before": In(signed(config.network.weight_bits)),
                "weights": Out(weights_layout(config, fan_in)),
                "gradients": Out(data.ArrayLayout(signed(max(config.gradient_bits, 1)), count)),
                "clipped": Out(count),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.stream = stream = SignStream(self.leap)
        m.submodules.stream_before = stream_before = SignStream(self.leap)
        for one, step in ((stream, self.draw), (stream_before, self.draw_before)):
            m.d.comb += [one.load.eq(self.load), one.bit.eq(self.bit), one.step.eq(step)]
        m.d.comb += self.signs.eq(stream.signs)

        shares, gates = [], Const(~0, self.fan_in + 1)
        if self.gated:
            gates = Signal(self.fan_in + 1)
            m.d.sync += gates.eq(self.gates)
        for k in range(self.shares):
            # Kept: synthesis would see that the neurons' registers are all equal and keep one.
            share = Signal(signed(cfg.share_bits), name=f"share_{k}", attrs={"keep": 1})
            m.d.sync += share.eq(self.share[k])
            shares.append(share)

        synapses = [Synapse(cfg) for _ in range(self.fan_in + 1)]
        for k, synapse in enumerate(synapses):
            m.submodules[f"synapse_{k}"] = synapse
            m.d.comb += [
                synapse.share.eq(shares[self.share_of[k]]),
                synapse.gate.eq(gates[k]),
                synapse.sign.eq(stream_before.signs[k % self.leap]),
                synapse.change.eq(self.change),
                synapse.clear.eq(self.clear),
                synapse.turn.eq(self.turn),
                synapse.before.eq(synapses[k + 1].weight if k < self.fan_in else self.before),
                self.weights[k].eq(synapse.weight),
                self.gradients[k].eq(synapse.gradient),
                self.clipped[k].eq(synapse.clipped),
            ]
        return m
