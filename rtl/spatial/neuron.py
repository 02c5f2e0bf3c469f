"""A neuron's synapses, and the two windows of the sign sequence that serve them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from amaranth import Const, Module, Mux, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.lib.copies import kept_copy
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.streams import SignStream, sign_leap
from mgd.rtl.spatial.synapse import Synapse

GROUP = 8
"""Synapses that have registers of their own for what ends a window and for the ring's turns, in a
pipelined core for shares, too."""


def weights_layout(config: SpatialConfig, fan_in: int) -> data.ArrayLayout:
    """The weights of a neuron, the bias last."""
    return data.ArrayLayout(signed(config.network.weight_bits), fan_in + 1)


class Synapses(wiring.Component):
    """All synapses of one neuron: weights, accumulators, and the signs for both ends of a step.

    The perturbation of a step that enters the network has the signs `signs` (one per synapse, or
    one in all for node perturbation), which go on two clocks after `draw`.  The cost change that
    leaves it belongs to an earlier draw: a second, later window, which goes on after
    `draw_before`, replays its signs.  No sign is stored.

    Synapse k takes number share_of[k] of the `share`s that enter.  All that enters is registered
    here, so that the broadcast has to reach neurons, not synapses: a synapse sees its share, and
    its bit of `gates` (1 unless `gated`), 1 clock later, 2 in a pipelined core, `change` and
    `clear` 1 clock later, `turns` 2.  `draw_before` belongs to the clock of the share; under node
    perturbation, where the share meets the sign here, to the clock before.
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

    @staticmethod
    def latency_of(config: SpatialConfig) -> int:
        """Clocks from a share's arrival to the synapses."""
        return 1 + config.pipelined

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        copy = partial(kept_copy, m)
        m.submodules.stream = stream = SignStream(self.leap)
        m.submodules.stream_before = stream_before = SignStream(self.leap)
        load, bit = copy(self.load, "load_here"), copy(self.bit, "bit_here")
        for one, step in ((stream, "draw"), (stream_before, "draw_before")):
            there = copy(getattr(self, step), f"{step}_here")
            if one is stream_before and cfg.pipelined and not cfg.nodes:
                there = copy(there, f"{step}_later")
            m.d.comb += [one.load.eq(load), one.bit.eq(bit), one.step.eq(there)]
        m.d.comb += self.signs.eq(stream.signs)

        accumulates, change = cfg.network.accumulators, self.change
        gates = Const(~0, self.fan_in + 1)
        if self.gated:
            # An accumulator's gate is its enable, and it takes part in a change.
            opened = change.replicate(len(gates)) if accumulates else 0
            gates = copy(self.gates | opened, "gates")
            if cfg.pipelined:
                gates = copy(gates, "gates_later")
        shares, signs = list(self.share), stream_before.signs
        if cfg.nodes:
            # One sign for all: half of the subtraction is done here.
            sign = stream_before.signs[0]
            shares = [Mux(sign, ~share, share).as_signed() for share in shares]
            signs = copy(sign & ~change if accumulates else sign, "sign")
        shares = [copy(share, f"share_{k}") for k, share in enumerate(shares)]
        clear, changes = copy(self.clear, "clear_here"), copy(change, "changes")
        turns = copy(self.turns, "turns_here")
        takes_next = copy(changes, "takes_next") if accumulates else changes
        synapses = [Synapse(cfg) for _ in range(self.fan_in + 1)]
        for k, synapse in enumerate(synapses):
            if k % GROUP == 0:
                # What every bit of every synapse takes is too much for one register.
                turn, here = copy(turns, f"turn_{k}"), copy(change, f"change_{k}")
                changed = copy(changes, f"changed_{k}")
                takes = copy(takes_next | turns, f"takes_{k}")
                empty = copy(takes_next | self.clear, f"empty_{k}")
                near, near_signs = dict(enumerate(shares)), signs
                if cfg.pipelined:
                    # In the clock of the share there are the adder and the limit, too.
                    wanted = sorted(set(self.share_of[k : k + GROUP]))
                    near = {n: copy(shares[n], f"near_{k}_{n}") for n in wanted}
                    near_signs = copy(signs, f"near_sign_{k}") if cfg.nodes else signs
            m.submodules[f"synapse_{k}"] = synapse
            m.d.comb += [
                synapse.share.eq(near[self.share_of[k]]),
                synapse.gate.eq(gates[k]),
                synapse.sign.eq(near_signs[k % self.leap]),
                synapse.change.eq(here),
                synapse.changed.eq(changed),
                synapse.clear.eq(clear),
                synapse.empty.eq(empty),
                synapse.turn.eq(turn),
                synapse.takes.eq(takes),
                synapse.before.eq(synapses[k + 1].weight if k < self.fan_in else self.before),
                self.weights[k].eq(synapse.weight),
                self.gradients[k].eq(synapse.gradient),
                self.clipped[k].eq(synapse.clipped),
            ]
        return m
