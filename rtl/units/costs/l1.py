"""L1: golden_model.costs.l1, the sum of the errors' sizes."""

from __future__ import annotations

from amaranth import Module, Mux, Signal

from mgd.golden_model.costs.l1 import COST
from mgd.golden_model.network import ACT_FRAC
from mgd.rtl.units.costs.errors import ERROR_BITS, ErrorSum, ParallelErrorSum, Term


class Size(Term):
    """|y − T|."""

    TERM_BITS = ERROR_BITS
    TERM_FRAC = ACT_FRAC

    @staticmethod
    def term(m: Module, error, difference, *, dsp: bool, enable=1):
        size = Signal(ERROR_BITS, name="size")
        with m.If(enable):
            m.d.sync += size.eq(Mux(error < 0, -error, error))
        return size


class L1(Size, ErrorSum):
    model = COST.exact


class ParallelL1(Size, ParallelErrorSum):
    model = COST.exact


UNITS = ("l1", L1, ParallelL1)
