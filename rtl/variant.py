"""Which member of the family of methods a core is built for, beside its network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from golden_model.errors import UserError
from golden_model.network import Network
from golden_model.settings import SCOPES, Settings

MASK_BITS = 8
"""Layers of weights that the identity record can mark as not trained."""
MASK_SHIFT = 8
SCOPE_SHIFT = 1
FIELDS = ("scope", "trainable")


@dataclass(frozen=True)
class Variant:
    """Settings (golden_model.settings.Settings) that are wiring in either core.  The defaults add
    no gate."""

    scope: str = "network"
    trainable: tuple[bool, ...] = ()
    """(): all."""

    @classmethod
    def of(cls, settings: Settings) -> Variant:
        """That of these settings."""
        trainable = () if all(settings.trainable) else settings.trainable
        return cls(settings.scope, trainable)

    def layers(self, network: Network) -> list[int]:
        """Numbers of the layers of weights that are trained.

        Raises UserError where the identity record has no room for them.
        """
        if self.trainable and network.depth > MASK_BITS:
            raise UserError(
                f"trainable with {network.depth} layers of weights: a board can tell of "
                f"{MASK_BITS} which are trained; use fewer layers or --backend golden"
            )
        flags = self.trainable or (True,) * network.depth
        return [layer for layer, flag in enumerate(flags) if flag]

    @property
    def by_layer(self) -> bool:
        return self.scope == "layer"

    @property
    def selects(self) -> bool:
        """Whether layers are perturbed at times only, or never."""
        return self.by_layer or bool(self.trainable)

    def check(self, settings: Settings) -> None:
        """Raise UserError where a core that was built for this cannot take these settings."""
        wanted = Variant.of(settings)
        for name, value in self._fields():
            if getattr(wanted, name) != value:
                raise UserError(
                    f"{name} = {shown(getattr(settings, name))}: this core was built for "
                    f"{shown(value)}, which is wiring there; build it for this task"
                )

    def _fields(self) -> Iterator[tuple[str, Any]]:
        for name in FIELDS:
            yield name, getattr(self, name)

    # -- in the identity record ---------------------------------------------------------------

    def word(self) -> int:
        """16 bits, 0 in bit 0: bit 1 the scope, from bit 8 on a 1 for each layer not trained."""
        frozen = sum((not flag) << k for k, flag in enumerate(self.trainable))
        return SCOPES.index(self.scope) << SCOPE_SHIFT | frozen << MASK_SHIFT

    @classmethod
    def from_word(cls, word: int, depth: int) -> Variant:
        """The inverse of word(), for a network of so many layers of weights."""
        frozen = word >> MASK_SHIFT
        trainable = tuple(not frozen >> k & 1 for k in range(depth)) if frozen else ()
        return cls(SCOPES[word >> SCOPE_SHIFT & 1], trainable)


PLAIN = Variant()


def shown(value: Any) -> str:
    """As a task file has it."""
    if isinstance(value, tuple | bool):
        return repr(value).replace("(", "[").replace(",)", "]").replace(")", "]").lower()
    return repr(value)
