"""Clocks from a PLL: the search for dividers, which a family's limits and candidates complete.

The search is a pure function.  It gives the plan with the highest output that is not above the
wanted one and keeps the limits of the maker's data sheet; among equals the one that divides the
input least, because a fast phase detector has the least jitter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth import Instance, Signal

from mgd.golden_model.errors import UserError

MHZ = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Ranges of a PLL's frequencies, in Hz: (lowest, highest)."""

    input: tuple[int, int]
    phase: tuple[int, int]
    """Frequency at the phase detector."""
    vco: tuple[int, int]
    output: tuple[int, int]


@dataclass(frozen=True)
class ClockPlan:
    """Dividers of a PLL.  Each is the number that divides, not its encoding."""

    input_hz: int
    divide: int
    """Input clocks per clock of the phase detector."""
    multiply: int
    """Clocks of the fed back output, per clock of the phase detector."""
    feedback: int
    """VCO clocks per clock of the fed back output; 1 for the iCE40, which feeds back the VCO."""
    post: int
    """VCO clocks per clock of the output."""

    @property
    def phase_hz(self) -> Fraction:
        return Fraction(self.input_hz, self.divide)

    @property
    def vco_hz(self) -> Fraction:
        return self.phase_hz * self.multiply * self.feedback

    @property
    def output_hz(self) -> Fraction:
        return self.vco_hz / self.post

    def __str__(self) -> str:
        return f"{float(self.output_hz) / MHZ:.2f} MHz"


class Pll(ABC):
    """The PLL of a family."""

    limits: Limits
    feeds_back_vco = False
    """Whether the VCO is fed back; else an output is, which must keep the output's limits."""

    @abstractmethod
    def candidates(self, input_hz: int, divide: int, wanted: Fraction) -> Iterator[ClockPlan]:
        """Plans with this input divider and at most the wanted output, in Hz; some may be out of
        limits."""

    @abstractmethod
    def instance(
        self, plan: ClockPlan, source: Any, output: Signal, lock: Signal, platform: Any
    ) -> Instance:
        """The PLL's cell.

        source: the pad where the PLL contains its buffer, else the buffered clock.  lock is
        asynchronous.
        """

    def within_limits(self, plan: ClockPlan) -> bool:
        fed_back = self.limits.vco if self.feeds_back_vco else self.limits.output
        return all(
            low <= value <= high
            for (low, high), value in (
                (self.limits.input, plan.input_hz),
                (self.limits.phase, plan.phase_hz),
                (self.limits.vco, plan.vco_hz),
                (self.limits.output, plan.output_hz),
                (fed_back, plan.vco_hz / plan.feedback),
            )
        )

    def search(self, input_hz: int, wanted_hz: float | Fraction) -> ClockPlan:
        """The plan with the highest output of at most `wanted_hz`; no candidate is above it.

        Raises UserError where the input is out of the PLL's range or its lowest output is above.
        """
        limits = self.limits
        low, high = limits.input
        if not low <= input_hz <= high:
            raise UserError(
                f"a PLL cannot take {input_hz / MHZ:g} MHz: its input must be {low / MHZ:g} to "
                f"{high / MHZ:g} MHz; use another clock of the board"
            )
        wanted = min(Fraction(wanted_hz), Fraction(limits.output[1]))
        usable = [
            plan
            for divide in range(1, input_hz // limits.phase[0] + 1)
            for plan in self.candidates(input_hz, divide, wanted)
            if self.within_limits(plan)
        ]
        if not usable:
            raise UserError(
                f"no PLL setting gives {float(wanted) / MHZ:.3f} MHz or less from "
                f"{input_hz / MHZ:g} MHz: outputs start at {limits.output[0] / MHZ:g} MHz; ask for "
                "a faster clock"
            )
        # A VCO works best in the middle of its range.
        middle = Fraction(sum(limits.vco), 2)
        return min(usable, key=lambda p: (-p.output_hz, p.divide, abs(p.vco_hz - middle)))
