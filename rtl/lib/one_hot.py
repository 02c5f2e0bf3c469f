"""State machines with a register for each state."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth import Cat, Module, Signal


class OneHot:
    """A machine whose state is one register of several: `at["NAME"]` is high in that state.

    Amaranth's FSM numbers its states, and synthesis leaves it at that: each question which state it
    is takes a LUT, and the next state's number a multiplexer of all transitions.  Here a state
    follows from those transitions alone that lead to it or out of it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """The first state is that after a reset."""
        names = list(names)
        self.at = {name: Signal(name=f"at_{name.lower()}", init=name == names[0]) for name in names}
        self._ways: list[tuple[str, str, Signal]] = []

    def go(self, m: Module, start: str, end: str, condition=1) -> None:
        """From state `start` to `end` where `condition` is high; ways exclude each other."""
        way = Signal(name=f"{start.lower()}_to_{end.lower()}")
        m.d.comb += way.eq(self.at[start] & condition)
        self._ways.append((start, end, way))

    def connect(self, m: Module) -> None:
        """Once, behind all ways."""
        for name, state in self.at.items():
            to = [way for _, end, way in self._ways if end == name]
            out = [way for start, _, way in self._ways if start == name]
            m.d.sync += state.eq(Cat(to).any() | (state & ~Cat(out).any()))
