"""Whether a spatial core waits for its updates, and what it takes that it does not."""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING

from mgd.golden_model.errors import UserError
from mgd.golden_model.perturbations import FAMILIES
from mgd.golden_model.settings import PIPELINED, SEQUENTIAL

if TYPE_CHECKING:
    from mgd.host.task.task import Task


def check_schedule(task: Task) -> None:
    """Raise UserError where the task's core cannot take its schedule, as the task file has it.

    What Settings refuses together with late updates is told there.
    """
    if task.schedule == SEQUENTIAL:
        return
    asked = f"with schedule = '{PIPELINED}'"
    if task.core != "spatial":
        raise UserError(
            f"schedule = '{PIPELINED}' with core = {task.core!r}: only where every synapse is a "
            'circuit can a step enter in each clock; use --core spatial (kind = "spatial" in '
            f"[core]), or schedule = '{SEQUENTIAL}'"
        )
    plan = task.plan()
    if plan.tau_theta != 1:
        raise UserError(
            f"tau_theta = {plan.tau_theta} {asked}: the update of every step is made by itself "
            f"and nothing is summed up; set tau_theta = 1, or schedule = '{SEQUENTIAL}'"
        )
    for name, value, plain in (
        ("perturbation", plan.perturbation, not FAMILIES[plan.perturbation].frac),
        ("optimizer", plan.optimizer, plan.optimizer == "sgd"),
        ("momentum_exp", plan.momentum_exp, not plan.momentum_exp),
        ("decay_exp", plan.decay_exp, not plan.decay_exp),
    ):
        if not plain:
            raise UserError(
                f"{name} = {value!r} {asked}: it needs an accumulator for every weight, and there "
                f"are none; use the folded core, or leave {name} out"
            )
    if plan.rounding == "residual" and task.asked_rounding == "auto":
        raise UserError(
            f"weight_bits = {task.file.numbers.weight_bits} {asked}: weights so narrow carry what "
            "rounding drops in accumulators, and there are none; use 16 bits, or "
            "rounding = 'stochastic'"
        )
    core = task.file.core
    for name, text, needless in (
        ("accumulators", "true", core.accumulators is True),
        ("tau_theta_max", core.tau_theta_max, (core.tau_theta_max or 1) > 1),
    ):
        if needless:
            raise UserError(
                f"{name} = {text} {asked}: the update of every step is made by itself and there "
                f"are no accumulators; leave {name} out, or use schedule = '{SEQUENTIAL}'"
            )


def schedule_text(schedule: str) -> str:
    """Before another part of a line; empty for what a core does if nothing is said."""
    return "" if schedule == SEQUENTIAL else f"{schedule}, "


def keeping_period(task: Task) -> int:
    """Checkpoints every so many steps, or a multiple of it, do not change the run.

    1 but for a pipelined schedule: there training ends at each, and with it every update is made,
    so it must end there in any case, for an evaluation.  A board goes on from whole periods of
    tau_x and tau_p only.
    """
    settings = task.settings()
    if not settings.update_delay:
        return 1
    return lcm(task.eval_every, settings.tau_x, settings.tau_p)


def check_keeping(task: Task, every: int) -> None:
    """Raise UserError where checkpoints every so many steps would change the run."""
    if every % (period := keeping_period(task)):
        settings = task.settings()
        parts = [f"eval_every = {task.eval_every}"]
        parts += [f"{n} = {v}" for n in ("tau_x", "tau_p") if (v := getattr(settings, n)) > 1]
        raise UserError(
            f"--checkpoint-every {every} with schedule = '{PIPELINED}': a checkpoint makes the "
            "updates under way, and between two evaluations that would change the run; use a "
            f"multiple of {period} ({', '.join(parts)})"
        )
