"""The dense layer: every node reads every input, and a bias, the weight of a constant 1.0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.golden_model.formats import ONE
from mgd.golden_model.layers.base import Layer


def with_bias(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """`x` with the bias input, always 1.0, behind its last element along `axis`."""
    shape = list(x.shape)
    shape[axis] += 1
    result = np.empty(shape, dtype=x.dtype)
    inputs_last = result.swapaxes(axis, -1)
    inputs_last[..., :-1], inputs_last[..., -1] = x.swapaxes(axis, -1), ONE
    return result


@dataclass(frozen=True)
class Dense(Layer):
    """`nodes` nodes with `fan_in` inputs each; the bias's input is the last."""

    fan_in: int
    nodes: int
    kind = "dense"

    @property
    def parameters(self) -> tuple[int, int]:
        return self.nodes, self.fan_in + 1

    def inputs(self, activations: np.ndarray, axis: int = -1) -> np.ndarray:
        return with_bias(activations, axis)

    def sums(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        # Sums of products of floats are exact, all being below 2^53, and BLAS is fast on them.
        return np.matmul(weights, x.astype(np.float64)).astype(np.int64)

    def sums_of_samples(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        transposed = np.swapaxes(weights, -1, -2).astype(np.float64)
        return np.matmul(x.astype(np.float64), transposed).astype(np.int64)

    def by_input(self, values: np.ndarray, terms: np.ndarray) -> np.ndarray:
        return values * terms[:, None, :]

    def where_nonzero(self, changes: np.ndarray, nonzero: np.ndarray) -> np.ndarray:
        return changes * nonzero[:, None, :]

    def outer(self, errors: np.ndarray, x: np.ndarray) -> np.ndarray:
        return errors[:, :, None] * x[:, None, :]
