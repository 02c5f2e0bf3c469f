"""The inputs of a sample that are not 0, which alone are perturbed and visited (skip_zeros)."""

from __future__ import annotations

import numpy as np


def nonzero_signs(signs: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A draw's signs for the first layer's weights: the k-th of x that is not 0 has the k-th one,
    the others have 0.

    signs, and the result: (seeds, nodes, n); x: (seeds, n), the bias among them.
    """
    nonzero = x != 0
    place = np.where(nonzero, np.cumsum(nonzero, axis=1) - 1, 0)
    return np.take_along_axis(signs, place[:, None, :], axis=2) * nonzero[:, None, :]
