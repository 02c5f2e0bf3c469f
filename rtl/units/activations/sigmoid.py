"""sigmoid: (1 + tanh(z/2))/2, rounded half up; the 1 and the half are in the table."""

from __future__ import annotations

from mgd.golden_model.network import ONE
from mgd.golden_model.tables import TANH, TANH_RANGE_LOG2, PiecewiseLinear
from mgd.rtl.units.activations.base import Tabulated

VALUES = PiecewiseLinear(tuple(value + ONE + 1 for value in TANH.values))

KIND = Tabulated("sigmoid", VALUES, TANH_RANGE_LOG2 + 1, cut=1)
