"""The interface of a cost: in the integers of the hardware, and in natural units.

Integer costs are unsigned with network.cost_frac fraction bits; they never clip, since their width
is derived from the network (network.cost_bits).  Outputs have the nodes as last axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import numpy as np

from mgd.golden_model.formats import ACT_MAX, ACT_MIN, ONE, round_half_up
from mgd.golden_model.rules import Rule


class CostNetwork(Protocol):
    """The part of a golden_model.network.Network that a cost reads."""

    @property
    def outputs(self) -> int: ...

    @property
    def output_bound(self) -> int: ...

    @property
    def pre_frac(self) -> int: ...

    @property
    def cost_frac(self) -> int: ...

    @property
    def smoothing_exp(self) -> int: ...

    @property
    def target_low(self) -> int: ...

    @property
    def target_high(self) -> int: ...

    @property
    def reads_sums(self) -> bool: ...

    @property
    def regression(self) -> bool: ...


class Cost(ABC):
    """outputs (..., nodes): activations, or where `reads_sums` pre-activations of the last layer.
    labels: (...), or target values (..., nodes) in activation format of a network that has these.
    """

    name: str
    """In task files."""
    number: int
    """In the identity record of a board: the next free one."""
    title: str
    """In a report."""
    unit: str = ""
    """The unit of a cost of 1.0, in a report."""
    reads_sums: bool
    """Whether it reads the output layer's pre-activations, not its activations."""
    smooths: bool = False
    """Whether it has labels to smooth (Network.smoothing_exp)."""
    rules: ClassVar[tuple[Rule, ...]] = ()
    """Which networks cannot have it: rows on `n`, the network."""

    @abstractmethod
    def exact(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        """Integer costs (...) of integer outputs."""

    @abstractmethod
    def bound(self, network: CostNetwork) -> int:
        """The largest that exact() can be, or a little more."""

    @abstractmethod
    def real(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        """Costs (...) in natural units."""

    @abstractmethod
    def slope(self, outputs: np.ndarray, labels: np.ndarray, network: CostNetwork) -> np.ndarray:
        """Derivative of real() by the outputs, (..., nodes); at a corner that of one side."""


def targets(labels: np.ndarray, network: CostNetwork) -> np.ndarray:
    """The target outputs, shape labels.shape + (outputs,), activation format.

    target_high at the node whose number is the label, target_low elsewhere; a single node
    has target_high for label 1.  Where samples have target values, `labels` are these already.
    """
    if network.regression:
        return labels
    first = 1 if network.outputs == 1 else 0
    nodes = np.arange(first, first + network.outputs)
    return np.where(labels[..., None] == nodes, network.target_high, network.target_low)


def real_targets(labels: np.ndarray, network: CostNetwork) -> np.ndarray:
    """The same in natural units."""
    return targets(np.asarray(labels), network) / ONE


def worst_error(network: CostNetwork) -> int:
    """Largest |y − T|, activation format."""
    if network.regression:
        return ACT_MAX - ACT_MIN
    return max(network.target_high - ACT_MIN, ACT_MAX - network.target_low)


def at_label(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which of `values` (..., nodes) is the label's node."""
    return labels[..., None] == np.arange(values.shape[-1])


def broadcast_labels(labels: np.ndarray, outputs: np.ndarray, network: CostNetwork) -> np.ndarray:
    """Labels, or target values, of the same leading axes as `outputs` (..., nodes)."""
    return np.broadcast_to(labels, outputs.shape if network.regression else outputs.shape[:-1])


def classify(outputs: np.ndarray, network: CostNetwork) -> np.ndarray:
    """Class number: the largest output, the lowest index of equal ones.

    A single output is class 1 from the middle of the two targets (rounded half up) upwards; for
    hinge, from 0 upwards.
    """
    if network.outputs == 1 and network.reads_sums:
        return (outputs[..., 0] >= 0).astype(np.int64)
    if network.outputs == 1:
        middle = round_half_up(network.target_low + network.target_high, 1)
        return (outputs[..., 0] >= middle).astype(np.int64)
    return outputs.argmax(axis=-1)
