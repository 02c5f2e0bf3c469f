"""Refusals of an imperfect core, as rows, beyond golden_model.rules and protocol.rules.

FOLDED_ONLY asks whether the core is `folded`; VERIFIED looks at its build options `o`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgd.golden_model.rules import Rule, as_toml

PERTURBATIONS = ("random", "sequential", "walsh", "square")
"""Perturbations that imperfections were verified with."""
OPTIONS = ("perturbation", "scope", "trainable", "sample_order")
"""Build options that imperfections were verified with."""


def _unverified(o: Any) -> Mapping[str, str] | None:
    plain = type(o)()
    for name in o.names():
        value = getattr(o, name)
        verified = value in PERTURBATIONS if name == "perturbation" else name in OPTIONS
        if not verified and value != getattr(plain, name):
            return {"name": name, "value": as_toml(value)}
    return None


FOLDED_ONLY = (
    Rule(
        "imperfect-spatial",
        lambda folded: not folded,
        "imperfections in a spatial core: only the folded core has places for them",
        "give its CoreConfig, or use the golden model",
    ),
)
VERIFIED = (
    Rule(
        "imperfect-option",
        _unverified,
        "{name} = {value} with imperfections: no core has both",
        "leave {name} out, or use the golden model",
    ),
)

GROUPS = {"folded only": FOLDED_ONLY, "verified": VERIFIED}
