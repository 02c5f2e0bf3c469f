"""State machines with a register for each state."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth import Cat, Module, Signal


class OneHot:
    """A machine whose state is one register of several: `at["NAME"]` is high in that state.

    Amaranth's FSM numbers its states, and synthesis keeps the numbers: each comparison with a state
    takes a LUT, and the next state's number a multiplexer of all transitions.  Here the register of
    a state depends only on the transitions that lead to it or out of it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """The first state is that after a reset."""
        names = list(names)
        self.at = {name: Signal(name=f"at_{name.lower()}", init=name == names[0]) for name in names}
        self._transitions: list[tuple[str, str, Signal]] = []

    def go(self, m: Module, start: str, end: str, condition=1) -> None:
        """From state `start` to `end` where `condition` is high; transitions exclude each other."""
        transition = Signal(name=f"{start.lower()}_to_{end.lower()}")
        m.d.comb += transition.eq(self.at[start] & condition)
        self._transitions.append((start, end, transition))

    def connect(self, m: Module) -> None:
        """Once, behind all calls of `go`."""
        for name, state in self.at.items():
            entries = [transition for _, end, transition in self._transitions if end == name]
            exits = [transition for start, _, transition in self._transitions if start == name]
            # A transition to the same state is an entry and an exit: the entry keeps the state.
            m.d.sync += state.eq(Cat(entries).any() | (state & ~Cat(exits).any()))
