"""leaky_relu: an eighth, floored, where z is negative."""

from __future__ import annotations

from amaranth import Mux

from mgd.golden_model.activations import LEAK_EXP
from mgd.rtl.units.activations.base import Direct, limited


def _leaky_relu(y):
    return limited(Mux(y[-1], y >> LEAK_EXP, y).as_signed())


KIND = Direct("leaky_relu", _leaky_relu)
