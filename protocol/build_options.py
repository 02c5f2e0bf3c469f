"""Settings that are fixed when a core is built, beside its network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mgd.golden_model.declaration import Choice, Flag, Whole, declarations
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.rules import as_toml, check
from mgd.golden_model.settings import Settings
from mgd.protocol import rules

MASK_BITS = 8
"""Layers of weights that the identity record can mark as not trained."""
MEASURED = "antithetic or forward"
"""The difference is a setting in a register."""


@dataclass(frozen=True)
class Field:
    """A field of BuildOptions and its bits in the identity record: the number of its value in
    `values`, from bit `shift` of the options' two words on."""

    name: str
    shift: int
    bits: int
    values: Sequence[Any] = ()
    beside: tuple[str, Any] | None = None
    """The name and value of a field before it in FIELDS: where that has another value, this one has
    its default, and its bits are another field's."""

    def is_there(self, values: Mapping[str, Any]) -> bool:
        """Whether the bits are this field's, beside these values of the fields before it."""
        return self.beside is None or values[self.beside[0]] == self.beside[1]

    def number(self, value: Any) -> int:
        return self.values.index(value)

    def value(self, number: int, depth: int) -> Any:
        """Raises UserError where the board has a value that came later."""
        if number >= len(self.values):
            raise UserError(
                f"the board's core has {self.name} number {number}, this program knows "
                f"{len(self.values)}; use the version that built it, or build it again"
            )
        return self.values[number]


class Mask(Field):
    """A 1 for each layer of weights whose flag is false, the first layer's lowest."""

    def number(self, value: Any) -> int:
        return sum((not flag) << k for k, flag in enumerate(value))

    def value(self, number: int, depth: int) -> Any:
        return tuple(not number >> k & 1 for k in range(depth)) if number else ()


def _field(name: str, shift: int, bits: int, beside: tuple[str, Any] | None = None) -> Field:
    """A field with all values that the setting's declaration allows."""
    match declarations(Settings)[name].allowed:
        case Choice(names):
            return Field(name, shift, bits, names, beside)
        case Whole(low, high):
            return Field(name, shift, bits, range(low, high + 1), beside)
        case Flag():
            return Field(name, shift, bits, (False, True), beside)
    raise TypeError(f"{name} has no list of values")


FIELDS = (
    _field("perturbation", 4, 3),
    _field("scope", 1, 1),
    Mask("trainable", 8, MASK_BITS),
    _field("gate_zeros", 2, 1),
    _field("skip_zeros", 7, 1),
    Field("difference", 3, 1, (MEASURED, "highpass")),
    _field("momentum_exp", 16, 5),
    _field("decay_exp", 21, 5),
    _field("sample_order", 26, 2),
    _field("highpass_exp", 28, 4, beside=("difference", "highpass")),
    _field("accumulate", 28, 1, beside=("difference", MEASURED)),
)
"""All fields of BuildOptions; none has bit 0.  Another one is a line here and one in BuildOptions:
its default has number 0."""


@dataclass(frozen=True)
class BuildOptions:
    """Settings (golden_model.settings.Settings) that are fixed when a core is built.  The defaults
    add no gate."""

    scope: str = "network"
    trainable: tuple[bool, ...] = ()
    """(): all."""
    perturbation: str = "random"
    sample_order: str = "cycle"
    momentum_exp: int = 0
    decay_exp: int = 0
    difference: str = MEASURED
    highpass_exp: int = 1
    """1 where there is no filter."""
    gate_zeros: bool = False
    skip_zeros: bool = False
    accumulate: str = "weights"

    def __post_init__(self) -> None:
        check(rules.OPTIONS, s=self)

    @classmethod
    def of(cls, settings: Settings) -> BuildOptions:
        """The options that these settings need.  Raises UserError where no core has two of them
        together."""
        values = {field.name: getattr(settings, field.name) for field in FIELDS}
        if all(settings.trainable):
            values["trainable"] = ()
        if not settings.continuous:
            values |= {"difference": MEASURED, "highpass_exp": 1}
        if settings.by_node:
            # A core that multiplies by the inputs changes no weight whose input is 0.
            values["gate_zeros"] = False
        return cls(**values)

    def layers(self, network: Network) -> list[int]:
        """Numbers of the layers of weights that are trained.

        Raises UserError where the identity record has no room for them.
        """
        check(rules.OPTIONS_MASK, o=self, n=network, most=MASK_BITS)
        flags = self.trainable or (True,) * network.depth
        return [layer for layer, flag in enumerate(flags) if flag]

    @property
    def continuous(self) -> bool:
        return self.difference == "highpass"

    @property
    def by_layer(self) -> bool:
        return self.scope == "layer"

    @property
    def by_node(self) -> bool:
        return self.accumulate == "nodes"

    @property
    def ordered(self) -> bool:
        """Whether training samples come in another order than the memory's."""
        return self.sample_order != "cycle"

    @property
    def takes_codes(self) -> bool:
        """Whether a core needs Command.CODES before a run (protocol.run_codes)."""
        return self.perturbation != "random" or self.ordered

    @property
    def value_frac(self) -> int:
        """Fraction bits of the perturbation's values: 0 where they are signs."""
        return PERTURBATIONS[self.perturbation].frac

    @property
    def selects(self) -> bool:
        """Whether layers are perturbed at times only, or never."""
        return self.by_layer or bool(self.trainable)

    def check(self, settings: Settings) -> None:
        """Raise UserError where a core that was built for this cannot take these settings."""
        check(rules.OPTIONS_TAKE, o=self, s=settings)

    def mismatch(self, settings: Settings) -> dict[str, str] | None:
        """The first option that these settings need otherwise: its `name`, and as a task file has
        them the values `wanted` and `built`."""
        wanted = BuildOptions.of(settings)
        for name in self.names():
            if getattr(wanted, name) != getattr(self, name):
                built, asked = getattr(self, name), getattr(settings, name)
                return {"name": name, "wanted": as_toml(asked), "built": as_toml(built)}
        return None

    @staticmethod
    def names() -> tuple[str, ...]:
        """All options, in the order of FIELDS."""
        return tuple(field.name for field in FIELDS)

    # -- in the identity record ---------------------------------------------------------------

    def word(self) -> int:
        """32 bits, laid out by FIELDS; 0 in bit 0."""
        return sum(
            field.number(getattr(self, field.name)) << field.shift
            for field in FIELDS
            if field.is_there(vars(self))
        )

    @classmethod
    def from_word(cls, word: int, depth: int) -> BuildOptions:
        """The inverse of word(), for a network of so many layers of weights.

        Raises UserError where the board has options that this program does not know.
        """
        values: dict[str, Any] = {}
        for field in FIELDS:
            number = 0
            if field.is_there(values):
                number = word >> field.shift & ((1 << field.bits) - 1)
            values[field.name] = field.value(number, depth)
            word -= number << field.shift
        if word:
            raise UserError(
                f"the board's core was built with options that this program does not know (bits "
                f"{word:#x}); use the version that built it, or build it again"
            )
        return cls(**values)


PLAIN = BuildOptions()
