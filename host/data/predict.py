"""From a table and a network's weights to answers: classes with probabilities, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mgd.golden_model.costs import classify
from mgd.golden_model.errors import UserError
from mgd.golden_model.forward import predict
from mgd.golden_model.formats import ACT_FRAC
from mgd.golden_model.network import Network
from mgd.host.data.targets import TargetScaling

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
    return Predictions(
        outputs, answers, tuple(names), probabilities, scores, network.regression
    )


def check_width(name: str, columns: int, network: Network) -> None:
    """Raise UserError where samples have not as many inputs as the network."""
    if columns != network.layers[0]:
        raise UserError(
            f"{name}: has {columns} inputs per sample, the network has {network.layers[0]}; give "
            "the same columns as in training"
        )
