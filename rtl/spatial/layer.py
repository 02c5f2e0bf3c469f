"""A layer of neurons, each with its synapses, its sums and its activation."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Cat, Module, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ACT_BITS
from mgd.rtl.lib.unit import Unit
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.neuron import Synapses
from mgd.rtl.spatial.sums import FirstSums, LaterSums
from mgd.rtl.units.activation import Activation

FORWARD = ("codes", "plane", "plane_first", "plane_last", "x", "unperturbed", "scale")
"""Ports that go on to the sums of every neuron, where these have them."""

UPDATE = ("update_term", "gates", "change", "clear", "turns")
"""Ports of the update that every neuron has in common."""


class Layer(Unit):
    """One layer of weights, number `layer`, and the nodes behind it.

    The first one takes `codes` and planes (rtl.spatial.sums.FirstSums), the others `x`, the
    activations of each pass; `y` leaves `latency` clocks later: activations, or the
    pre-activations of the output layer under cross-entropy.  `saturated` says which of them hit the
    end of their format.  `next_draw` belongs to the clock before that of the inputs' signs, which
    come signs_after clocks behind them.  The ports of the update are those of
    rtl.spatial.neuron.Synapses, the same for all neurons; weights go round from `entering`, which
    the last one takes, to `leaving`, the first one's.  term_of: which of the `update_term`s each
    synapse of a neuron takes.  Its models are those of its parts.
    """

    def __init__(self, config: SpatialConfig, layer: int, term_of: Sequence[int]) -> None:
        self.config = config
        self.layer = layer
        self.latency = self.latency_of(config, layer)
        self.term_of = term_of
        net = config.network
        self.fan_in, self.nodes = net.layers[layer], net.layers[layer + 1]
        self.is_output = layer == net.depth - 1
        self.activates = _activates(config, layer)
        gated = layer == 0 and config.nodes and config.gated_codes
        self._neurons = [Synapses(config, term_of, gated) for _ in range(self.nodes)]
        self._sums = [
            LaterSums(config, layer) if layer else FirstSums(config) for _ in range(self.nodes)
        ]
        self.signs_after = self._sums[0].SIGNS_AFTER
        members = self._sums[0].signature.members
        forward = {name: members[name] for name in FORWARD if name in members}
        weight = signed(net.weight_bits)
        y = data.ArrayLayout(
            signed(ACT_BITS if self.activates else config.pre_bits(layer)), self.nodes
        )
        count = self.nodes * (self.fan_in + 1)
        super().__init__(
            {
                **forward,
                "next_draw": In(1),
                "y": Out(data.ArrayLayout(y, config.passes)),
                "saturated": Out(config.passes * self.nodes),
                "load": In(self.nodes),
                "bit": In(1),
                "next_replay": In(1),
                "update_term": In(data.ArrayLayout(signed(config.share_bits), max(term_of) + 1)),
                "gates": In(self.fan_in + 1),
                "change": In(1),
                "clear": In(1),
                "turns": In(1),
                "entering": In(weight),
                "leaving": Out(weight),
                "weights": Out(count * net.weight_bits),
                "gradients": Out(count * max(config.gradient_bits, 1)),
                "clipped": Out(count),
            }
        )

    @classmethod
    def latency_of(cls, config: SpatialConfig, layer: int) -> int:
        """Clocks from the inputs to y."""
        sums = LaterSums.latency_of(config, layer) if layer else FirstSums.latency_of(config)
        return sums + (Activation.latency_of(True) if _activates(config, layer) else 0)

    def elaborate(self, platform):
        m = Module()
        saturated = []
        for node, synapses in enumerate(self._neurons):
            m.submodules[f"synapses_{node}"] = synapses
            for name in ("bit", "next_draw", "next_replay", *UPDATE):
                m.d.comb += getattr(synapses, name).eq(getattr(self, name))
            m.d.comb += synapses.load.eq(self.load[node])

            m.submodules[f"sums_{node}"] = sums = self._sums[node]
            m.d.comb += [
                getattr(sums, name).eq(getattr(self, name))
                for name in FORWARD
                if name in sums.signature.members
            ]
            m.d.comb += [sums.weights.eq(synapses.weights), sums.signs.eq(synapses.signs)]
            for k in range(self.config.passes):
                if not self.activates:
                    m.d.comb += self.y[k][node].eq(sums.z[k])
                    continue
                unit = Activation(
                    self.config.network, 1, dsp=self.config.table_dsp, position_register=True
                )
                m.submodules[f"activation_{node}_{k}"] = unit
                # Nothing waits in this core: the unit's pipeline moves in every clock, also where
                # no pass is in it, and its readers know the clock.
                m.d.comb += [
                    unit.i.valid.eq(1),
                    unit.i.payload.value.eq(sums.z[k]),
                    unit.i.payload.output.eq(self.is_output),
                    unit.o.ready.eq(1),
                    self.y[k][node].eq(unit.o.payload.value),
                ]
                saturated.append(unit.o.payload.saturated)
        # Against the order of the weights, so that one turn brings the next of them to the front.
        weight = self.entering
        for synapses in reversed(self._neurons):
            m.d.comb += synapses.entering.eq(weight)
            weight = synapses.weights[0]
        m.d.comb += [
            self.leaving.eq(weight),
            self.saturated.eq(Cat(*saturated)),
            self.weights.eq(Cat(*(n.weights for n in self._neurons))),
            self.gradients.eq(Cat(*(n.gradients for n in self._neurons))),
            self.clipped.eq(Cat(*(n.clipped for n in self._neurons))),
        ]
        return m


def _activates(config: SpatialConfig, layer: int) -> bool:
    """Whether an activation follows the sums: not where the cost reads them."""
    net = config.network
    return layer < net.depth - 1 or not net.reads_sums
