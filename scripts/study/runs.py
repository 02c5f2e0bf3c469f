"""Training runs of a task on the golden model, many seeds side by side."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.imperfections import Imperfections
from mgd.golden_model.network import Network
from mgd.golden_model.seeds import initial_weights, permutation
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.task.task import Task


def runs(
    task: Task,
    seeds: list[int],
    network: Network | None = None,
    settings: Settings | None = None,
    imperfections: Imperfections | None = None,
) -> Trainer:
    """The runs that `mgd train` would do with each seed, at step 0.

    network, settings: in place of the task's.
    """
    network, settings = network or task.spec.network, settings or task.spec.settings
    # The task has the samples in the order of its own seed.
    train, order = task.datasets()[0], permutation(len(task.datasets()[0]), task.spec.seed)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    orders = np.array([back[permutation(len(order), seed)] for seed in seeds])
    drawn = [initial_weights(network, seed, task.spec.init_gain) for seed in seeds]
    weights = [np.array(layer) for layer in zip(*drawn, strict=True)]
    return Trainer(
        network, settings, train.codes, train.labels, weights, seeds, orders,
        imperfections=imperfections,
    )  # fmt: skip


def accuracies(task: Task, trainer: Trainer) -> np.ndarray:
    """Share of the test samples that are classified right, per seed."""
    _, test = task.datasets()
    correct, _ = trainer.evaluate(test.codes, test.labels)
    return correct / len(test)


def first_steps(task: Task, trainer: Trainer, target: float, every: int, limit: int) -> np.ndarray:
    """Per seed the first evaluation, every `every` steps, at or above `target`; 0 where none
    was within `limit` steps.  Trains until all seeds have reached it."""
    reached = np.zeros(len(trainer.cost_sum), dtype=np.int64)
    for step in range(every, limit + 1, every):
        trainer.train(step)
        reached[(accuracies(task, trainer) >= target) & (reached == 0)] = step
        if reached.all():
            break
    return reached
