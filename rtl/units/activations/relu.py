"""relu: 0 where z is negative."""

from __future__ import annotations

from amaranth import Mux

from mgd.rtl.units.activations.base import Direct, limited


def _relu(y):
    return limited(Mux(y[-1], 0, y).as_signed())


KIND = Direct("relu", _relu)
