"""Square waves: golden_model.perturbations.square, the top bit of a phase."""

from __future__ import annotations

from amaranth import Cat, Module, Signal

from mgd.golden_model.perturbations import square
from mgd.rtl.folded.perturbations.waves import Waves


class Square(Waves):
    """−1 in the second half of a turn."""

    name = "square"
    model = square.Square

    def show(self, m: Module, phases: list[Signal], which: str) -> None:
        m.d.sync += getattr(self, f"{which}signs").eq(Cat(phase[-1] for phase in phases))


FAMILY = Square
