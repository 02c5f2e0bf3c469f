"""Adder trees with registers between the levels."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Module, Signal, signed

from mgd.rtl.lib.carry import chained_sum

LEVELS = 2
"""Adders one behind the other between two registers: the depth of the pipeline against its
clock.  Two of 20 bits take 6 ns on an ECP5."""


def tree_latency(terms: int) -> int:
    """Clocks that the sum of so many terms takes; one at least."""
    return max(-(-(terms - 1).bit_length() // LEVELS), 1)


def add_tree(m: Module, terms: Sequence, bits: int, *, ccu2c: bool = False):
    """The sum of signed or unsigned terms, in a register, tree_latency() clocks later.

    bits: width that the sum fits, signed.  ccu2c: see rtl.lib.carry.chained_sum.
    """
    terms = list(terms)
    for _ in range(tree_latency(len(terms))):
        for _ in range(LEVELS):
            pairs = [
                chained_sum(m, a, b) if ccu2c else a + b
                for a, b in zip(terms[::2], terms[1::2], strict=False)
            ]
            # An odd one out goes on to the next level as it is.
            terms = pairs + terms[2 * len(pairs) :]
        terms = [in_register(m, term, bits) for term in terms]
    (found,) = terms
    return found


def in_register(m: Module, term, bits: int):
    """A register of a term, no wider than `bits`, signed."""
    # Without a reset: nobody reads a sum before its terms have passed through.
    width = min(term.shape().width + (not term.shape().signed), bits)
    register = Signal(signed(width), name="sum", reset_less=True)
    m.d.sync += register.eq(term)
    return register
