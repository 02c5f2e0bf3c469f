"""Which layers are perturbed in a sweep: all that are trained, or one after the other."""

from __future__ import annotations

from itertools import pairwise

from amaranth import Const, Module, Signal

from mgd.rtl.folded.config import CoreConfig


class Layers:
    """A part of the schedule.  Vectors have a bit per layer of weights.

    perturbed: those of the sweep under way.  more: the step has another layer to perturb.
    measured: those whose cost is awaited, or has just come; first_measured and last_measured:
    whether these are the step's first and last.  With scope = "network" all but `perturbed` are
    constants, and that too where all layers are trained.
    """

    def __init__(self, m: Module, config: CoreConfig) -> None:
        network, variant = config.network, config.variant
        trained = sum(1 << layer for layer in variant.layers(network))
        self._several = variant.by_layer
        self.perturbed = Signal(network.depth) if self._several else Const(trained, network.depth)
        self.measured = Signal(network.depth) if self._several else self.perturbed
        self.more: Signal | Const = Const(0)
        self.first_measured: Signal | Const = Const(1)
        self.last_measured: Signal | Const = Const(1)
        if not self._several:
            return
        layers = variant.layers(network)
        self._first = Const(1 << layers[0], network.depth)
        # 0 where there is none under way.
        self._following = Signal(network.depth)
        self.more, self.first_measured, self.last_measured = Signal(), Signal(), Signal()
        for layer, after in pairwise(layers):
            m.d.comb += self._following[after].eq(self.perturbed[layer])
        m.d.comb += [
            self.more.eq(self._following.any()),
            self.first_measured.eq(self.measured[layers[0]]),
            self.last_measured.eq(self.measured[layers[-1]]),
        ]

    def reset(self, m: Module) -> None:
        """No step is under way."""
        if self._several:
            m.d.sync += self.perturbed.eq(0)

    def begin(self, m: Module) -> None:
        """A step begins."""
        if self._several:
            m.d.sync += self.perturbed.eq(self._first)

    def advance(self, m: Module) -> None:
        """Its next layer."""
        if self._several:
            m.d.sync += self.perturbed.eq(self._following)

    def follow(self, m: Module, awaits_cost) -> None:
        """In every clock; the next sweep may begin while a cost is awaited."""
        if self._several:
            with m.If(~awaits_cost):
                m.d.sync += self.measured.eq(self.perturbed)
