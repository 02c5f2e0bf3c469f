"""A session that trains nothing: accuracy rises with the steps, as the test asks for."""

from __future__ import annotations

import numpy as np

from mgd.host.session.base import Counters, Evaluation, Session
from mgd.host.session.state import State
from mgd.protocol.record import Samples


class FakeSession(Session):
    """Accuracy min(1, step / full_at); every step costs 3.5 and takes 7 clocks."""

    backend = "golden"

    def __init__(self, network, full_at=100, lanes=2):
        self.network = network
        self.lanes = lanes
        self.full_at = full_at
        self.step = 0
        self.calls: list[str] = []
        self.closed = False
        self.on_train = lambda step: None

    def load_samples(self, train: Samples, test: Samples, settings=None, first=0) -> None:
        self.calls.append("load_samples")
        self.loaded = (train, test)

    def add_samples(self, name, samples) -> None:
        self.calls.append(f"add_samples {name}")

    def write_weights(self, weights) -> None:
        self.calls.append("write_weights")
        self.weights = [np.array(w) for w in weights]

    def read_weights(self):
        return self.weights

    def start(self, settings, seed) -> None:
        self.calls.append("start")
        self.settings, self.seed = settings, seed

    def restore(self, settings, seed, state: State) -> None:
        self.calls.append(f"restore {state.step}")
        self.settings, self.seed = settings, seed
        self.weights, self.step = state.weights, state.step

    def read_state(self) -> State:
        return State(self.step, self.weights, [], self.counters().cost_sum, 1, 2, 7 * self.step)

    def recover(self) -> None:
        self.calls.append("recover")

    def train(self, until_step, on_progress=None) -> None:
        self.calls.append(f"train {until_step}")
        self.step = until_step
        if on_progress is not None:
            on_progress(until_step)
        self.on_train(until_step)

    def evaluate(self, on="test") -> Evaluation:
        samples, cost_frac = 10_000, self.network.cost_frac
        correct = round(samples * min(1.0, self.step / self.full_at))
        cost_sum = round((samples << cost_frac) / (1 + self.step))
        return Evaluation(correct, cost_sum, samples, cost_frac)

    def counters(self) -> Counters:
        per_step = round(2 * 3.5 * 2**self.network.cost_frac)
        return Counters(
            step=self.step,
            cost_sum=self.step * per_step,
            weight_saturations=1,
            activation_saturations=2,
            clocks=7 * self.step + 1000,
            train_clocks=7 * self.step,
            link_errors=0,
        )

    def close(self) -> None:
        self.closed = True
