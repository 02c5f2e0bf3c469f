"""A neuron's synapses, and the two windows of the sign sequence that serve them."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Const, Module, Mux, Signal, signed
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
    of `gates` (1 unless `gated`), 1 clock later, as it does `change`, `clear` and `turns`.
    `draw_before` belongs to the clock in which a synapse sees its share; under node perturbation,
    where the share meets the sign here, to the clock before.
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
                "turns": In(1),
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

        def copy(value, name: str):
            """A register of this neuron's own: one for all neurons would be too far from most.
            Kept, or synthesis would see that they are all equal."""
            register = Signal(value.shape(), name=name, reset_less=True, attrs={"keep": 1})
            m.d.sync += register.eq(value)
            return register

        gates = copy(self.gates, "gates") if self.gated else Const(~0, self.fan_in + 1)
        shares, signs = list(self.share), stream_before.signs
        if cfg.nodes:
            # One sign for all: half of the subtraction is done here.
            sign = stream_before.signs[0]
            shares = [Mux(sign, ~share, share).as_signed() for share in shares]
            signs = copy(sign, "sign")
        shares = [copy(share, f"share_{k}") for k, share in enumerate(shares)]
        change, clear = copy(self.change, "change_here"), copy(self.clear, "clear_here")
        empty, turn = copy(self.change | self.clear, "empty"), copy(self.turns, "turn")

        synapses = [Synapse(cfg) for _ in range(self.fan_in + 1)]
        for k, synapse in enumerate(synapses):
            m.submodules[f"synapse_{k}"] = synapse
            m.d.comb += [
                synapse.share.eq(shares[self.share_of[k]]),
                synapse.gate.eq(gates[k]),
                synapse.sign.eq(signs[k % self.leap]),
                synapse.change.eq(change),
                synapse.clear.eq(clear),
                synapse.empty.eq(empty),
                synapse.turn.eq(turn),
                synapse.before.eq(synapses[k + 1].weight if k < self.fan_in else self.before),
                self.weights[k].eq(synapse.weight),
                self.gradients[k].eq(synapse.gradient),
                self.clipped[k].eq(synapse.clipped),
            ]
        return m
