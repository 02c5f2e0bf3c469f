"""Activation functions: pre-activation (pre_frac fraction bits) to activation (Q1.14).

A new one is a function here and an entry at the end of FUNCTIONS.
"""

from __future__ import annotations

import numpy as np

from mgd.golden_model.formats import (
    ACT_FRAC,
    ACT_MAX,
    ACT_MIN,
    ONE,
    rescale,
    round_half_up,
    saturate,
)
from mgd.golden_model.tables import TANH, TANH_RANGE_LOG2


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


def sigmoid(z: np.ndarray, pre_frac: int) -> np.ndarray:
    """1/(1 + e^-z) = (1 + tanh(z/2))/2, by the table of tanh; rounded half up."""
    # With one fraction bit more the same integer is z/2.
    return round_half_up(ONE + tanh(z, pre_frac + 1), 1)


LEAK_EXP = 3


def leaky_relu(z: np.ndarray, pre_frac: int) -> np.ndarray:
    """z for z >= 0, else z/8, floored; in the activation format, not yet saturated."""
    y = identity(z, pre_frac)
    return np.where(z < 0, y >> LEAK_EXP, y)


def hard_tanh(z: np.ndarray, pre_frac: int) -> np.ndarray:
    """z, limited to −1 … 1; that is the function's own limit and counts as no saturation."""
    return saturate(identity(z, pre_frac), -ONE, ONE)


FUNCTIONS = {
    "tanh": tanh,
    "relu": relu,
    "identity": identity,
    "sigmoid": sigmoid,
    "leaky_relu": leaky_relu,
    "hard_tanh": hard_tanh,
}
"""By the name that a task file gives.  A board's identity record sends the position in this order,
so new ones come last."""
ACTIVATIONS = tuple(FUNCTIONS)
UNIT_ACTIVATIONS = ("tanh", "sigmoid", "hard_tanh")
"""Those that stay within −1 … 1."""


def activate(kind: str, z: np.ndarray, pre_frac: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations and, per element, whether the activation format's end was hit."""
    y = FUNCTIONS[kind](z, pre_frac)
    limited = saturate(y, ACT_MIN, ACT_MAX)
    return limited, limited != y
