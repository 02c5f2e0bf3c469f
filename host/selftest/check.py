"""The result of checking one part of a board."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CHECKS = ("identity", "weights", "samples", "training", "counters", "link")


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    """One of CHECKS."""
    passed: bool
    detail: str
    """One line: the finding."""
    remedy: str = ""
    """The remedy; empty where all is well, or where the detail has it already."""
    measured: dict[str, Any] = field(default_factory=dict)
    """Numbers for programs."""
