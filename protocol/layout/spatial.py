"""The spatial core as a host sees it: one lane, whose words are all weights of the network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np

from mgd.golden_model.network import Network
from mgd.golden_model.rules import check
from mgd.golden_model.settings import PIPELINED, Settings, schedule_of
from mgd.protocol import rules
from mgd.protocol.build_options import PLAIN, BuildOptions
from mgd.protocol.fixed_settings import (
    Fixed,
    check_fixed,
    fixed_of_words,
    fixed_words,
)
from mgd.protocol.identity import Identity
from mgd.protocol.registers import SPATIAL, settings_in_registers

CONSTANTS = ("nodes", "antithetic", "input_shift", "shift_low", "shift_high", "update_delay")
"""Fields of SpatialLayout at the end of a spatial core's identity record, before its fixed
settings."""
FIXABLE = settings_in_registers(SPATIAL)
"""The settings that are registers in it, and can be fixed."""


@dataclass(frozen=True)
class SpatialLayout:
    """A network in space: every synapse is its own circuit.

    The method, the difference and the place of the inputs' binary point are constants of the build,
    and the update shift S can only be `shift_low` to `shift_high`; all other settings are
    registers, except those that are `fixed`.
    Raises UserError where the network is too large.
    """

    kind: ClassVar[str] = SPATIAL

    network: Network
    nodes: bool
    """Node perturbation; else weight perturbation."""
    antithetic: bool
    """Two passes side by side; else one, and C0 takes a clock of its own."""
    input_shift: int
    shift_low: int
    shift_high: int
    """0 or more: the accumulators hold G·2^(shift_high − S), so that the part that a weight
    takes is always the same bits.  Without accumulators any S goes."""
    variant: BuildOptions = PLAIN
    fixed: Fixed = ()
    """Which of FIXABLE are constants too: (name, value) of each.  The gates for other values
    are not built."""
    update_delay: int = 0
    """Settings.update_delay.  0: a window waits for the update of the one before.  Else it never
    waits, and this is the number that rtl.spatial.timing.update_delay computes."""

    def __post_init__(self) -> None:
        self.variant.layers(self.network)
        check_fixed(self.fixed, FIXABLE)
        check(rules.SPATIAL, c=self)

    @classmethod
    def of(cls, network: Network, settings: Settings, fixed: Fixed = (), **options: bool) -> Self:
        """The core for a network with these settings, and others of the same update shift S.

        fixed: settings to fix; those that every spatial core has as constants may be among them.
        options: fields that a subclass adds.
        """
        shift = settings.shift(network)
        check(rules.SPATIAL_OF, n=network, s=settings)
        return cls(
            network,
            nodes=settings.perturbs_nodes,
            antithetic=settings.antithetic,
            input_shift=settings.input_shift,
            shift_low=shift,
            shift_high=max(shift, 0),
            variant=BuildOptions.of(settings),
            fixed=tuple(pair for pair in fixed if pair[0] in FIXABLE),
            update_delay=settings.update_delay,
            **options,
        )

    def check(self, settings: Settings) -> None:
        """Raise UserError where the core that is built cannot take these settings."""
        check(rules.CONSTANTS_TAKE, c=self, s=settings)
        self.variant.check(settings)
        check(rules.FIXED_TAKE, c=self, s=settings)
        check(rules.RATE, n=self.network, s=settings)
        check(rules.SHIFT_TAKE, c=self, s=settings)

    @property
    def pipelined(self) -> bool:
        """Whether a step enters without waiting for any update."""
        return self.schedule == PIPELINED

    @property
    def schedule(self) -> str:
        return schedule_of(self.update_delay)

    # -- as the host sees it -----------------------------------------------------------------

    @property
    def lanes(self) -> int:
        """To the host it is one lane, whose words are the weights: layer after layer, neuron
        after neuron, the bias last."""
        return 1

    @property
    def lane_words(self) -> int:
        return self.network.parameters

    def to_lanes(self, weights: list[np.ndarray]) -> np.ndarray:
        """Weights per layer (nodes, fan_in + 1) to (1, lane_words)."""
        return np.concatenate([np.asarray(w, dtype=np.int64).reshape(-1) for w in weights])[None]

    def from_lanes(self, memory: np.ndarray) -> list[np.ndarray]:
        """Inverse of to_lanes."""
        weights, start = [], 0
        for fan_in, nodes in pairwise(self.network.layers):
            stop = start + nodes * (fan_in + 1)
            weights.append(memory[0, start:stop].reshape(nodes, fan_in + 1))
            start = stop
        return weights

    @property
    def host_gradient_bits(self) -> int:
        """0: the host cannot access accumulators, which would take a multiplexer for every bit."""
        return 0

    @property
    def constant_words(self) -> tuple[int, ...]:
        """CONSTANTS, then the fixed settings."""
        return (*(int(getattr(self, name)) for name in CONSTANTS), *fixed_words(self.fixed))

    @classmethod
    def of_identity(cls, network: Network, identity: Identity) -> Self:
        """The core that a board says it holds: the inverse of its identity record."""
        words = identity.constants
        constants = dict(zip(CONSTANTS, words, strict=False))
        return cls(
            network,
            nodes=bool(constants["nodes"]),
            antithetic=bool(constants["antithetic"]),
            input_shift=constants["input_shift"],
            shift_low=constants["shift_low"],
            shift_high=constants["shift_high"],
            update_delay=constants["update_delay"],
            variant=BuildOptions.from_word(identity.options, network.depth),
            fixed=fixed_of_words(words[len(CONSTANTS) :]),
        )

    def locate_weight(self, _lane: int, word: int) -> tuple[int, int, int]:
        """(layer, node, input) of a weight, each from 0."""
        for layer, (fan_in, nodes) in enumerate(pairwise(self.network.layers)):
            if word < nodes * (fan_in + 1):
                return layer, *divmod(word, fan_in + 1)
            word -= nodes * (fan_in + 1)
        raise IndexError(word)

    @property
    def record_stride(self) -> int:
        """16-bit words from one sample's record to the next: a power of two, so that some of an
        address' bits are the number of the record."""
        return 1 << max((self.network.sample_words - 1).bit_length(), 1)
