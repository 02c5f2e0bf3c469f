"""How far a training run has come."""

from __future__ import annotations

from dataclasses import dataclass

from mgd.host.session.state import State


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation."""

    step: int
    train_cost: float | None
    """Mean cost per training step since the point before; None at step 0."""
    test_accuracy: float
    test_cost: float
    clocks: int
    """Clocks spent training so far; 0 for the golden model."""


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
