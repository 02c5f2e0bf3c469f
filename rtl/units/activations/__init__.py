"""Activation functions in gates.

A module of this package that has a KIND adds the function of that name.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from mgd.rtl.units.activations.base import Direct, Kind, Tabulated

__all__ = ["KINDS", "Direct", "Kind", "Tabulated"]


def _kinds() -> dict[str, Kind]:
    modules = (import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__))
    return {module.KIND.name: module.KIND for module in modules if hasattr(module, "KIND")}


KINDS = _kinds()
"""By the name that a network gives (golden_model.activations.ACTIVATIONS)."""
