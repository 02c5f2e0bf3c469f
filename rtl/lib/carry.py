"""Adders whose carry cells compute a second function, where these have inputs to spare."""

from __future__ import annotations

from amaranth import Const, Instance, Module, Mux, Signal, Value, signed

from mgd.rtl.lib.arithmetic import add_or_subtract, add_with_carry, as_signed

# Tables of the LUTs in a CCU2C, for A + f(B, C, D).  Where a LUT is 0 the cell generates a carry if
# the LUT would be 1 with C and D both 0.  That value must be A, so f must be 0 where C and D are.
GATED = 0x66AA
"""f is B where D is 1."""
CHANGE_OR_TERM = 0x959A
"""f is ~B where C is 1, else D."""
CHANGE_OR_SIGNED = 0xA56A
"""f is D where C is 0, B where C is 1 and D is 0."""

OPPOSITE = 0x69AA
"""f is 0 where D is 0, else B where C is 1 and ~B where C is 0."""


EITHER = 0x6CA8
"""A where C is 1 plus B where D is 1; where neither is, A AND B, as the carry is then."""


def gated_sum(m: Module, a, b, gate, *, ccu2c: bool):
    """a + b, or a where `gate` is 0; as wide as a, modulo that.

    An ECP5's carry cell has two inputs left beside the operands, which synthesis does not use;
    with `ccu2c` it is instantiated, and the gate takes no LUT.
    """
    wide = _widened(m, b, len(a))
    if ccu2c:
        return _chain(m, GATED, a, wide, Const(0), _all(gate), Const(0))
    return add_with_carry(a, Mux(gate, wide, 0).as_signed(), Const(0))[: len(a)].as_signed()


def chained_sum(m: Module, a, b):
    """a + b, signed, in an ECP5's carry cells.

    Yosys adds up three or four terms with one carry chain, behind LUTs that make two of them: for
    terms of more than a few bits that takes more LUTs than a chain for each sum.
    """
    a, b = as_signed(a), as_signed(b)
    bits = max(len(a), len(b)) + 1
    return gated_sum(m, _widened(m, a, bits), b, Const(1), ccu2c=True)


def either_sum(m: Module, terms, gates, *, ccu2c: bool):
    """The sum of those of two terms whose gates are 1; anything where neither is."""
    bits = max(map(len, terms)) + 1
    a, b = (_widened(m, term, bits) for term in terms)
    if ccu2c:
        return _chain(m, EITHER, a, b, _all(gates[0]), _all(gates[1]), Const(0))
    return (Mux(gates[0], a, 0) + Mux(gates[1], b, 0))[:bits].as_signed()


def moved(m: Module, held, term, sign, gate, *, inverted: bool, ccu2c: bool):
    """held − term, or held + term where `sign` is 1, or held where `gate` is 0; a bit wider than
    the wider one, no clock later.

    inverted: where `sign` is 1 the term comes as ~term.
    Cost: with `ccu2c` nothing beside the carry cells.
    """
    bits = max(len(held), len(term)) + 1
    subtracts = ~(sign & gate)
    if ccu2c:
        a, b = _widened(m, held, bits), _widened(m, term, bits)
        adds = Const(0) if inverted else _all(sign)
        return _chain(m, OPPOSITE, a, b, adds, _all(gate), subtracts & gate)
    term = Mux(gate, term, 0)
    if inverted:
        return add_with_carry(held, ~term, subtracts)
    return add_or_subtract(held, term, subtracts)


def accumulated(m: Module, held, term, sign, change, subtracted, *, inverted: bool, ccu2c: bool):
    """One adder for two sums, no clock later: held + term, or held − term where `sign` is 1; and
    held + ~subtracted where `change` is 1, in a clock in which the term is 0.  As wide as `held`,
    modulo that.

    inverted: where `sign` is 1 the term comes as ~term, and `sign` is low with `change`.
    Cost: with `ccu2c` and `inverted` nothing beside the carry cells.
    """
    bits = len(held)
    term, subtracted = _widened(m, term, bits), _widened(m, subtracted, bits)
    if inverted:
        carry = sign
        if ccu2c:
            return _chain(m, CHANGE_OR_TERM, held, subtracted, _all(change), term, carry)
    else:
        carry = sign & ~change
        if ccu2c:
            inverse = ~(subtracted & _all(change))
            return _chain(m, CHANGE_OR_SIGNED, held, inverse, _all(sign | change), term, carry)
        term = term ^ _all(sign)
    addend = Mux(change, ~subtracted, term).as_signed()
    return add_with_carry(held, addend, carry)[:bits].as_signed()


def _all(bit):
    """A bit as the sign of a number that has it in every place."""
    return Value.cast(bit)[:1].as_signed()


def _widened(m: Module, value, bits: int):
    wide = Signal(signed(bits))
    m.d.comb += wide.eq(value)
    return wide


def _chain(m: Module, table: int, a, b, c, d, carry):
    """a + f(b, c, d) + carry, bit by bit by the `table`, two in a cell."""
    bits = len(a)
    total = Signal(bits + bits % 2)
    pins = {
        name: _widened(m, value, len(total))
        for name, value in zip("ABCD", (a, b, c, d), strict=True)
    }
    for k in range(0, bits, 2):
        next_carry = Signal(name=f"carry_{k}")
        m.submodules += Instance(
            "CCU2C",
            p_INIT0=Const(table, 16),
            p_INIT1=Const(table, 16),
            p_INJECT1_0="NO",
            p_INJECT1_1="NO",
            i_CIN=carry,
            **{f"i_{name}{half}": pin[k + half] for half in (0, 1) for name, pin in pins.items()},
            o_S0=total[k],
            o_S1=total[k + 1],
            o_COUT=next_carry,
        )
        carry = next_carry
    return total[:bits].as_signed()
