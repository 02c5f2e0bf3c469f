"""What a task's data become."""

from __future__ import annotations

from dataclasses import dataclass

from mgd.host.data.encoding import Scaling
from mgd.protocol.record import Samples


@dataclass(frozen=True)
class Prepared:
    """Both sets, ready to load, and what a person should know of them."""

    train: Samples
    """In training order."""
    test: Samples
    class_names: tuple[str, ...]
    """Name of each class number."""
    scaling: Scaling | None
    """How the features of a CSV or NPZ file became codes."""
    notes: tuple[str, ...]
    """Remarks such as constant columns, a line each."""
