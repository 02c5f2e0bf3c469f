"""Adder trees with registers between the levels."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Module, Signal, signed

LEVELS = 2
"""Adders one behind the other between two registers: the depth of the pipeline against its
clock.  Two of 20 bits take 6 ns on an ECP5."""


def tree_latency(terms: int) -> int:
    """Clocks that the sum of so many terms takes; one at least."""
    return max(-(-(terms - 1).bit_length() // LEVELS), 1)


def add_tree(m: Module, terms: Sequence, bits: int, of: int | None = None):
    """The sum of signed or unsigned terms, in a register, tree_latency() clocks later.

    bits: width that the sum fits, signed.  of: where pairs of so many terms were added before,
    it is as late as a tree of all of them.
    """
    terms = list(terms)
    count = len(terms) if of is None else of
    levels = LEVELS if of is None or of == len(terms) else LEVELS - 1
    for _ in range(tree_latency(count)):
        for _ in range(levels):
            pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
            terms = pairs + terms[2 * len(pairs) :]
        registers = []
        for term in terms:
            width = min(term.shape().width + (not term.shape().signed), bits)
            register = Signal(signed(width), name="sum", reset_less=True)
            m.d.sync += register.eq(term)
            registers.append(register)
        terms, levels = registers, LEVELS
    (total,) = terms
    return total
