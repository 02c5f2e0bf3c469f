"""Perturbations: one kind a module, found automatically.

A module here that defines `FAMILY`, a subclass of Perturbation, adds the perturbation of that name.
The kinds are those of McCaughan et al. 2023 (APL Machine Learning 1, 026118): finite
differences, simultaneous perturbation, code and frequency multiplexing.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from mgd.golden_model.perturbations.base import Numbering, Perturbation, number_quantities

__all__ = ["FAMILIES", "Numbering", "Perturbation", "number_quantities"]


def _families() -> dict[str, type[Perturbation]]:
    modules = (import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__))
    found = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    return {family.name: family for family in sorted(found, key=lambda family: family.number)}


FAMILIES = _families()
"""By the name that a task file gives, in the order of their numbers."""
assert [family.number for family in FAMILIES.values()] == list(range(len(FAMILIES)))
