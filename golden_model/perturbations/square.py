"""Square waves: the sign of a sine, so no more than a phase and its top bit."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.perturbations.waves import Waves


class Square(Waves):
    """+1 in the first half of a turn, −1 in the second."""

    name, number = "square", 3

    def wave(self, phase: np.ndarray, bits: int) -> np.ndarray:
        return 1 - 2 * (phase >> (bits - 1))


PERTURBATION = Square
