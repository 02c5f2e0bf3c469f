"""Mean squared error: golden_model.costs.mse.  Cost: one multiplier, spatially one per output."""

from __future__ import annotations

from amaranth import Module

from mgd.golden_model.costs.mse import COST
from mgd.golden_model.network import ACT_FRAC, Network
from mgd.rtl.lib.product import product
from mgd.rtl.units.costs.errors import ERROR_BITS, ErrorSum, ParallelErrorSum, Term


class Square(Term):
    """(y − T)²."""

    TERM_BITS = 2 * ERROR_BITS
    TERM_FRAC = 2 * ACT_FRAC

    @staticmethod
    def term(m: Module, error, difference, *, dsp: bool, enable=1):
        return product(m, error, difference, dsp=dsp, enable=enable)


class MeanSquaredError(Square, ErrorSum):
    model = COST.exact

    @staticmethod
    def product(network: Network) -> tuple[int, int] | None:
        return ERROR_BITS, ERROR_BITS


class ParallelSquaredError(Square, ParallelErrorSum):
    model = COST.exact

    @staticmethod
    def products(network: Network) -> int:
        return network.outputs


UNITS = ("mse", MeanSquaredError, ParallelSquaredError)
