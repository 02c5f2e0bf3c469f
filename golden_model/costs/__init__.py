"""Cost functions: one a module, found automatically.

A module here that defines `COST`, an instance of base.Cost, adds the cost of that name.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from mgd.golden_model.costs.base import Cost, broadcast_labels, classify, targets

__all__ = ["COSTS", "KINDS", "Cost", "broadcast_labels", "classify", "targets"]


def _kinds() -> dict[str, Cost]:
    modules = (import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__))
    found = [module.COST for module in modules if hasattr(module, "COST")]
    return {cost.name: cost for cost in sorted(found, key=lambda cost: cost.number)}


KINDS = _kinds()
"""By the name that a task file gives."""
COSTS = tuple(KINDS)
"""Their names; the identity record of a board sends the number."""
assert [cost.number for cost in KINDS.values()] == list(range(len(COSTS)))
