"""Pipelining: how it is shown, and at which steps a run can be saved."""

from __future__ import annotations

from math import lcm

from mgd.golden_model import rules as model_rules
from mgd.golden_model.run_spec import RunSpec
from mgd.golden_model.settings import SEQUENTIAL
from mgd.host.task import rules


def schedule_text(schedule: str) -> str:
    """Before another part of a line; empty for the default."""
    return "" if schedule == SEQUENTIAL else f"{schedule}, "


def checkpoint_period(run: RunSpec) -> int:
    """Checkpoints every so many steps, or a multiple of it, do not change the run.

    1 but for a pipelined schedule: there training ends at each, and with it every update is made,
    so it must end there in any case, for an evaluation.  A board continues from whole periods of
    tau_x and tau_p only.
    """
    settings = run.settings
    if not settings.update_delay:
        return 1
    return lcm(run.eval_every, settings.tau_x, settings.tau_p)


def check_checkpoints(run: RunSpec, every: int) -> None:
    """Raise UserError where checkpoints every so many steps would change the run."""
    parts = [f"eval_every = {run.eval_every}"]
    parts += [f"{n} = {v}" for n in ("tau_x", "tau_p") if (v := getattr(run.settings, n)) > 1]
    model_rules.check(
        rules.CHECKPOINTS, every=every, period=checkpoint_period(run), parts=", ".join(parts)
    )
