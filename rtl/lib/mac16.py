"""Multiply and accumulate in one DSP block of the iCE40 UltraPlus."""

from __future__ import annotations

from amaranth import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, signed

BLOCK_BITS = 32
OPERAND_BITS = 16


def accumulated(m: Module, a, b, *, accumulate, empty, first: int, bits: int):
    """`first` plus the products a·b, modulo 2^bits; `bits` above 32 are counted outside the block.

    A product is added two clocks after its operands, if `accumulate` is high in the second one;
    `empty`, in the same clock, makes the sum `first` instead.  As everywhere here a register
    follows the product and another one the sum.  a and b: signed, 16 bits at most.  There is no
    model: a design that is to be simulated before synthesis does not use it.
    """
    block = Signal(BLOCK_BITS)
    operands = []
    for value in (a, b):
        assert value.shape().signed
        assert len(value) <= OPERAND_BITS
        operand = Signal(signed(OPERAND_BITS))
        m.d.comb += operand.eq(value)
        operands.append(operand)
    hold = Signal()
    m.d.comb += hold.eq(~accumulate & ~empty)
    settings = {
        **{f"p_{half}OUTPUT_SELECT": 1 for half in ("TOP", "BOT")},  # the sum's register
        **{f"p_{half}ADDSUB_LOWERINPUT": 2 for half in ("TOP", "BOT")},  # the product
        **{f"p_{half}ADDSUB_UPPERINPUT": 0 for half in ("TOP", "BOT")},  # that register
        "p_BOTADDSUB_CARRYSELECT": 0,  # none
        "p_TOPADDSUB_CARRYSELECT": 2,  # from the lower half
        "p_PIPELINE_16x16_MULT_REG2": 1,
        "p_A_SIGNED": 1,
        "p_B_SIGNED": 1,
    }
    pins = {
        **{f"i_{which}HOLD": 0 for which in "ABCD"},
        **{f"i_{name}{half}": 0 for name in ("IRST", "ORST", "ADDSUB") for half in ("TOP", "BOT")},
        # A reset would not wait for the clock, loading does.
        **{f"i_OLOAD{half}": empty for half in ("TOP", "BOT")},
        **{f"i_OHOLD{half}": hold for half in ("TOP", "BOT")},
        "i_C": Const(first >> 16, 16),
        "i_D": Const(first & 0xFFFF, 16),
    }
    # Yosys' search for multipliers takes such a cell for one of its own making and sets it up
    # anew: the module around it, of this name, is hidden from it (boards/families/ice40.py).
    m.submodules.mac16 = wrapper = Module()
    wrapper.submodules.block = Instance(
        "SB_MAC16",
        **settings,
        **pins,
        i_CLK=ClockSignal(),
        i_CE=1,
        i_A=operands[0],
        i_B=operands[1],
        o_O=block,
    )
    if bits <= BLOCK_BITS:
        return block[:bits].as_signed()
    # A product is 2^30 at most, a quarter of the block's range.  So a sum that goes from the last
    # quarter to the first has gone up through 0, one from the first to the last has gone down.
    quarter, previous = block[-2:], Signal(2)
    above, next_above = Signal(bits - BLOCK_BITS), Signal(bits - BLOCK_BITS)
    up, down = Signal(), Signal()
    m.d.comb += [
        up.eq(previous.all() & ~quarter.any()),
        down.eq(~previous.any() & quarter.all()),
        next_above.eq(above + Mux(down, -1, up)),
    ]
    with m.If(empty):
        m.d.sync += [previous.eq(0), above.eq(0)]
    with m.Else():
        m.d.sync += [previous.eq(quarter), above.eq(next_above)]
    return Cat(block, next_above).as_signed()
