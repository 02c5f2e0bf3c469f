"""Clocks per training step of a task: computed, or counted by the core on the simulated board."""

from __future__ import annotations

import numpy as np

from mgd.api.backends import say
from mgd.boards.estimate.kinds import kind_of
from mgd.boards.simulated import board as simulated
from mgd.golden_model.seeds import initial_weights
from mgd.host.session.board import BoardSession
from mgd.host.task.task import Task
from mgd.protocol.record import Samples
from mgd.rtl.core_kinds import AnyConfig, config_for

SAMPLES = 32
STEPS = 1024
"""The fewest; whole periods of tau_x, tau_p and tau_theta where they are longer."""


def reckoned_clocks(task: Task) -> float:
    """Clocks per step of the task's core, where nothing waits; with skip_zeros the mean over its
    first samples."""
    config = config_for(task.core_layout())
    return kind_of(config).clocks_per_step(config, task.spec.settings, looked_at(task))


def looked_at(task: Task, count: int = SAMPLES) -> np.ndarray | None:
    """Codes of samples that follow one another in training; None where no clock depends on them."""
    return task.datasets()[0].codes[:count] if task.spec.settings.skip_zeros else None


def measured_clocks(task: Task, config: AnyConfig) -> float:
    """Clocks per step of the task's method and settings on a core; on a pipelined one without the
    clocks in which a run's last update reaches the weights.

    They depend on the data's shape alone, with skip_zeros on its zeros, too.  Raises UserError
    where the simulated board cannot be built.
    """
    network, settings = task.spec.network, task.whole().spec.settings
    train, test = task.datasets()
    few = Samples(train.codes[:SAMPLES], train.labels[:SAMPLES])
    one = Samples(test.codes[:1], test.labels[:1])
    words = 2 * (SAMPLES + 1) * config.record_stride
    period = max(settings.tau_x, settings.tau_p, settings.tau_theta)
    steps = -(-STEPS // period) * period
    board = simulated.start(kind_of(config).simulable(config), words, notify=say)
    try:
        with BoardSession(board.port, network, backend="sim") as session:
            session.load_samples(few, one)
            session.write_weights(initial_weights(network, task.spec.seed))
            session.start(settings, task.spec.seed)
            session.train(steps)
            clocks = session.counters().train_clocks
            if settings.update_delay:
                # A run three times as long, whose last update takes as many clocks.
                session.train(3 * steps)
                clocks = session.counters().train_clocks - 2 * clocks
            return clocks / steps
    finally:
        board.close()
