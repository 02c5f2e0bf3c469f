"""hard_tanh: limited to −1 … 1, which is no saturation."""

from __future__ import annotations

from amaranth import Cat, Const, Mux

from mgd.golden_model.network import ACT_BITS, ACT_FRAC
from mgd.rtl.units.activations.base import Direct


def _hard_tanh(y):
    # 1.0 is a power of two, so the bits above it decide; −1.0 itself may count as beyond, since
    # the limit is the same number.
    above = y[ACT_FRAC:]
    beyond = above.any() & ~above.all()
    end = Cat(Const(0, ACT_FRAC), Const(1, 1), y[-1].replicate(ACT_BITS - ACT_FRAC - 1))
    return Mux(beyond, end, y[:ACT_BITS]).as_signed(), Const(0, 1)


KIND = Direct("hard_tanh", _hard_tanh)
