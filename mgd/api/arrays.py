"""From a user's arrays to the integers of a core, with checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ACT_FRAC, Network


def to_codes(name: str, x: Any, network: Network, input_shift: int) -> np.ndarray:
    """Input codes (samples, inputs), int64, of real numbers in natural units.

    Rounded to the nearest code, half up.  Raises UserError for another shape, no samples,
    NaN, and values that no code is near to.
    """
    values = _numbers(name, x)
    inputs = network.layers[0]
    if values.ndim != 2 or values.shape[1] != inputs or not len(values):
        raise UserError(
            f"{name} has the shape {values.shape}; it must be (samples, {inputs}) with a sample "
            f"at least, as the network has {inputs} inputs"
        )
    step = 2.0 ** (input_shift - ACT_FRAC)
    low, high = network.code_min, network.code_max
    return _rounded(name, values, step, low, high, "scale the inputs")


def to_labels(name: str, labels: Any, samples: int, network: Network) -> np.ndarray:
    """Class numbers (samples,), int64.  Raises UserError for anything else."""
    values = _numbers(name, labels)
    if values.shape != (samples,):
        raise UserError(
            f"{name} has the shape {values.shape}; it must be ({samples},), a label per sample"
        )
    wrong = ~((values >= 0) & (values < network.classes) & (values == np.floor(values)))
    if wrong.any():
        place = int(np.argmax(wrong))
        raise UserError(
            f"{name}[{place}] = {values[place]:g}: a label must be a whole number from 0 to "
            f"{network.classes - 1}, as {network.outputs} output nodes tell {network.classes} "
            "classes apart; number the classes"
        )
    return values.astype(np.int64)


def to_weights(weights: Sequence[Any], network: Network) -> list[np.ndarray]:
    """Integer weights, per layer (nodes, fan_in + 1), of real numbers; rounded half up.

    Raises UserError for another number of layers, another shape, NaN, and values that no
    weight is near to.
    """
    if len(weights) != network.depth:
        raise UserError(
            f"{len(weights)} arrays of weights; the network {network.describe()} has "
            f"{network.depth} layers of weights, give an array for each"
        )
    integers = []
    for layer, given in enumerate(weights):
        name = f"weights[{layer}]"
        values = _numbers(name, given)
        shape = (network.layers[layer + 1], network.layers[layer] + 1)
        if values.shape != shape:
            raise UserError(
                f"{name} has the shape {values.shape}; it must be {shape}, (nodes, inputs + 1) "
                "with the bias last"
            )
        step = 2.0**-network.weight_frac
        low, high = network.weight_min, network.weight_max
        integers.append(_rounded(name, values, step, low, high, "limit the weights"))
    return integers


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{name} is no array of numbers ({error}); give a NumPy array or lists of numbers"
        ) from None


def _rounded(
    name: str, values: np.ndarray, step: float, low: int, high: int, remedy: str
) -> np.ndarray:
    """Nearest multiple of `step` as an integer; refused where it is not within low … high."""
    rounded = np.floor(values / step + 0.5)
    wrong = ~((rounded >= low) & (rounded <= high))  # NaN is wrong, too
    if wrong.any():
        place = tuple(int(k) for k in np.unravel_index(int(np.argmax(wrong)), values.shape))
        index = ", ".join(map(str, place))
        raise UserError(
            f"{name}[{index}] = {values[place]:g}: must be between {low * step:g} and "
            f"{high * step:g}, all that {high - low + 1:,} steps of {step:g} reach; {remedy}"
        )
    return rounded.astype(np.int64)
