"""Products with the values of a sine of few levels: two shifted numbers and one subtraction."""

from __future__ import annotations

from amaranth import Const, Mux

from mgd.rtl.lib.arithmetic import add_or_subtract

MAGNITUDE_BITS = 4
"""A magnitude is MORE of its low two bits less LESS of the others."""
MORE, LESS = (0, 2, 4, 8), (0, 1, 2)
WIDER = 3
"""Bits by which a product is wider: the largest magnitude is 2^WIDER."""


def encoded(magnitude: int) -> int:
    """The code of one of 0, 1, 2, 3, 4, 6, 7 and 8."""
    codes = {
        plus - minus: high | low << 2
        for low, minus in reversed(list(enumerate(LESS)))
        for high, plus in enumerate(MORE)
    }
    return codes[magnitude]


ONE_FOLD = encoded(1)
"""The code of the number itself."""


def scaled(value, code):
    """A signed `value` times the magnitude of `code`, WIDER bits wider.

    No clock later.  Cost: an adder of that width, and about two LUTs more a bit.
    """
    added = Mux(code[1], Mux(code[0], value << 3, value << 2), Mux(code[0], value << 1, 0))
    subtracted = Mux(code[3], value << 1, Mux(code[2], value, 0))
    # All magnitudes are 2^WIDER at most, so the bits cut off above are copies of the sign.
    difference = add_or_subtract(added, subtracted, Const(1))
    return difference[: len(value) + WIDER].as_signed()
