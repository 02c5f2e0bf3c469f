"""The contract of a unit: how many clocks it takes, and which model it equals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from amaranth.lib import wiring


class Unit(wiring.Component):
    """A component that says when its result is there and what it is, so that a core aligns signals
    by asking and a test compares by asking.

    A unit with more than one output declares both for the one that its docstring names first.
    Other outputs have a latency of their own, called `<output>_latency`.
    """

    latency: int
    """Clocks from the input to the output: of the class where every instance has the same, else set
    by the constructor."""
    model: ClassVar[Callable[..., Any]]
    """The function, or the class, whose integers the output equals bit for bit."""

    @classmethod
    def latency_of(cls, *build: Any, **options: Any) -> int:
        """`latency` of an instance before there is one.  A class whose latency depends on the build
        has its own method, with the parameters of the constructor that decide it."""
        return cls.latency
