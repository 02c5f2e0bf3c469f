"""Sinusoids: golden_model.perturbations.sine, the five leading bits of a phase."""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Out

from mgd.golden_model.perturbations import sine
from mgd.golden_model.perturbations.sine import SINE
from mgd.golden_model.perturbations.waves import LEAST_BITS
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.perturbations.waves import Waves
from mgd.rtl.lib.magnitude import MAGNITUDE_BITS, encoded

HALF = LEAST_BITS - 1
"""Bits of a place in half a turn; the other half has the other sign."""


class Sine(Waves):
    """A sign and a magnitude for each lane, which multiplies by shifting and subtracting."""

    name = "sine"
    model = sine.Sine

    def __init__(self, config: CoreConfig) -> None:
        magnitudes = data.ArrayLayout(MAGNITUDE_BITS, config.lanes)
        super().__init__(config, magnitudes=Out(magnitudes), previous_magnitudes=Out(magnitudes))

    def show(self, m: Module, phases: list[Signal], which: str) -> None:
        table = [Const(encoded(int(value)), MAGNITUDE_BITS) for value in SINE[: 1 << HALF]]
        found = [Array(table)[phase[-LEAST_BITS:-1]] for phase in phases]
        m.d.sync += [
            getattr(self, f"{which}signs").eq(Cat(phase[-1] for phase in phases)),
            getattr(self, f"{which}magnitudes").as_value().eq(Cat(*found)),
        ]


FAMILY = Sine
