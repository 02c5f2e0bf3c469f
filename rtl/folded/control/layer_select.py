"""Which layers are perturbed in a sweep: all that are trained, or one after the other."""

from __future__ import annotations

from itertools import pairwise

from amaranth import Const, Module, Signal, Value

from mgd.rtl.folded.config import CoreConfig


class LayerSelect:
    """scope = "network": all layers that are trained, in every step's one sweep.  All constants.

    Vectors have a bit per layer of weights.
    """

    perturbed: Value
    """Those of the sweep under way."""
    measured: Value
    """Those whose cost is awaited, or has just come."""
    more: Value = Const(0)
    """The step has another layer to perturb."""
    first_measured: Value = Const(1)
    last_measured: Value = Const(1)
    """Whether `measured` is the step's first, or last."""

    def __init__(self, m: Module, config: CoreConfig) -> None:
        network = config.network
        trained = sum(1 << layer for layer in config.variant.layers(network))
        self.perturbed = self.measured = Const(trained, network.depth)

    def reset(self, m: Module) -> None:
        """No step is under way."""

    def begin(self, m: Module) -> None:
        """A step begins."""

    def advance(self, m: Module) -> None:
        """Its next layer."""

    def follow(self, m: Module, awaits_cost) -> None:
        """In every clock; the next sweep may begin while a cost is awaited."""


class OneLayerAtATime(LayerSelect):
    """scope = "layer": a step sweeps the network once for each layer, the lowest first."""

    def __init__(self, m: Module, config: CoreConfig) -> None:
        network, layers = config.network, config.variant.layers(config.network)
        self._first = Const(1 << layers[0], network.depth)
        # 0 where there is none under way.
        self._perturbed, self._next = Signal(network.depth), Signal(network.depth)
        self._measured = Signal(network.depth)
        self.perturbed, self.measured = self._perturbed, self._measured
        more, first_measured, last_measured = Signal(), Signal(), Signal()
        for layer, after in pairwise(layers):
            m.d.comb += self._next[after].eq(self._perturbed[layer])
        m.d.comb += [
            more.eq(self._next.any()),
            first_measured.eq(self._measured[layers[0]]),
            last_measured.eq(self._measured[layers[-1]]),
        ]
        self.more, self.first_measured, self.last_measured = more, first_measured, last_measured

    def reset(self, m: Module) -> None:
        m.d.sync += self._perturbed.eq(0)

    def begin(self, m: Module) -> None:
        m.d.sync += self._perturbed.eq(self._first)

    def advance(self, m: Module) -> None:
        m.d.sync += self._perturbed.eq(self._next)

    def follow(self, m: Module, awaits_cost) -> None:
        # While a cost is awaited `measured` is still its layer, although the next sweep has begun.
        with m.If(~awaits_cost):
            m.d.sync += self._measured.eq(self._perturbed)


def layer_select(m: Module, config: CoreConfig) -> LayerSelect:
    """That of the scope that a core is built for."""
    return (OneLayerAtATime if config.variant.by_layer else LayerSelect)(m, config)
