"""A neuron's synapses, and the two windows of the sign sequence that serve them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from amaranth import Const, Module, Mux, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from mgd.golden_model.update.memory import WeightMemory
from mgd.rtl.lib.copies import kept_copy
from mgd.rtl.lib.unit import Unit
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.sign_windows import SignWindow, sign_leap
from mgd.rtl.spatial.synapse import Synapse

GROUP = 8
"""Synapses that share registers for the end of a window and for the ring's turns, and in a
pipelined core for update terms."""


def weights_layout(config: SpatialConfig, fan_in: int) -> data.ArrayLayout:
    """The weights of a neuron, the bias last."""
    return data.ArrayLayout(signed(config.network.weight_bits), fan_in + 1)


class Synapses(Unit):
    """All synapses of one neuron: weights, accumulators, and the signs for both ends of a step.

    The perturbation of a step that enters the network has the signs `signs` (one per synapse, or
    one in all for node perturbation); they are those of the next draw two clocks after `next_draw`.
    The cost change that leaves the network belongs to an earlier draw: a second window, which
    `next_replay` moves on, replays its signs.  No sign is stored.

    Synapse k takes number term_of[k] of the `update_term`s that enter.  All that enters is
    registered here, so that the broadcast has to reach neurons, not synapses: a synapse sees its
    term, and its bit of `gates` (1 unless `gated`), `latency` clocks later, `change` and `clear`
    1 clock later, `turns` 2.  `next_replay` belongs to the clock of the term; under node
    perturbation, where the term meets the sign here, to the clock before.
    """

    model = WeightMemory

    def __init__(self, config: SpatialConfig, term_of: Sequence[int], gated: bool) -> None:
        self.config = config
        self.latency = self.latency_of(config)
        self.gated = gated
        self.term_of = term_of
        self.fan_in = fan_in = len(term_of) - 1
        terms = max(term_of) + 1
        self.leap = sign_leap(config, fan_in)
        count = fan_in + 1
        super().__init__(
            {
                "load": In(1),
                "bit": In(1),
                "next_draw": In(1),
                "signs": Out(self.leap),
                "next_replay": In(1),
                "update_term": In(data.ArrayLayout(signed(config.share_bits), terms)),
                "gates": In(count),
                "change": In(1),
                "clear": In(1),
                "turns": In(1),
                "entering": In(signed(config.network.weight_bits)),
                "weights": Out(weights_layout(config, fan_in)),
                "gradients": Out(data.ArrayLayout(signed(max(config.gradient_bits, 1)), count)),
                "clipped": Out(count),
            }
        )

    @classmethod
    def latency_of(cls, config: SpatialConfig) -> int:
        """Clocks from an update term's arrival to the synapses."""
        return 1 + config.pipelined

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        copy = partial(kept_copy, m)
        m.submodules.window = window = SignWindow(self.leap)
        m.submodules.replay = replay = SignWindow(self.leap)
        load, bit = copy(self.load, "load_here"), copy(self.bit, "bit_here")
        for one, advance in ((window, "next_draw"), (replay, "next_replay")):
            advances = copy(getattr(self, advance), f"{advance}_here")
            if one is replay and cfg.pipelined and not cfg.nodes:
                advances = copy(advances, f"{advance}_later")
            m.d.comb += [one.load.eq(load), one.bit.eq(bit), one.advance.eq(advances)]
        m.d.comb += self.signs.eq(window.signs)

        accumulates, change = cfg.network.accumulators, self.change
        gates = Const(~0, self.fan_in + 1)
        if self.gated:
            # An accumulator's gate is its enable, which a change needs too.
            open_gates = change.replicate(len(gates)) if accumulates else 0
            gates = copy(self.gates | open_gates, "gates")
            if cfg.pipelined:
                gates = copy(gates, "gates_later")
        terms, signs = list(self.update_term), replay.signs
        if cfg.nodes:
            # One sign for all: half of the subtraction is done here.
            sign = replay.signs[0]
            terms = [Mux(sign, ~term, term).as_signed() for term in terms]
            signs = copy(sign & ~change if accumulates else sign, "sign")
        terms = [copy(term, f"term_{k}") for k, term in enumerate(terms)]
        clear, changes = copy(self.clear, "clear_here"), copy(change, "changes")
        turns = copy(self.turns, "turns_here")
        capture_next = copy(changes, "capture_next") if accumulates else changes
        synapses = [Synapse(cfg) for _ in range(self.fan_in + 1)]
        for k, synapse in enumerate(synapses):
            # Behind `change` of this neuron: `here` a clock, `changed` two, `captures` and `empty`
            # three with accumulators, else two.
            if k % GROUP == 0:
                # Every bit of every synapse takes these: too many for one register.
                turn, here = copy(turns, f"turn_{k}"), copy(change, f"change_{k}")
                changed = copy(changes, f"changed_{k}")
                captures = copy(capture_next | turns, f"captures_{k}")
                empty = copy(capture_next | self.clear, f"empty_{k}")
                near, near_signs = dict(enumerate(terms)), signs
                if cfg.pipelined:
                    # A register of the group, because the term's clock in the synapse has the
                    # adder and the limit in it, too.
                    used = sorted(set(self.term_of[k : k + GROUP]))
                    near = {n: copy(terms[n], f"near_{k}_{n}") for n in used}
                    near_signs = copy(signs, f"near_sign_{k}") if cfg.nodes else signs
            m.submodules[f"synapse_{k}"] = synapse
            m.d.comb += [
                synapse.update_term.eq(near[self.term_of[k]]),
                synapse.gate.eq(gates[k]),
                synapse.sign.eq(near_signs[k % self.leap]),
                synapse.change.eq(here),
                synapse.changed.eq(changed),
                synapse.clear.eq(clear),
                synapse.empty.eq(empty),
                synapse.turn.eq(turn),
                synapse.captures.eq(captures),
                synapse.entering.eq(synapses[k + 1].weight if k < self.fan_in else self.entering),
                self.weights[k].eq(synapse.weight),
                self.gradients[k].eq(synapse.gradient),
                self.clipped[k].eq(synapse.clipped),
            ]
        return m
