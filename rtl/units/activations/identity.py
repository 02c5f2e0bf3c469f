"""identity: limited to the activation format, nothing else."""

from __future__ import annotations

from mgd.rtl.units.activations.base import Direct, limited

KIND = Direct("identity", limited)
