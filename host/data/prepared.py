"""What a task's data become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mgd.host.data.encoding import Scaling
from mgd.host.data.preparation import Preparation
from mgd.protocol.record import Samples


@dataclass(frozen=True)
class Prepared:
    """All sets, ready to load, and what a person should know of them."""

    train: Samples
    """In training order."""
    test: Samples
    class_names: tuple[str, ...]
    """Name of each class number; of a regression, of each target."""
    scaling: Scaling | None
    """How the features of a table became codes."""
    notes: tuple[str, ...]
    """Remarks such as constant columns, a line each."""
    validation: Samples | None = None
    """Decides when training stops and which weights are kept; None: the test samples do."""
    preparation: Preparation | None = None
    """From the columns of a table to codes; None where the data are no table."""
    targets: Mapping[str, np.ndarray] | None = None
    """Of a regression: the targets of "validation" and "test", (samples, outputs), in the units
    of the file.  Those of "train" are in the order of the file."""

    @property
    def watched(self) -> str:
        """The set that is evaluated during training: "validation" or "test"."""
        return "test" if self.validation is None else "validation"

    def counts(self) -> dict[str, dict[str, int]]:
        """Samples of each set, and of each class in it where there are classes."""
        sets = {"train": self.train, "validation": self.validation, "test": self.test}
        found = {}
        for name, samples in sets.items():
            if samples is None:
                continue
            found[name] = {"samples": len(samples)}
            if self.targets is None:
                each = np.bincount(samples.labels, minlength=len(self.class_names))
                found[name] |= dict(zip(self.class_names, map(int, each), strict=False))
        return found
