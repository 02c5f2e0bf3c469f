"""Which settings the cores support, of all that the golden model has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mgd.golden_model.costs import COSTS
from mgd.golden_model.declaration import Place, declarations
from mgd.golden_model.network import ACTIVATIONS, Network
from mgd.golden_model.rules import check
from mgd.golden_model.settings import Settings
from mgd.protocol import rules
from mgd.protocol.build_options import BuildOptions
from mgd.protocol.layout.base import CoreLayout
from mgd.protocol.registers import Register
from mgd.protocol.run_codes import PERTURBATION_CODES

ETA_EXP_MAX = (1 << Register.ETA_EXP.bits) - 1
CHOICES: dict[str, tuple[Any, ...]] = {
    "method": ("wp", "np"),
    "hidden": ACTIVATIONS,
    "output": ACTIVATIONS,
    "cost": COSTS,
    "perturbation": ("random", *PERTURBATION_CODES),
}
"""Values of the fields of network and settings for which there are gates.  A value that only
the golden model has is left out here."""


def check_run(layout: CoreLayout, settings: Settings) -> None:
    """Raise UserError where a run with these settings cannot be made on a core that is built: the
    one check before a run."""
    settings.check(layout.network)
    layout.check(settings)
    check_core(layout.network, settings)


def missing(network: Network, settings: Settings) -> list[tuple[str, Any]]:
    """(field, value) of everything in network and settings that no core supports."""
    return list(_missing(network, settings))


def _missing(network: Network, settings: Settings) -> Iterator[tuple[str, Any]]:
    for owner in (network, settings):
        for name, known in declarations(owner).items():
            value = getattr(owner, name)
            if name in CHOICES:
                if value not in CHOICES[name]:
                    yield name, value
            elif known.place is Place.MODEL and value != known.default:
                yield name, value


def check_core(network: Network, settings: Settings) -> None:
    """Raise UserError where only the golden model supports network and settings."""
    found = missing(network, settings)
    check(rules.CAPABILITIES, n=network, s=settings, missing=found, most=ETA_EXP_MAX)
    BuildOptions.of(settings)
