"""A folded core whose parts are not perfect, bit for bit as the golden model's imperfect hardware.

The random numbers of golden_model.imperfections would need too many gates: numbers that are fixed
for a piece of hardware are constants here, and noise comes from outside.
"""

from __future__ import annotations

from mgd.rtl.imperfect.config import ImperfectConfig
from mgd.rtl.imperfect.core import ImperfectCore

__all__ = ["ImperfectConfig", "ImperfectCore"]
