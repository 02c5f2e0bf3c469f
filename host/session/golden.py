"""A session in this process: the golden model instead of a board."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from mgd.golden_model.forward import evaluate
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.session.base import Counters, Evaluation, Session
from mgd.host.session.state import State
from mgd.protocol.record import Samples

PROGRESS_SECONDS = 0.1
EVALUATED_AT_ONCE = 4096
"""Samples: a large set need not be in this machine's memory as a whole."""


class GoldenSession(Session):
    """Session on golden_model.trainer.Trainer.  It has no clocks and needs no lanes."""

    backend = "golden"

    def __init__(self, network: Network, lanes: int = 0) -> None:
        self.network = network
        self.lanes = lanes
        self._samples: dict[str, Samples] = {}
        self._weights: list[np.ndarray] = []
        self._trainer: Trainer | None = None
        self._before = State(0, [], [])
        """Its counters are those of the run before it was restored."""

    def load_samples(
        self, train: Samples, test: Samples, settings: Settings | None = None, first: int = 0
    ) -> None:
        self._samples = {"train": train, "test": test}

    def add_samples(self, name: str, samples: Samples) -> None:
        self._samples[name] = samples

    def write_weights(self, weights: list[np.ndarray]) -> None:
        self._weights = [np.array(w, dtype=np.int64) for w in weights]

    def read_weights(self) -> list[np.ndarray]:
        return [w[0].astype(np.int64) for w in self._running.weights]

    def start(self, settings: Settings, seed: int) -> None:
        train = self._samples["train"]
        weights = [w[None] for w in self._weights]
        self._trainer = Trainer(self.network, settings, train.codes, train.labels, weights, [seed])
        self._before = State(0, [], [])

    def restore(self, settings: Settings, seed: int, state: State) -> None:
        self.write_weights(state.weights)
        self.start(settings, seed)
        self._running.resume(state.step, [g[None] for g in state.accumulators] or None)
        self._before = state

    def read_state(self) -> State:
        self.check_resumable(self._running.settings)
        counters = self.counters()
        accumulators = self._running.accumulators if self.network.accumulators else []
        return State(
            counters.step,
            self.read_weights(),
            [g[0].copy() for g in accumulators],
            counters.cost_sum,
            counters.weight_saturations,
            counters.activation_saturations,
            counters.train_clocks,
            counters.wait_clocks,
        )

    def train(self, until_step: int, on_progress: Callable[[int], None] | None = None) -> None:
        trainer, shown = self._running, time.monotonic()
        while trainer.step_number < until_step:
            trainer.step()
            if on_progress and time.monotonic() - shown >= PROGRESS_SECONDS:
                on_progress(trainer.step_number)
                shown = time.monotonic()
        trainer.finish()

    def evaluate(self, on: str = "test") -> Evaluation:
        trainer, samples = self._running, self._samples[on]
        correct = cost = 0
        for first in range(0, len(samples), EVALUATED_AT_ONCE):
            part = slice(first, first + EVALUATED_AT_ONCE)
            inputs = samples.codes[part].astype(np.int64) << trainer.settings.input_shift
            found = evaluate(trainer.weights, inputs, samples.labels[part], self.network)
            correct, cost = correct + int(found[0][0]), cost + int(found[1][0])
        return Evaluation(correct, cost, len(samples), self.network.cost_frac)

    def counters(self) -> Counters:
        trainer, before = self._running, self._before
        return Counters(
            step=trainer.step_number,
            cost_sum=before.cost_sum + int(trainer.cost_sum[0]),
            weight_saturations=before.weight_saturations + int(trainer.weight_saturations[0]),
            activation_saturations=before.activation_saturations
            + int(trainer.activation_saturations[0]),
            clocks=0,
            train_clocks=before.train_clocks,
            link_errors=0,
            wait_clocks=before.wait_clocks,
        )

    def close(self) -> None:
        self._trainer = None

    @property
    def _running(self) -> Trainer:
        if self._trainer is None:
            raise RuntimeError("start() comes first")
        return self._trainer
