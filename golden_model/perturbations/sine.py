"""Sinusoids, quantised to 32 points a turn and 17 levels: a table of nine numbers."""

from __future__ import annotations

import math

import numpy as np

from mgd.golden_model.perturbations.waves import LEAST_BITS, Waves

SINE_FRAC = 3
POINTS = 1 << LEAST_BITS
SINE = np.array(
    [math.floor(2**SINE_FRAC * math.sin(2 * math.pi * k / POINTS) + 0.5) for k in range(POINTS)]
)
"""round(8·sin) at the 32 points; 3 fraction bits, so 8 is 1.0."""


class Sine(Waves):
    """SINE at the five leading bits of the phase: products with it are shifts and adds."""

    name, number = "sine", 4
    frac = SINE_FRAC
    power = float((SINE**2).mean()) / 4**SINE_FRAC

    def wave(self, phase: np.ndarray, bits: int) -> np.ndarray:
        return SINE[phase >> (bits - LEAST_BITS)]


PERTURBATION = Sine
