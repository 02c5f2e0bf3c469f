"""Activation functions: pre-activation (pre_frac fraction bits) to activation (Q1.14)."""

from __future__ import annotations

import numpy as np

from golden_model.formats import rescale, saturate
from golden_model.network import ACT_FRAC, ACT_MAX, ACT_MIN
from golden_model.tables import TANH, TANH_RANGE_LOG2


def tanh(z: np.ndarray, pre_frac: int) -> np.ndarray:
    """16-segment piecewise linear tanh on [−4, 4), constant outside."""
    half_width = 1 << (pre_frac + TANH_RANGE_LOG2)
    position = saturate(z + half_width, 0, 2 * half_width - 1)
    y = TANH(position, pre_frac + TANH_RANGE_LOG2 + 1)
    return np.where(z >= half_width, TANH.values[-1], y)


def identity(z: np.ndarray, pre_frac: int) -> np.ndarray:
    """z in the activation format, not yet saturated."""
    return rescale(z, pre_frac, ACT_FRAC)


def relu(z: np.ndarray, pre_frac: int) -> np.ndarray:
    """max(z, 0) in the activation format, not yet saturated."""
    return identity(np.maximum(z, 0), pre_frac)


FUNCTIONS = {"tanh": tanh, "identity": identity, "relu": relu}


def activate(kind: str, z: np.ndarray, pre_frac: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations and, per element, whether the activation format's end was hit."""
    y = FUNCTIONS[kind](z, pre_frac)
    limited = saturate(y, ACT_MIN, ACT_MAX)
    return limited, limited != y
