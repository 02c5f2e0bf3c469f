"""`mgd verify --netlist`: the synthesised netlist trains, and is compared with the golden model.

A netlist has no probe: the values that a host can read are compared, after every few steps and then
at the end of runs that nobody interrupted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mgd.boards.netlist import board as netlist
from mgd.boards.simulated import board as simulated
from mgd.boards.simulated.verilator import Notify
from mgd.golden_model.errors import UserError
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.session.base import Session
from mgd.host.session.board import BoardSession
from mgd.host.task.task import Task
from mgd.protocol.record import Samples
from mgd.protocol.registers import settings_in_registers
from mgd.rtl.lockstep import MismatchError

CHUNK_STEPS = 5
"""Steps between two comparisons in the first run."""
TRAIN_SAMPLES, TEST_SAMPLES = 24, 16
"""A data set is cut to these: every sample goes through the simulated UART."""
TIMEOUT_S = 10.0
"""For a reply: a netlist of many lanes takes some 30,000 clocks a second, and a host that asks
again too soon sends more than the board has room for."""


@dataclass
class Comparison:
    """The number of equal values.  steps: of the current run; seconds: by activity."""

    values_compared: int = 0
    steps: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def equal(self, name: str, expected: int, got: int) -> None:
        """Raises MismatchError where the two differ."""
        if expected != got:
            raise MismatchError(self.steps, name, expected, got)
        self.values_compared += 1

    def weights(self, expected: list[np.ndarray], got: list[np.ndarray]) -> None:
        """Per layer an array of shape (nodes, fan_in + 1).  Raises MismatchError."""
        for layer, (wanted, found) in enumerate(zip(expected, got, strict=True), 1):
            for node, place in np.argwhere(wanted != found)[:1]:
                numbers = int(wanted[node, place]), int(found[node, place])
                raise MismatchError(
                    self.steps - 1, "weight", *numbers, layer, int(node), int(place)
                )
            self.values_compared += wanted.size


def prepared(task: Task, family: str, comparison: Comparison, notify: Notify) -> Path:
    """The board with the netlist as a program.  Raises UserError, see boards.netlist.board."""
    train, test = few(task)
    words = (len(train) + len(test)) * task.core_layout().record_stride
    begin = time.perf_counter()
    design = netlist.design_for(family, task.core_layout(), words)
    made = netlist.synthesise(design, notify)
    middle = time.perf_counter()
    program = netlist.compiled(made, notify)
    comparison.seconds["synthesis"] = middle - begin
    comparison.seconds["compilation"] = time.perf_counter() - middle
    return program


def few(task: Task) -> tuple[Samples, Samples]:
    """The first training and test samples of a task."""
    train, test = task.datasets()
    return (
        Samples(train.codes[:TRAIN_SAMPLES], train.labels[:TRAIN_SAMPLES]),
        Samples(test.codes[:TEST_SAMPLES], test.labels[:TEST_SAMPLES]),
    )


def compare(task: Task, program: Path, steps: int, comparison: Comparison, *arguments: str) -> None:
    """Train from the board's power-up on: the runs of `runs`, one after the other.

    arguments: for the program.  Raises MismatchError at the first difference, also where the
    board gives no usable answer.
    """
    begin = time.perf_counter()
    train, test = few(task)
    board = simulated.run(program, *arguments)
    try:
        with BoardSession(board.port, task.spec.network, backend="netlist") as session:
            session.link.timeout_s = TIMEOUT_S
            session.load_samples(train, test)
            for number, (settings, chunk) in enumerate(runs(task, steps)):
                weights = initial_weights(
                    task.spec.network, task.spec.seed + number, task.spec.init_gain
                )
                trainer = Trainer(
                    task.spec.network,
                    settings,
                    train.codes,
                    train.labels,
                    [w[None] for w in weights],
                    [task.spec.seed + number],
                )
                session.write_weights(weights)
                session.start(settings, task.spec.seed + number)
                for until in range(chunk, steps + chunk, chunk):
                    _train(trainer, session, min(until, steps), comparison)
                _evaluate(trainer, session, test, comparison)
    except UserError as error:
        what = f"the board cannot be used: {error}"
        raise MismatchError(comparison.steps, what, None, None) from error
    finally:
        board.close()
        comparison.seconds["run"] = time.perf_counter() - begin


def runs(task: Task, steps: int) -> list[tuple[Settings, int]]:
    """Settings, and steps between two comparisons.

    First the task's settings, with the weights compared every few steps and then only at the end;
    then settings that the task does not use: the other method and difference, where the core has
    registers for them, and samples and signs that stay for several steps.
    """
    settings = task.whole().spec.settings
    others = settings
    if {"method", "difference"} <= set(settings_in_registers(task.spec.core.kind)):
        if not settings.by_node:  # sums per node are built for node perturbation alone
            others = replace(settings, method="wp" if settings.perturbs_nodes else "np")
        if not settings.continuous:
            difference = "forward" if settings.antithetic else "antithetic"
            others = replace(others, difference=difference)
    # The shortest that a sample may stay, or twice that: sums per node need it for a whole sum.
    stays = settings.tau_theta if settings.by_node else 1
    others = replace(
        others,
        tau_x=2 * stays if settings.tau_x == stays else stays,
        tau_p=3 if settings.tau_p == 1 else 1,
    )
    constants: dict[str, Any] = dict(task.fixed)
    others = replace(others, **constants)
    return [(settings, CHUNK_STEPS), (settings, steps), (others, steps)]


def _train(trainer: Trainer, session: Session, until: int, comparison: Comparison) -> None:
    comparison.steps = until
    trainer.train(until)
    session.train(until)
    got = session.read_weights()
    counters = session.counters()
    comparison.equal("steps", until, counters.step)
    for name in ("cost_sum", "weight_saturations", "activation_saturations"):
        comparison.equal(name, int(getattr(trainer, name)[0]), getattr(counters, name))
    comparison.equal("link errors", 0, counters.link_errors)
    comparison.weights([w[0].astype(np.int64) for w in trainer.weights], got)


def _evaluate(trainer: Trainer, session: Session, test: Samples, comparison: Comparison) -> None:
    measured = session.evaluate("test")
    correct, cost = trainer.evaluate(test.codes, test.labels)
    comparison.equal("evaluation: correct", int(correct[0]), measured.correct)
    comparison.equal("evaluation: cost", int(cost[0]), measured.cost_sum)
