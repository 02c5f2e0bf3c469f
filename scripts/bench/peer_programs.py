"""The programs of `mgd bench peers`: the golden model, and MGD in float.

Every peer trains the same network on the same samples from the same initial weights, by the
antithetic difference with a new sample, new signs and an update in every step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mgd.golden_model.costs.base import real_targets
from mgd.golden_model.declaration import Place, declarations
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.reference import network as reference
from mgd.golden_model.seeds import initial_weights, permutation
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.task.task import Task
from mgd.protocol.record import Samples


def draws_at_once(signs: int) -> int:
    """For how many steps of `signs` signs a peer draws in advance: few calls, little memory."""
    return max(1, min(1024, (1 << 18) // signs))


class NotInstalledError(Exception):
    """A peer's package is missing; the message is the command that installs it."""


KNOWN: dict[str, tuple[Any, ...]] = {
    "hidden": ("tanh", "relu", "identity"),
    "output": ("tanh", "relu", "identity"),
    "cost": ("mse", "cross_entropy"),
    "smoothing_exp": (0,),
}
"""Of these fields of a network the peers have these values; of settings no variant."""


def _unknown(network: Network, settings: Settings) -> list[tuple[str, Any]]:
    """(field, value) for all that the peers do not implement."""
    found = [(name, getattr(network, name)) for name in KNOWN]
    return [(name, value) for name, value in found if value not in KNOWN[name]] + [
        (name, value)
        for name, known in declarations(settings).items()
        if known.place is not Place.REGISTER and (value := getattr(settings, name)) != known.default
    ]


@dataclass(frozen=True)
class Problem:
    """A task as the peers take it."""

    network: Network
    settings: Settings
    train: Samples
    test: Samples
    seed: int
    init_gain: float

    @classmethod
    def of(cls, task: Task, *, any_tau_p: bool = False) -> Problem:
        """Raises UserError where the peers do not implement the task's settings.

        any_tau_p: for the golden model and C++ alone, which take any.
        """
        settings = task.spec.settings
        wanted = {"difference": "antithetic", "tau_x": 1, "tau_p": 1, "tau_theta": 1}
        if any_tau_p:
            del wanted["tau_p"]
        for key in wanted:
            if (value := getattr(settings, key)) != wanted[key]:
                raise UserError(
                    f"{task.name}: {key} = {value}; the peers are written for {wanted[key]} only, "
                    "the form most work per step; set it so in a copy of the task file"
                )
        for key, value in _unknown(task.spec.network, settings):
            raise UserError(
                f"{task.name}: {key} = {value!r}; the peers have no such thing, leave it out of a "
                "copy of the task file"
            )
        train, test = task.datasets()
        return cls(task.spec.network, settings, train, test, task.spec.seed, task.spec.init_gain)

    @cached_property
    def x(self) -> np.ndarray:
        """Training inputs in natural units, (samples, inputs + 1) float64, the bias input last."""
        x = reference.float_inputs(self.train.codes, self.settings.input_shift)
        return np.concatenate([x, np.ones((len(x), 1))], axis=1)

    @property
    def delta(self) -> float:
        """Size of the perturbation."""
        return 2.0**-self.settings.delta_exp

    @property
    def rate(self) -> float:
        """Factor of (C⁺ − C⁻)·s, and of x_j for nodes, in an update: η/(2δ)."""
        return 2.0**-self.settings.eta_exp / (2 * self.delta)

    def integer_weights(self, seeds: int) -> list[np.ndarray]:
        """Initial weights, per layer (seeds, nodes, fan_in + 1); the first seed is the task's."""
        drawn = [initial_weights(self.network, self.seed + k, self.init_gain) for k in range(seeds)]
        return [np.array(layer) for layer in zip(*drawn, strict=True)]

    def float_weights(self, seeds: int) -> list[np.ndarray]:
        """The same in natural units, float64."""
        return reference.float_weights(self.integer_weights(seeds), self.network)

    def orders(self, seeds: int) -> np.ndarray:
        """Sample order per seed, (seeds, samples); that of the first seed is the order given."""
        count = len(self.train)
        others = [permutation(count, self.seed + k) for k in range(1, seeds)]
        return np.array([np.arange(count), *others])

    def accuracy(self, weights: list[np.ndarray]) -> float:
        """Mean share of test images classified right in float64.

        weights: per layer (seeds, nodes, fan_in + 1), natural units.
        """
        x = reference.float_inputs(self.test.codes, self.settings.input_shift)
        return float(reference.evaluate(weights, x, self.test.labels, self.network)[0].mean())


class Peer(ABC):
    """One program that trains.  Its construction is not timed, train() is."""

    label: str
    seeds: int = 1

    @abstractmethod
    def train(self, steps: int) -> None:
        """That many steps more, all work finished on return."""

    @abstractmethod
    def weights(self) -> list[np.ndarray]:
        """Per layer (seeds, nodes, fan_in + 1) float64, natural units."""


class GoldenPeer(Peer):
    """The golden model: integers, every bit as in the core."""

    def __init__(self, problem: Problem, seeds: int = 1) -> None:
        self.label = "golden model" if seeds == 1 else f"golden model, {seeds} seeds"
        self.seeds = seeds
        self._network = problem.network
        self._trainer = Trainer(
            problem.network,
            problem.settings,
            problem.train.codes,
            problem.train.labels,
            problem.integer_weights(seeds),
            [problem.seed + k for k in range(seeds)],
            None if seeds == 1 else problem.orders(seeds),
        )

    def train(self, steps: int) -> None:
        self._trainer.train(self._trainer.step_number + steps)

    def weights(self) -> list[np.ndarray]:
        return reference.float_weights(self._trainer.weights, self._network)


class NumpyPeer(Peer):
    """Float32 NumPy with nothing but this task in mind; both passes are the two columns of one
    matrix, and layer 1 is computed once for both."""

    label = "NumPy float32"

    def __init__(self, problem: Problem) -> None:
        net = self._network = problem.network
        self._x = problem.x.astype(np.float32)
        self._labels = problem.train.labels.tolist()
        self._weights = [w[0].astype(np.float32) for w in problem.float_weights(1)]
        self._targets = real_targets(problem.train.labels, net).astype(np.float32)[..., None]
        self._nodes = problem.settings.perturbs_nodes
        self._delta = problem.delta
        self._rate = problem.rate
        self._factors = np.array([[self._delta, -self._delta]], dtype=np.float32)
        self._random = np.random.default_rng(problem.seed)
        self._block = draws_at_once(net.neurons if self._nodes else net.parameters)
        self._signs: list[np.ndarray] = []
        self._drawn = self._block
        self._inputs = [np.ones((n + 1, 2), dtype=np.float32) for n in net.layers[1:]]
        self._step = 0

    def train(self, steps: int) -> None:
        for step in range(self._step, self._step + steps):
            self._one(step % len(self._labels))
        self._step += steps

    def weights(self) -> list[np.ndarray]:
        return [w[None].astype(np.float64) for w in self._weights]

    def _draw(self) -> None:
        """Signs of the next block, per layer (block, nodes, fan_in + 1 or 1)."""
        self._signs = []
        for w in self._weights:
            shape = (self._block, len(w), 1 if self._nodes else w.shape[1])
            raw = np.frombuffer(self._random.bytes(-(-np.prod(shape) // 8)), dtype=np.uint8)
            bits = np.unpackbits(raw)[: np.prod(shape)].reshape(shape)
            self._signs.append(np.float32(1) - np.float32(2) * bits)
        self._drawn = 0

    def _one(self, sample: int) -> None:
        if self._drawn == self._block:
            self._draw()
        draw, last = self._drawn, self._network.depth - 1
        self._drawn += 1
        first = x = self._x[sample]
        for layer, w in enumerate(self._weights):
            s = self._signs[layer][draw]
            # One column for layer 1, two for the others.
            base = (w @ x).reshape(len(w), -1)
            z = base + (s if self._nodes else (s @ x).reshape(len(w), -1)) * self._factors
            if layer < last:
                x = self._inputs[layer]
                x[:-1] = reference.activation(self._network.hidden, z)
        if self._network.cost == "cross_entropy":
            at_label = z[self._labels[sample]]
            terms = np.exp2(z - z.max()).sum(axis=0)
            change = np.log2(terms[0] / terms[1]) - (at_label[0] - at_label[1])
        else:
            error = reference.activation(self._network.output, z) - self._targets[sample]
            cost = (error * error).sum(axis=0)
            change = cost[0] - cost[1]
        share = np.float32(change * self._rate)
        for layer, w in enumerate(self._weights):
            u = self._signs[layer][draw] * share
            w -= u * (self._inputs[layer - 1][:, 0] if layer else first) if self._nodes else u
