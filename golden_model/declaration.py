"""A setting of the user, declared once: its limits, its default, and its place in a core.

A field of a dataclass is declared where it stands::

    tau_x: int = declare(1, Whole(1, TAU_MAX), Place.REGISTER)

From that the dataclass checks its values (:func:`golden_model.rules.check_declared`), the task
file gets its keys (host.task.keys), and the host knows which settings need a core of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any


class Place(Enum):
    """Where the value of a setting is while a core trains."""

    REGISTER = "a register: every core takes any value"
    BUILD = "a build constant: a core is built for one value"
    HOST = "the host's: it changes a register between two steps, or refills the sample memory"
    CORE = "the core's: it follows from the core's latencies"
    MODEL = "the golden model's alone: cores have the default"


@dataclass(frozen=True)
class Choice:
    """One of some names."""

    names: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


@dataclass(frozen=True)
class Whole:
    """A whole number, both limits included."""

    low: int
    high: int

    def allows(self, value: Any) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"between {self.low} and {self.high}"


@dataclass(frozen=True)
class Real:
    """A real number above a limit, and up to another one where there is one."""

    above: float
    most: float | None = None

    def allows(self, value: Any) -> bool:
        return value > self.above and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        upper = "" if self.most is None else f" and at most {self.most:g}"
        return f"above {self.above:g}{upper}"


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Flags:
    """true or false for each layer of weights; none: true for all."""

    def allows(self, value: Any) -> bool:
        return all(isinstance(flag, bool) for flag in value)

    def __str__(self) -> str:
        return "a list of true and false"


Allowed = Choice | Whole | Real | Flag | Flags


@dataclass(frozen=True)
class Declaration:
    """The declaration of one field."""

    name: str
    default: Any
    allowed: Allowed
    place: Place | None
    later: bool
    """A digest names it only where it has not its default, so that the digests of runs that are
    older than the field do not change."""
    by_method: Mapping[str, Any]
    """A task file's defaults for the methods that have not `default`."""
    auto: bool
    """Whether a task file may say "auto", and does by default: the value then follows."""
    per_method: bool
    """Whether it is a key of [training], [training.wp] and [training.np]."""


_KEY = "declaration"


def declare(
    default: Any,
    allowed: Allowed,
    place: Place | None = None,
    *,
    later: bool = False,
    by_method: Mapping[str, Any] | None = None,
    auto: bool = False,
    per_method: bool = True,
) -> Any:
    """A dataclass field with this declaration; see Declaration for the arguments."""
    given = (allowed, place, later, by_method or {}, auto, per_method)
    return field(default=default, metadata={_KEY: given})


def declarations(owner: Any) -> dict[str, Declaration]:
    """By name, all that a dataclass or an instance of it declares, in the order of its fields."""
    return {
        each.name: Declaration(each.name, each.default, *each.metadata[_KEY])
        for each in fields(owner)
        if _KEY in each.metadata
    }


def digest_fields(owner: Any) -> dict[str, Any]:
    """The declared fields of `owner` and their values, as they enter a digest."""
    values = {name: (getattr(owner, name), known) for name, known in declarations(owner).items()}
    return {
        name: value
        for name, (value, known) in values.items()
        if not (known.later and value == known.default)
    }
