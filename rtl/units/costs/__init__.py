"""Cost functions in gates: cost and class of one pass's outputs.

A module of this package that has UNITS, (name, unit of a folded core, unit of a spatial one), adds
the cost of that name.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from mgd.golden_model.network import Network
from mgd.rtl.units.costs.base import (
    RESULT_IN,
    Cost,
    ParallelCost,
    is_correct,
    label_shape,
    result_layout,
    value_bits,
)

__all__ = [
    "RESULT_IN",
    "UNITS",
    "Cost",
    "ParallelCost",
    "cost_kind",
    "cost_unit",
    "is_correct",
    "label_shape",
    "parallel_cost",
    "parallel_kind",
    "result_layout",
    "value_bits",
]


def _units() -> dict[str, tuple[type[Cost], type[ParallelCost]]]:
    modules = (import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__))
    found = [module.UNITS for module in modules if hasattr(module, "UNITS")]
    return {name: (folded, spatial) for name, folded, spatial in found}


UNITS = _units()
"""By the name that a network gives (golden_model.costs.COSTS)."""


def cost_kind(network: Network) -> type[Cost]:
    """The class of a network's cost unit in a folded core."""
    return UNITS[network.cost][0]


def cost_unit(network: Network, **options: bool) -> Cost:
    """The cost unit of a network; the options are those of Cost."""
    return cost_kind(network)(network, **options)


def parallel_kind(network: Network) -> type[ParallelCost]:
    """The class of a network's cost unit in a spatial core."""
    return UNITS[network.cost][1]


def parallel_cost(network: Network, *, dsp: bool) -> ParallelCost:
    """The cost unit of a spatial core; `dsp`: its multipliers may be DSP blocks."""
    return parallel_kind(network)(network, dsp=dsp)
