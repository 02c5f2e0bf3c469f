"""The next value of a weight that changes in every clock."""

from __future__ import annotations

from amaranth import Cat, Const, Instance, Module, Mux, Signal

from mgd.rtl.lib.arithmetic import beyond

# Tables of a LUT whose input A is the sum's bit and B the neighbour's.  C and D select the sum, the
# lower limit, the upper limit, or the neighbour.
BIT = 0xCF0A
SIGN = 0xC0FA


def limited_or_other(m: Module, value, other, takes_other, *, lut4: bool):
    """(`value` limited to as many bits as `other` has, or `other` where `takes_other` is 1; whether
    the limit was reached), no clock later.  golden_model.formats.saturate.

    Two signals select one of four sources for all bits, so that a bit takes one LUT of four inputs.
    Synthesis would merge the logic of these signals into every bit, four LUTs and more; with `lut4`
    an ECP5's LUTs are instantiated, which only a netlist can show.
    """
    bits, low, high = len(other), Signal(), Signal()
    is_high, is_low = beyond(value, bits)
    m.d.comb += [low.eq(is_low | takes_other), high.eq(is_high | takes_other)]
    result = Signal(other.shape())
    if lut4:
        for k in range(bits):
            m.submodules += Instance(
                "LUT4",
                p_INIT=Const(SIGN if k == bits - 1 else BIT, 16),
                i_A=value[k],
                i_B=other[k],
                i_C=low,
                i_D=high,
                o_Z=result[k],
            )
    else:
        limit = Cat((~low).replicate(bits - 1), low)
        m.d.comb += result.eq(Mux(low & high, other, Mux(low | high, limit, value[:bits])))
    return result, low ^ high
