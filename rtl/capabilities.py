"""What a core in gates can do of all that the golden model can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import FIELDS, Variant, shown
from mgd.rtl.folded.perturbations import FAMILIES
from mgd.rtl.folded.step_control import SETTINGS_LAYOUT
from mgd.rtl.units.activations import KINDS
from mgd.rtl.units.costs import UNITS

REGISTERS = {
    "method",
    "difference",
    "rounding",
    "delta_exp",
    "eta_exp",
    "tau_x",
    "tau_p",
    "tau_theta",
    "input_shift",
}
"""Settings that a core has for every value; it works as if the others had their default."""
BY_HOST = {"halve_every", "warmup_exp", "warmup_every", "resident", "passes"}
"""Settings that the host sees to: it changes a register between two steps, or keeps the sample
memory filled."""
WIRED = {"update_delay"}
"""Settings that are as a core was built, which CoreConfig.check and SpatialConfig.check see to."""
HAS = REGISTERS | BY_HOST | WIRED | {field.name for field in FIELDS}
ETA_EXP_MAX = (1 << SETTINGS_LAYOUT["eta_exp"].width) - 1
CHOICES: dict[str, tuple[Any, ...]] = {
    "hidden": tuple(KINDS),
    "output": tuple(KINDS),
    "cost": tuple(UNITS),
    "perturbation": ("random", *FAMILIES),
}
"""Fields of network and settings of which a core has these values only."""


def missing(network: Network, settings: Settings) -> list[tuple[str, Any]]:
    """(field, value) for all that is asked for and no core has."""
    return list(_missing(network, settings))


def _missing(network: Network, settings: Settings) -> Iterator[tuple[str, Any]]:
    for owner in (network, settings):
        for field in fields(owner):
            value = getattr(owner, field.name)
            if field.name in CHOICES:
                if value not in CHOICES[field.name]:
                    yield field.name, value
            elif owner is settings and field.name not in HAS and value != field.default:
                yield field.name, value


def check_core(network: Network, settings: Settings) -> None:
    """Raise UserError where only the golden model can do what is asked for."""
    for name, value in missing(network, settings):
        raise UserError(
            f"{name} = {shown(value)}: no core has it yet, only the golden model does; train with "
            f"--backend golden, or leave {name} out of the task file"
        )
    Variant.of(settings)
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
