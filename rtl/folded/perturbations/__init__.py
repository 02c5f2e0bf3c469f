"""Families of perturbations beside random signs (rtl.folded.signs), which every folded core has.

A module of this package that has a FAMILY, a subclass of base.Family, adds the family of that name.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from mgd.rtl.folded.perturbations.base import Family

__all__ = ["FAMILIES", "Family"]


def _families() -> dict[str, type[Family]]:
    modules = (import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__))
    found = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    return {family.name: family for family in found}


FAMILIES = _families()
"""By the name that a task file gives."""
