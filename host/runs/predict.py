"""From a table and a network's weights to answers: classes with probabilities, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mgd.golden_model.costs import classify
from mgd.golden_model.errors import UserError
from mgd.golden_model.formats import ACT_FRAC
from mgd.golden_model.forward import predict
from mgd.golden_model.network import Network
from mgd.golden_model.run_spec import RunSpec
from mgd.host.data.content import format_of
from mgd.host.data.numbers import to_numbers
from mgd.host.data.preparation import Preparation
from mgd.host.data.reading import read_table
from mgd.host.data.table import Options, Table, shown
from mgd.host.data.targets import TargetScaling
from mgd.host.session.base import Session
from mgd.protocol.record import Samples

AT_ONCE = 4096
"""Samples."""


@dataclass(frozen=True)
class Predictions:
    """What a network says of samples."""

    outputs: np.ndarray
    """(samples, outputs) integers as the core has them: pre-activations or activations."""
    answers: np.ndarray
    """(samples,) class numbers; (samples, outputs) float64 of a regression, in the units of the
    training file."""
    names: tuple[str, ...]
    """Of the classes, or of the targets."""
    probabilities: np.ndarray | None
    """(samples, classes) where the cost makes the outputs probabilities (cross-entropy)."""
    scores: np.ndarray
    """(samples, outputs) float64: the outputs in natural units."""
    regression: bool

    @property
    def labels(self) -> np.ndarray:
        """The name of each sample's class, (samples,) of text; of a regression the numbers, one
        axis less for a single target."""
        if not self.regression:
            return np.array(self.names, dtype=object)[self.answers]
        return self.answers[:, 0] if self.answers.shape[1] == 1 else self.answers


def outputs_of(
    weights: Sequence[np.ndarray], codes: np.ndarray, network: Network, input_shift: int
) -> np.ndarray:
    """(samples, outputs) integers of weights (integers) and input codes (samples, inputs)."""
    wide = [np.asarray(w, dtype=np.int64) for w in weights]
    parts = [
        predict(wide, codes[k : k + AT_ONCE].astype(np.int64) << input_shift, network)
        for k in range(0, len(codes), AT_ONCE)
    ]
    if not parts:
        return np.zeros((0, network.outputs), dtype=np.int64)
    return np.concatenate(parts)


def predictions(
    outputs: np.ndarray,
    network: Network,
    names: Sequence[str],
    targets: TargetScaling | None = None,
) -> Predictions:
    """What `outputs` (samples, outputs), integers, mean."""
    frac = network.pre_frac if network.reads_sums else ACT_FRAC
    scores = outputs / float(1 << frac)
    probabilities = None
    if network.cost == "cross_entropy":
        powers = np.exp2(scores - scores.max(axis=-1, keepdims=True))
        probabilities = powers / powers.sum(axis=-1, keepdims=True)
    if network.regression:
        answers = scores if targets is None else targets.decode(outputs)
    else:
        answers = classify(outputs, network)
        if len(answers) and answers.max() >= len(names):
            # An output without a class in the training data.
            extra = int(answers.max()) + 1 - len(names)
            names = [*names, *(f"output {len(names) + k}" for k in range(extra))]
    return Predictions(outputs, answers, tuple(names), probabilities, scores, network.regression)


def table_to_predict(path: Path, preparation: Preparation | None) -> Table:
    """The table of samples without, or with, answers.  Raises UserError."""
    options = Options(needs_labels=False)
    if preparation is not None:
        # Columns of a file without names are found by their places.
        named = not all(name.startswith("column ") for name in preparation.file_columns)
        labels = preparation.labels if named else ()
        options = replace(
            preparation.options, labels=labels, ignored=(), categorical=(), needs_labels=False
        )
    if format_of(path.name) is None:
        raise UserError(
            f"{path}: is no table's name; give a .csv, .npz or .parquet file with the columns of "
            "the training file"
        )
    return read_table(path, options)[0]


def table_of_frame(name: str, x: Any, preparation: Preparation | None, inputs: int) -> Table:
    """A pandas DataFrame, or an array (samples, columns) in the order of the training file."""
    import pandas as pd

    if isinstance(x, pd.DataFrame):
        frame = x.reset_index(drop=True)
        frame.columns = [str(column) for column in frame.columns]
        named = True
    else:
        array = np.asarray(x)
        if array.ndim != 2:
            raise UserError(
                f"{name} has the shape {array.shape}; it must be (samples, columns), a row per "
                "sample"
            )
        frame, named = pd.DataFrame(array), False
        frame.columns = [f"column {k}" for k in range(array.shape[1])]
    for column in frame.columns:
        cells = frame[column]
        if not pd.api.types.is_numeric_dtype(cells):
            # An array of several types holds numbers as objects.
            frame[column] = cells.where(cells.notna(), "").astype(str).str.strip()
    if not len(frame):
        raise UserError(f"{name} has no samples; give one at least")
    return Table(
        name, frame, frame[[]], lambda row: f"row {row}", named=named,
        columns=tuple(frame.columns),
    )  # fmt: skip


def codes_of(
    table: Table, preparation: Preparation | None, network: Network
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(codes (samples, inputs), their numbers in the table, notes).

    Without a preparation the table holds the codes themselves.
    """
    if preparation is not None:
        encoded = preparation.encode(table, network)
        notes = list(encoded.notes)
        if encoded.outside > 0.05 * encoded.codes.size:
            notes.append(
                f"{encoded.outside} of {encoded.codes.size} values lie outside the range of the "
                "training data and were limited to it: are the units the same?"
            )
        return encoded.codes, encoded.kept, notes
    inputs = network.layers[0]
    if len(table.inputs.columns) != inputs:
        raise UserError(
            f"{table.name}: has {len(table.inputs.columns)} columns, the network has {inputs} "
            "inputs; give a column for each"
        )
    columns = [to_numbers(table, str(c), Options()) for c in table.inputs.columns]
    codes = np.stack(columns, axis=1)
    low, high = network.code_min, network.code_max
    wrong = ~((codes >= low) & (codes <= high) & (codes == np.floor(codes)))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UserError(
            f"{table.name}: {table.where(int(table.inputs.index[row]))}, "
            f"{shown(table.inputs.columns[column])}: {codes[row, column]:g}: this run was not "
            f"trained on a table, so its inputs are the codes, whole numbers from {low} to {high}; "
            "give these"
        )
    return codes.astype(np.int64), np.arange(len(codes)), []


def confirm(session: Session, spec: RunSpec, weights: list[np.ndarray], codes: np.ndarray,
            outputs: np.ndarray) -> None:  # fmt: skip
    """Have a core classify the samples and compare: it counts the right ones and sums their costs.

    Raises UserError where it differs from `outputs`, those of the golden model.
    """
    network = spec.network
    labels = outputs if network.regression else classify(outputs, network)
    samples = Samples(codes, np.asarray(labels))
    # A resident window is for training; here no step is trained.
    settings = replace(spec.settings, resident=0, passes=1)
    one = Samples(codes[:1], samples.labels[:1])
    session.load_samples(one, samples, settings)
    session.write_weights(weights)
    session.start(settings, spec.seed)
    found = session.evaluate("test")
    cost = int(network.cost_kind.exact(outputs, samples.labels, network).sum())
    correct = 0 if network.regression else len(codes)
    if (found.correct, found.cost_sum) != (correct, cost):
        raise UserError(
            f"{session.backend}: the core and the golden model differ: {found.correct} of "
            f"{correct} classes equal, cost {found.cost_sum} instead of {cost}; check the board "
            "with `mgd selftest`"
        )
