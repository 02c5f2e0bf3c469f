"""The interface of a training session, the same for every backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.host.session.state import State
from mgd.protocol.record import Samples


@dataclass(frozen=True)
class Evaluation:
    """A core's counts over a set of samples."""

    correct: int
    cost_sum: int
    """In units of 2^-cost_frac."""
    samples: int
    cost_frac: int

    @property
    def accuracy(self) -> float:
        """Part of the samples that was classified right, 0 to 1."""
        return self.correct / self.samples

    @property
    def cost(self) -> float:
        """Mean cost; in bits for cross-entropy."""
        return self.cost_sum / (self.samples << self.cost_frac)


@dataclass(frozen=True)
class Counters:
    """The core's counters.  Clock counts are 0 for the golden model, which has none."""

    step: int
    cost_sum: int
    """Sum over steps of C⁺ + C⁻ (or 2·C), in units of 2^-cost_frac."""
    weight_saturations: int
    activation_saturations: int
    clocks: int
    """Since power-up: loading, training, evaluation."""
    train_clocks: int
    """Spent in training steps since start()."""
    link_errors: int
    """Frames that arrived damaged, at the board or here."""
    link_repeats: int = 0
    """Requests sent again because no answer came."""
    wait_clocks: int = 0
    """In which the core could have trained, but a sample had not arrived; since start()."""


class BoardLostError(UserError):
    """The board is not in the state that this session left it in; Session.recover() may help."""


class Session(ABC):
    """A core for one network: load it, train it, read it.  Use as a context manager.

    The order is: load_samples, write_weights, start, then train and evaluate at will.  To continue
    a run: load_samples, restore.
    """

    backend: str
    """'golden', 'sim', or the port's name: every output shows it."""
    network: Network
    lanes: int

    @abstractmethod
    def load_samples(
        self, train: Samples, test: Samples, settings: Settings | None = None, first: int = 0
    ) -> None:
        """Write both sets to the sample memory, training samples first.

        settings: of the run that follows; without them the training set must fit as a whole.
        first: State.take() of a run that is to be restored.  Both save start() and restore() from
        writing again.
        """

    def add_samples(self, name: str, samples: Samples) -> None:
        """After load_samples: another set, for evaluate(name)."""
        raise NotImplementedError

    @abstractmethod
    def write_weights(self, weights: list[np.ndarray]) -> None:
        """Per layer an integer array of shape (nodes, fan_in + 1), the bias last."""

    @abstractmethod
    def read_weights(self) -> list[np.ndarray]:
        """Inverse of write_weights.  Applies the pending update first."""

    @abstractmethod
    def start(self, settings: Settings, seed: int) -> None:
        """Step 0: set all run-time registers and the sign sequence, clear accumulators."""

    def check_resumable(self, settings: Settings) -> None:
        """Raise UserError where a run with these settings cannot continue from its middle: then
        read_state and restore raise it, too."""
        settings.check_resumable()

    @abstractmethod
    def restore(self, settings: Settings, seed: int, state: State) -> None:
        """Instead of write_weights and start: continue from `state`, of a run with these settings
        and this seed.  Every later step is bit for bit that of the original run."""

    @abstractmethod
    def read_state(self) -> State:
        """The state that restore() takes.  Does not change the run."""

    def recover(self) -> None:  # noqa: B027 - without a board there is nothing to do
        """After a BoardLostError: make the board ready for load_samples again.

        Raises UserError where it does not answer or is another board now.
        """

    @abstractmethod
    def train(self, until_step: int, on_progress: Callable[[int], None] | None = None) -> None:
        """Run steps up to number `until_step`; call on_progress(step) now and then."""

    @abstractmethod
    def evaluate(self, on: str = "test") -> Evaluation:
        """Accuracy and cost on the "test" or "train" samples, or those of add_samples(), weights
        as they are now."""

    @abstractmethod
    def counters(self) -> Counters:
        """Counters now."""

    @abstractmethod
    def close(self) -> None:
        """Release the port or process.  May be called twice."""

    def __enter__(self):
        return self

    def __exit__(self, *_exc) -> None:
        self.close()
