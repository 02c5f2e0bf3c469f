"""A core's weights and accumulators, and the updates that are still pending."""

from __future__ import annotations

from collections import deque

import numpy as np

from mgd.golden_model.formats import saturate
from mgd.golden_model.imperfections import ImperfectHardware
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.update.direct import DirectUpdate
from mgd.golden_model.update.per_node import NodeSums
from mgd.golden_model.update.per_weight import WeightAccumulators
from mgd.golden_model.update.rule import LayerStep, UpdateRule

Update = list[tuple[int, np.ndarray]]
"""(number of a layer, the decrease of its weights) of each layer."""


class WeightMemory:
    """The weights of several seeds and everything that changes them.

    weights: per layer (seeds, nodes, inputs) float64 that holds integers; accumulators: int64 of
    the same shape, 0 where the update rule has none per weight.  Both change in place.
    saturations: weights that an update would have taken beyond their format, per seed.
    """

    def __init__(
        self,
        network: Network,
        settings: Settings,
        weights: list[np.ndarray],
        hardware: ImperfectHardware | None = None,
    ) -> None:
        self.network = network
        self.settings = settings
        self.hardware = hardware
        self.weights = [np.array(w, dtype=np.float64) for w in weights]
        if hardware is not None:
            self.weights = [hardware.stored(k, w) for k, w in enumerate(self.weights)]
        # Integers: with the widest formats an accumulator may pass 2^53.
        self.accumulators = [np.zeros(w.shape, dtype=np.int64) for w in self.weights]
        self.saturations = np.zeros(len(self.weights[0]), dtype=np.int64)
        self.rule = self._rule()
        self._under_way: deque[Update] = deque()
        """The oldest first."""

    def _rule(self) -> UpdateRule:
        if self.settings.accumulates:
            return WeightAccumulators(self.network, self.settings, self.accumulators)
        if self.settings.by_node:
            return NodeSums(self.network, self.settings, len(self.saturations))
        return DirectUpdate(self.network, self.settings)

    def update(self, parts: list[LayerStep], due: bool) -> None:
        """The update of a step's trained layers.  due: whether weights change after this step; with
        update_delay they change so many steps later."""
        noise = None
        if due and self.hardware is not None:
            noise = self.hardware.change_noise()
        update: Update = []
        for part in parts:
            change = self.rule.change(part, self.weights[part.number], due)
            if change is None:
                continue
            if self.hardware is not None and noise is not None:
                change = self.hardware.disturbed(change, noise[part.number])
            update.append((part.number, change))
        if due:
            self._under_way.append(update)
            if len(self._under_way) > self.settings.update_delay:
                self._change(self._under_way.popleft())

    def finish(self) -> None:
        """Make the pending updates."""
        while self._under_way:
            self._change(self._under_way.popleft())

    @property
    def settled(self) -> list[np.ndarray]:
        """The weights as finish() would leave them now."""
        weights = [w.copy() for w in self.weights]
        for update in self._under_way:
            for number, change in update:
                weights[number] = self._limited(number, weights[number] - change)
        return weights

    def _change(self, update: Update) -> None:
        """Make an update, and count the weights that it would take beyond their format."""
        low, high = self.network.weight_min, self.network.weight_max
        for number, change in update:
            weights = self.weights[number]
            weights -= change
            if weights.min() < low or weights.max() > high:
                self.saturations += ((weights < low) | (weights > high)).sum(axis=(1, 2))
                self.weights[number] = saturate(weights, low, high)
            if self.hardware is not None:
                self.weights[number] = self.hardware.stored(number, self.weights[number])

    def _limited(self, number: int, weights: np.ndarray) -> np.ndarray:
        weights = saturate(weights, self.network.weight_min, self.network.weight_max)
        return weights if self.hardware is None else self.hardware.stored(number, weights)
