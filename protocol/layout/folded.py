"""The folded core: the contents of each lane's memory.

Lane p computes the neurons p, p+P, p+2P, … of every layer, one group of P neurons at a time.
A group is one sweep over the inputs of its layer, the bias last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from mgd.golden_model.network import Network
from mgd.golden_model.rules import check
from mgd.golden_model.settings import Settings
from mgd.protocol import rules
from mgd.protocol.build_options import PLAIN, BuildOptions
from mgd.protocol.fixed_settings import (
    Fixed,
    check_fixed,
    fixed_of_words,
    fixed_words,
)
from mgd.protocol.identity import Identity
from mgd.protocol.registers import FOLDED


@dataclass(frozen=True)
class FoldedLayout:
    """A network and the number of lanes it is folded onto.

    Raises UserError where the lanes are out of range, or where a setting cannot be fixed.
    """

    kind: ClassVar[str] = FOLDED

    network: Network
    lanes: int = 8
    fixed: Fixed = ()
    """Settings (protocol.fixed_settings.FIXABLE) that are constants: (name, value) of each.  The
    gates for other values are not built."""
    variant: BuildOptions = PLAIN

    def __post_init__(self) -> None:
        self.variant.layers(self.network)
        check(rules.FOLDED, c=self)
        check_fixed(self.fixed)

    def check(self, settings: Settings) -> None:
        """Raise UserError where the core that is built cannot take these settings."""
        self.variant.check(settings)
        check((*rules.FIXED_TAKE, *rules.FOLDED_TAKE), c=self, s=settings)

    # -- the identity record ------------------------------------------------------------------

    @property
    def constant_words(self) -> tuple[int, ...]:
        """None, or a number for each of FIXABLE."""
        return fixed_words(self.fixed)

    @classmethod
    def of_identity(cls, network: Network, identity: Identity) -> Self:
        """The core that a board says it holds: the inverse of its identity record."""
        return cls(
            network,
            identity.lanes,
            fixed=fixed_of_words(identity.constants),
            variant=BuildOptions.from_word(identity.options, network.depth),
        )

    # -- weights ----------------------------------------------------------------------------

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Groups of neurons per layer of weights."""
        return tuple(-(-n // self.lanes) for n in self.network.layers[1:])

    @cached_property
    def first_group(self) -> tuple[int, ...]:
        """Number of each layer's first group, counted through the whole network."""
        return tuple(sum(self.groups[:k]) for k in range(self.network.depth))

    @cached_property
    def first_word(self) -> tuple[int, ...]:
        """Address in a lane's weight memory of each layer's first weight."""
        sizes = [g * (f + 1) for g, f in zip(self.groups, self.network.layers, strict=False)]
        return tuple(sum(sizes[:k]) for k in range(self.network.depth))

    @property
    def lane_words(self) -> int:
        """Weights per lane."""
        return sum(g * (f + 1) for g, f in zip(self.groups, self.network.layers, strict=False))

    def active(self, layer: int, group: int) -> int:
        """Lanes that hold a neuron in this group of this layer."""
        return min(self.lanes, self.network.layers[layer + 1] - group * self.lanes)

    def to_lanes(self, weights: list[np.ndarray]) -> np.ndarray:
        """Weights per layer (nodes, fan_in+1) to the lanes' memories (lanes, lane_words)."""
        memory = np.zeros((self.lanes, self.lane_words), dtype=np.int64)
        for layer, w in enumerate(weights):
            nodes, width = w.shape
            padded = np.zeros((self.groups[layer] * self.lanes, width), dtype=np.int64)
            padded[:nodes] = w
            by_group = padded.reshape(self.groups[layer], self.lanes, width)
            start = self.first_word[layer]
            stop = start + self.groups[layer] * width
            memory[:, start:stop] = by_group.transpose(1, 0, 2).reshape(self.lanes, -1)
        return memory

    def from_lanes(self, memory: np.ndarray) -> list[np.ndarray]:
        """Inverse of to_lanes."""
        weights = []
        for layer, nodes in enumerate(self.network.layers[1:]):
            width = self.network.layers[layer] + 1
            start = self.first_word[layer]
            stop = start + self.groups[layer] * width
            by_group = memory[:, start:stop].reshape(self.lanes, self.groups[layer], width)
            weights.append(by_group.transpose(1, 0, 2).reshape(-1, width)[:nodes])
        return weights

    def locate_weight(self, lane: int, word: int) -> tuple[int, int, int]:
        """(layer, node, input) of a weight, each from 0."""
        net = self.network
        layer = max(k for k in range(net.depth) if self.first_word[k] <= word)
        group, position = divmod(word - self.first_word[layer], net.layers[layer] + 1)
        return layer, group * self.lanes + lane, position

    @property
    def record_stride(self) -> int:
        """16-bit words from one sample's record to the next."""
        return self.network.sample_words

    @property
    def host_gradient_bits(self) -> int:
        """Width of the accumulators that the host can access: all of them."""
        return self.network.gradient_bits
