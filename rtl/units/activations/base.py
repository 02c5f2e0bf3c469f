"""Activation functions in gates: a table, or a handful of gates.

Both equal the golden_model.activations function of their name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth import Cat

from mgd.golden_model.network import ACT_BITS
from mgd.golden_model.tables import PiecewiseLinear
from mgd.rtl.lib.arithmetic import saturated


@dataclass(frozen=True)
class Tabulated:
    """A table over [−2^range_log2, 2^range_log2), constant outside.

    Its values have `cut` fraction bits more than an activation, with half a unit added already: so
    dropping these bits rounds half up.
    """

    name: str
    table: PiecewiseLinear
    range_log2: int
    cut: int = 0

    def position_bits(self, pre_frac: int) -> int:
        """Width of position()."""
        return pre_frac + self.range_log2 + 1

    def position(self, z, pre_frac: int):
        """Where a pre-activation is in the table: z + 2^range_log2, limited to the table's range.

        Flipping the sign bit adds that.  Near its end the table rounds to its last value, which
        it also has beyond.
        """
        bits = self.position_bits(pre_frac)
        last_rise = self.table.values[-1] - self.table.values[-2]
        assert 2 * last_rise < 1 << (bits - self.table.segment_bits)
        limited, _ = saturated(z, bits)
        return Cat(limited[:-1], ~limited[-1])

    def unlimited_position(self, z, pre_frac: int):
        """position() of a z within the table's range, and the bits of z that tell whether it is:
        then they are all the same."""
        bits = self.position_bits(pre_frac)
        return Cat(z[: bits - 1], ~z[bits - 1]), z[bits - 1 :]

    def value(self, found):
        """The activation of a table value."""
        return found >> self.cut


@dataclass(frozen=True)
class Direct:
    """A function of z in the activation format, not yet limited to its ends.

    gates: of that number (signed, more than ACT_BITS wide) the value and whether it met an end
    of the format.
    """

    name: str
    gates: Callable[[Any], tuple[Any, Any]]


Kind = Tabulated | Direct


def limited(y):
    """`y` limited to the ends of the activation format, and whether that changed it."""
    return saturated(y, ACT_BITS)
