"""The interface of a core's memory layout for a host, the same for every kind of core."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.protocol.fixed_settings import Fixed


class CoreLayout(Protocol):
    """The contents of a core's memories and of its identity record."""

    kind: ClassVar[str]
    """Name in protocol.core_kinds.KINDS."""

    @property
    def network(self) -> Network: ...

    @property
    def lanes(self) -> int: ...

    @property
    def lane_words(self) -> int:
        """Weights per lane."""
        ...

    @property
    def host_gradient_bits(self) -> int:
        """Width of the accumulators that the host can access; 0 where it can access none."""
        ...

    @property
    def record_stride(self) -> int:
        """16-bit words from one sample's record to the next."""
        ...

    @property
    def variant(self) -> BuildOptions: ...

    @property
    def fixed(self) -> Fixed:
        """Settings that are constants in this core."""
        ...

    @property
    def constant_words(self) -> tuple[int, ...]:
        """The build's constants at the end of its identity record (Identity.constants)."""
        ...

    def check(self, settings: Settings) -> None:
        """Raise UserError where the core cannot take these settings."""
        ...

    def to_lanes(self, weights: list[np.ndarray]) -> np.ndarray:
        """Weights per layer, (nodes, fan_in + 1) each, to int64 (lanes, lane_words)."""
        ...

    def from_lanes(self, memory: np.ndarray) -> list[np.ndarray]:
        """Inverse of to_lanes."""
        ...

    def locate_weight(self, lane: int, word: int) -> tuple[int, int, int]:
        """(layer, node, input) of a weight, each from 0."""
        ...
