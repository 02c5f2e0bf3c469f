"""A folded core's layout together with its imperfections."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

from amaranth import Shape, signed

from mgd.golden_model.imperfections import ImperfectHardware, Imperfections, largest_noise
from mgd.golden_model.network import signed_bits
from mgd.golden_model.rules import check
from mgd.protocol.core_kinds import kind_of
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.imperfect import rules

NONE = Imperfections()


@dataclass(frozen=True)
class ImperfectConfig(CoreConfig):
    """As CoreConfig; the imperfections are those that the golden model has for `seed`.

    Raises UserError where they do not suit the network, or do not work with a build option of the
    core.
    """

    imperfections: Imperfections = NONE
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(rules.VERIFIED, o=self.variant)
        _ = self.hardware

    @classmethod
    def of(cls, config: CoreConfig, imperfections: Imperfections, seed: int) -> ImperfectConfig:
        """`config` with these imperfections.  Raises UserError for a spatial core."""
        check(rules.FOLDED_ONLY, folded=kind_of(config).has_imperfections)
        given = {field.name: getattr(config, field.name) for field in fields(CoreConfig)}
        return cls(**given, imperfections=imperfections, seed=seed)

    @cached_property
    def hardware(self) -> ImperfectHardware:
        """Of this one seed."""
        return ImperfectHardware(self.imperfections, self.network, [self.seed])

    @property
    def measures_badly(self) -> bool:
        """Whether the measured training cost may differ from the exact one."""
        return bool(self.imperfections.cost_noise) or self.hardware.dropped_bits > 0

    @property
    def cost_shape(self) -> Shape:
        if not self.measures_badly:
            return super().cost_shape
        # Any noise that the port holds, and the error of rounding.
        noise, rounding = 1 << self.cost_noise_bits >> 1, 1 << self.hardware.dropped_bits >> 1
        bound = self.network.cost_bound + noise + rounding
        return signed(signed_bits(-bound, bound))

    @property
    def cost_noise_bits(self) -> int:
        """Width of the noise on a cost, signed, in units of 2^-cost_frac; 0: none."""
        return self._noise_bits(self.imperfections.cost_noise, self.network.cost_frac)

    @property
    def update_noise_bits(self) -> int:
        """Width of the noise on a weight that changes, signed, in its units; 0: none."""
        return self._noise_bits(self.imperfections.update_noise, self.network.weight_frac)

    @staticmethod
    def _noise_bits(deviation: float, frac: int) -> int:
        bound = largest_noise(deviation, frac)
        return signed_bits(-bound, bound) if deviation else 0
