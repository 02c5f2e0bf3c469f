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
from mgd.host.data.targets import Fit
from mgd.host.runs.loop import TrainingLoop, interruptible
from mgd.host.runs.predict import (
    Predictions,
    codes_of,
    outputs_of,
    predictions,
    table_of_frame,
    table_to_predict,
)
from mgd.host.runs.progress import CurvePoint
from mgd.host.runs.training import fit_of, watching
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
        self._preparation = task.prepared.preparation
        self._data = {"train": task.prepared.train, "test": task.prepared.test}
        core.load_samples(self._data["train"], self._data["test"], task.spec.settings)
        self._watching = watching(task)
        if task.prepared.validation is not None:
            self._data["validation"] = task.prepared.validation
            core.add_samples("validation", task.prepared.validation)
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
        """Replace the samples, those of a validation part included.  Without test samples the
        accuracy is that on the training ones.

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
        self._preparation, self._watching = None, {}
        self.class_names = names
        self._start(weights)

    def data(self, on: str = "train") -> tuple[np.ndarray, np.ndarray]:
        """(x, labels) of the "train", "test" or "validation" samples as the core has them.

        x: (samples, inputs) float64; labels: (samples,) int64.
        """
        samples = self._data[self._known(on)]
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
            **{**self._watching, "keep_best": False},
        )
        with interruptible() as interrupted:
            loop.run(interrupted)
        return loop.curve

    def evaluate(self, on: str = "test") -> Evaluation:
        """Accuracy and mean cost on the "test", "train" or, where the task has it, "validation"
        samples, with the weights of now.  Of a regression the accuracy is 0; see fit()."""
        return self._core.evaluate(self._known(on))

    def fit_of(self, on: str = "test") -> Fit:
        """Of a regression: R² and RMSE (in the units of the file) on the "test" or "validation"
        samples, with the weights of now."""
        if self.task.prepared.targets is None or self._preparation is None or on == "train":
            raise UserError(
                f"fit_of({on!r}): only the test or validation samples of a regression task have "
                "an R² and an RMSE; use evaluate() for an accuracy"
            )
        return fit_of(self.task, self._core.read_weights(), self._known(on))

    # -- prediction -------------------------------------------------------------------------

    def predict(self, x: Any) -> np.ndarray:
        """What the weights of now say of samples: names of classes (samples,), or of a regression
        numbers in the units of the training file, (samples,) or (samples, targets).

        x: the path of a table, a pandas DataFrame, or an array (samples, columns) with the columns
        of the training file, prepared as in training.  After load_data(), or where the task's data
        are no table: real numbers (samples, inputs) as data() returns them.
        """
        return self._predictions(x).labels

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probabilities (samples, classes) of samples as predict() takes them; the cost must be
        cross-entropy."""
        found = self._predictions(x).probabilities
        if found is None:
            raise UserError(
                f"cost = {self.network.cost!r} gives no probabilities; use cost = 'cross_entropy'"
            )
        return found

    def _predictions(self, x: Any) -> Predictions:
        if self._preparation is None:
            codes = to_codes("x", x, self.network, self.settings.input_shift)
        else:
            if isinstance(x, (str, Path)):
                table = table_to_predict(Path(x), self._preparation)
            else:
                table = table_of_frame("x", x, self._preparation, self.network.layers[0])
            codes, kept, _ = codes_of(table, self._preparation, self.network)
            if len(kept) < len(table.inputs):
                missing = sorted(set(range(len(table.inputs))) - set(kept.tolist()))
                raise UserError(
                    f"{table.name}: {table.where(missing[0])} has a missing cell, so it has no "
                    "prediction; fill it in, or train with missing = 'mean'"
                )
        weights = self._core.read_weights()
        outputs = outputs_of(weights, codes, self.network, self.settings.input_shift)
        targets = None if self._preparation is None else self._preparation.targets
        return predictions(outputs, self.network, self.class_names, targets)

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

    def _known(self, on: str) -> str:
        if on not in self._data:
            names = [f'"{name}"' for name in self._data]
            there = f"{', '.join(names[:-1])} and {names[-1]}"
            raise UserError(f"samples {on!r} are unknown: there are {there}")
        return on

    def _samples(self, prefix: str, x: Any, labels: Any) -> Samples:
        codes = to_codes(f"{prefix}x", x, self.network, self.settings.input_shift)
        return Samples(codes, to_labels(f"{prefix}labels", labels, len(codes), self.network))

    def _start(self, weights: list[np.ndarray]) -> None:
        """Write weights (integers) and go to step 0."""
        self._core.write_weights(weights)
        self._core.start(self.settings, self.task.spec.seed)
