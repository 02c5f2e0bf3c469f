"""Perturbations: one kind a module, found automatically.

A module here that defines `PERTURBATION`, a subclass of Perturbation, adds the kind of that name.
The kinds are those of McCaughan et al. 2023 (APL Machine Learning 1, 026118): finite
differences, simultaneous perturbation, code and frequency multiplexing.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from mgd.golden_model.perturbations.base import Numbering, Perturbation, number_quantities

__all__ = ["PERTURBATIONS", "Numbering", "Perturbation", "number_quantities"]


def _perturbations() -> dict[str, type[Perturbation]]:
    modules = (import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__))
    found = [module.PERTURBATION for module in modules if hasattr(module, "PERTURBATION")]
    return {kind.name: kind for kind in sorted(found, key=lambda kind: kind.number)}


PERTURBATIONS = _perturbations()
"""By the name that a task file gives, in the order of their numbers."""
assert [kind.number for kind in PERTURBATIONS.values()] == list(range(len(PERTURBATIONS)))
