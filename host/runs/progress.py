"""How far a training run has come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.host.session.state import State


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation."""

    step: int
    train_cost: float | None
    """Mean cost per training step since the point before; None at step 0."""
    test_accuracy: float
    """On the samples that are watched, the validation part where there is one, else the test part;
    R² of a regression."""
    test_cost: float
    clocks: int
    """Clocks spent training so far; 0 for the golden model."""


@dataclass(frozen=True)
class Best:
    """The weights with the highest accuracy at an evaluation; of equal ones the lowest cost."""

    step: int
    accuracy: float
    cost: float
    weights: list[np.ndarray]
    """Integers, per layer (nodes, fan_in + 1), the bias last."""

    def beaten_by(self, point: CurvePoint) -> bool:
        """Whether the weights of that evaluation are better."""
        return (point.test_accuracy, -point.test_cost) > (self.accuracy, -self.cost)


@dataclass(frozen=True)
class Progress:
    """A run between two steps, with its results so far: the contents of a checkpoint."""

    state: State
    curve: tuple[CurvePoint, ...] = ()
    """Starts with the initial weights at step 0; empty before that was evaluated."""
    cost_sum: int = 0
    """state.cost_sum at the curve's last point."""
    wall_seconds: float = 0.0
    """Training and evaluation, without loading, of all programs that worked on the run."""
    link_errors: int = 0
    link_repeats: int = 0
    board_losses: int = 0
    """How often the board lost the run and was loaded again."""
    best: Best | None = None
    """Where the best weights are kept, those so far."""


ACCURACY, R2 = "accuracy", "r2"
"""What a curve shows: CurvePoint.test_accuracy is one or the other."""


def score_text(score: str, value: float) -> str:
    """91.00 %, or 0.910 of R²."""
    return f"{value:.4f}" if score == R2 else f"{100 * value:.2f} %"


def score_name(score: str) -> str:
    """In text."""
    return "R²" if score == R2 else "accuracy"


def target_text(score: str, value: float) -> str:
    """Of a target: 90 %, or 0.9 of R²."""
    return f"{value:g}" if score == R2 else f"{100 * value:g} %"
