"""Which settings the cores support, of all that the golden model has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mgd.golden_model.costs import COSTS
from mgd.golden_model.declaration import Place, declarations
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ACTIVATIONS, Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions, shown
from mgd.protocol.registers import Register
from mgd.protocol.run_codes import PERTURBATION_CODES

ETA_EXP_MAX = (1 << Register.ETA_EXP.bits) - 1
CHOICES: dict[str, tuple[Any, ...]] = {
    "hidden": ACTIVATIONS,
    "output": ACTIVATIONS,
    "cost": COSTS,
    "perturbation": ("random", *PERTURBATION_CODES),
}
"""Values of the fields of network and settings for which there are gates.  A function that only the
golden model has is left out here."""


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
    for name, value in missing(network, settings):
        raise UserError(
            f"{name} = {shown(value)}: no core has it yet, only the golden model does; train with "
            f"--backend golden, or leave {name} out of the task file"
        )
    BuildOptions.of(settings)
    name, slowest = "warmup_exp", settings.eta_exp_at(0, network)
    if settings.halve_every:
        name, slowest = (
            "halve_every",
            settings.eta_exp + network.shift_max - settings.shift(network),
        )
    if slowest > ETA_EXP_MAX:
        raise UserError(
            f"{name} = {getattr(settings, name)}: with shift_max = {network.shift_max} the "
            f"learning rate may be 2^-{slowest}, and a core's register ends at 2^-{ETA_EXP_MAX}; "
            f"lower shift_max to {network.shift_max - slowest + ETA_EXP_MAX} or leave {name} out"
        )
