"""tanh: golden_model.tables.TANH without changes."""

from __future__ import annotations

from mgd.golden_model.tables import TANH, TANH_RANGE_LOG2
from mgd.rtl.units.activations.base import Tabulated

KIND = Tabulated("tanh", TANH, TANH_RANGE_LOG2)
