"""A task on a core, for notebooks and programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mgd.api import backends
from mgd.api.arrays import to_codes, to_labels, to_weights
from mgd.api.rules import CONFIGURE
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.reference.network import float_inputs, float_weights
from mgd.golden_model.rules import check
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.settings import Settings
from mgd.host.runs.loop import TrainingLoop, interruptible
from mgd.host.runs.progress import CurvePoint
from mgd.host.session.base import Counters, Evaluation, Session
from mgd.host.task.task import Task
from mgd.protocol.record import Samples

Callback = Callable[[CurvePoint], Any]


def open_session(
    task: str | Path | Task,
    backend: str = "sim",
    *,
    baud: int | None = None,
    record: str | Path | None = None,
    sample_words: int | None = None,
    **settings: Any,
) -> TrainingSession:
    """Open a core for `task`, load the task's data and initial weights, and make it ready.

    task: a built-in task's name, the path of a TOML file, or a Task.
    backend: "sim" (the simulated board), "golden" (the golden model), a serial port such as
    "/dev/ttyUSB0", or "replay:FILE".
    baud: the port's bits per second; None finds out.
    record: a new file that takes down all bytes of the link.
    sample_words: 16-bit words of sample memory in the simulated board; None: room for the
    task's data.
    settings: arguments of Task.with_overrides: method, lanes, seed, steps, target, eta_exp, …

    Use it in a `with` statement, or close() the session.  Raises UserError, one line, for
    whatever cannot be used.
    """
    if not isinstance(task, Task):
        task = Task.load(task)
    task = task.with_overrides(**settings)
    file = None if record is None else Path(record)
    core = backends.open_session(task, backend, baud, file, sample_words)
    try:
        return TrainingSession(task, core)
    except BaseException:
        core.close()
        raise


class TrainingSession:
    """A core that is loaded with a task's data and can be trained, evaluated, read and written.

    Made by open_session.  Weights and inputs are float64 arrays in natural units (1.0 is 1.0).
    Methods raise UserError for bad input and where the board is gone.
    """

    def __init__(self, task: Task, core: Session) -> None:
        self.task = task
        self.network: Network = core.network
        self.backend = core.backend
        """"sim", "golden", or the port's name."""
        self.lanes = core.lanes
        self.class_names = task.prepared.class_names
        """Name of each class number."""
        self._core = core
        self._data = {"train": task.prepared.train, "test": task.prepared.test}
        core.load_samples(self._data["train"], self._data["test"], task.spec.settings)
        self._start(initial_weights(self.network, task.spec.seed, task.spec.init_gain))

    # -- before the training ----------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The run-time registers: method, step sizes and time constants."""
        return self.task.spec.settings

    def configure(self, **settings: Any) -> None:
        """Change settings that need no other core: method, seed, steps, target,
        eval_every, delta_exp, eta_exp, tau_x, tau_p, tau_theta, …

        Weights, samples and their order stay; the steps are counted from 0 again, and the signs
        are those of the seed from its beginning.  After an error nothing is changed.
        """
        spec = self.task.spec
        for name, built in (
            ("lanes", self.lanes),
            ("core", spec.core.kind),
            ("schedule", spec.schedule),
        ):
            check(CONFIGURE, name=name, wanted=settings.get(name, built), built=built)
        task = self.task.with_overrides(**settings)
        task.spec.settings.check(self.network)
        weights = self._core.read_weights()
        self.task = task
        self._start(weights)

    def load_data(
        self,
        x: Any,
        labels: Any,
        test_x: Any = None,
        test_labels: Any = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        """Replace the samples.  Without test samples the accuracy is that on the training ones.

        x, test_x: (samples, inputs), real numbers within input_range, rounded to the nearest
        multiple of input_step.  labels, test_labels: (samples,), whole numbers from 0.
        class_names: a name for each number.

        Training goes through the samples in the order given.  The weights stay; the steps are
        counted from 0 again.
        """
        train = self._samples("", x, labels)
        if (test_x is None) != (test_labels is None):
            raise UserError("test_x and test_labels belong together: give both or none")
        test = train if test_x is None else self._samples("test_", test_x, test_labels)
        names = tuple(class_names or map(str, range(self.network.classes)))
        weights = self._core.read_weights()
        self._core.load_samples(train, test, self.settings)
        self._data = {"train": train, "test": test}
        self.class_names = names
        self._start(weights)

    def data(self, on: str = "train") -> tuple[np.ndarray, np.ndarray]:
        """(x, labels) of the "train" or "test" samples as the core has them.

        x: (samples, inputs) float64; labels: (samples,) int64.
        """
        samples = self._data[_known(on)]
        return float_inputs(samples.codes, self.settings.input_shift), samples.labels.copy()

    @property
    def input_step(self) -> float:
        """The distance of two neighbouring input values."""
        return float(float_inputs(np.array(1), self.settings.input_shift))

    @property
    def input_range(self) -> tuple[float, float]:
        """The smallest and the largest input value."""
        low, high = self.network.code_min, self.network.code_max
        return low * self.input_step, high * self.input_step

    # -- training ---------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Steps since the core was opened, configured, or loaded with weights or data."""
        return self._core.counters().step

    def train(
        self,
        steps: int | None = None,
        *,
        target: float | None = None,
        eval_every: int | None = None,
        callback: Callback | None = None,
    ) -> list[CurvePoint]:
        """Train `steps` more steps, by default up to the task's number of steps.

        Every `eval_every` steps (the task's number by default), and at the end, the test samples
        are evaluated and callback(point) is called; training ends early where it returns True,
        or where the test accuracy is at least `target` (the task's by default; 0 to 1).

        Ctrl-C, too, ends it at the next evaluation; a second one raises KeyboardInterrupt at
        once, after which the session can only be closed.  Returns the points of this call.
        """
        changes = {"steps": steps, "target": target, "eval_every": eval_every}
        spec = self.task.with_overrides(**changes).spec  # checks types and limits
        counters = self._core.counters()
        loop = TrainingLoop(
            self._core,
            step=counters.step,
            last=spec.steps if steps is None else counters.step + steps,
            eval_every=spec.eval_every,
            target=spec.target,
            origin=counters.step,
            cost_sum=counters.cost_sum,
            evaluated=callback,
        )
        with interruptible() as interrupted:
            loop.run(interrupted)
        return loop.curve

    def evaluate(self, on: str = "test") -> Evaluation:
        """Accuracy and mean cost on the "test" or "train" samples, with the weights of now."""
        return self._core.evaluate(_known(on))

    def counters(self) -> Counters:
        """The core's counters: steps, clocks, saturations, damaged frames."""
        return self._core.counters()

    # -- weights ----------------------------------------------------------------------------

    def read_weights(self) -> list[np.ndarray]:
        """Per layer a float64 array (nodes, fan_in + 1), the bias last.

        Every value is a multiple of 2^-weight_frac (session.network.weight_frac), so nothing is
        lost: write_weights(read_weights()) changes no weight.
        """
        return float_weights(self._core.read_weights(), self.network)

    def write_weights(self, weights: Sequence[Any]) -> None:
        """Inverse of read_weights; each value is rounded to the nearest weight.

        The steps are counted from 0 again.  Values that no weight can hold are refused.
        """
        self._start(to_weights(weights, self.network))

    # -- the end ----------------------------------------------------------------------------

    def close(self) -> None:
        """Release the port or end the simulation.  May be called twice."""
        self._core.close()

    def __enter__(self) -> TrainingSession:
        self._core.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._core.__exit__(*exc)

    # -- inside -----------------------------------------------------------------------------

    def _samples(self, prefix: str, x: Any, labels: Any) -> Samples:
        codes = to_codes(f"{prefix}x", x, self.network, self.settings.input_shift)
        return Samples(codes, to_labels(f"{prefix}labels", labels, len(codes), self.network))

    def _start(self, weights: list[np.ndarray]) -> None:
        """Write weights (integers) and go to step 0."""
        self._core.write_weights(weights)
        self._core.start(self.settings, self.task.spec.seed)


def _known(on: str) -> str:
    if on not in ("train", "test"):
        raise UserError(f'samples {on!r} are unknown: there are "train" and "test"')
    return on
