"""The accumulator's adder, with sign and gate inside its carry chain where the FPGA has room."""

from __future__ import annotations

from amaranth import Cat, Const, Instance, Module, Mux, Signal, signed

from rtl.arithmetic import add_or_subtract, add_with_carry

INIT = 0x96AA
"""Of a CCU2C's LUT: A + B where D is 1 and C is 0, A + ~B where both are 1, A where D is 0."""


def gated_sum(m: Module, a, b, subtract, gate, *, ccu2c: bool, inverted: bool = False):
    """a + b, a − b where `subtract` is 1, or a where `gate` is 0; as wide as a, modulo that.
    With `inverted`, b is ~b already where `subtract` is 1.

    An ECP5's carry cell has two inputs left beside the operands, which synthesis does not use;
    with `ccu2c` it is instantiated, and neither sign nor gate takes a LUT.
    """
    bits = len(a)
    wide = Signal(signed(bits))
    m.d.comb += wide.eq(b)
    carry = subtract & gate
    if not ccu2c:
        given = Mux(gate, wide, 0).as_signed()
        total = add_with_carry if inverted else add_or_subtract
        return total(a, given, carry)[:bits].as_signed()
    if inverted:
        subtract = Const(0)
    total = Signal(bits + bits % 2)
    padded = Cat(a, a[-1])
    for k in range(0, bits, 2):
        following = Signal(name=f"carry_{k}")
        m.submodules += Instance(
            "CCU2C",
            p_INIT0=Const(INIT, 16),
            p_INIT1=Const(INIT, 16),
            p_INJECT1_0="NO",
            p_INJECT1_1="NO",
            i_CIN=carry,
            i_A0=padded[k],
            i_A1=padded[k + 1],
            i_B0=wide[k],
            i_B1=wide[min(k + 1, bits - 1)],
            **{f"i_C{half}": subtract for half in "01"},
            **{f"i_D{half}": gate for half in "01"},
            o_S0=total[k],
            o_S1=total[k + 1],
            o_COUT=following,
        )
        carry = following
    return total[:bits].as_signed()
