"""`mgd train`: train a task, show how it goes, leave a run folder."""

from __future__ import annotations

from pathlib import Path

import click

from host.run_folder import check_folder, default_folder, write_run
from host.task import Task
from host.training import RunResult, run_training
from scripts.backends import open_session
from scripts.progress import make_reporter


@click.command()
@click.argument("task_name", metavar="TASK_OR_TOML")
@click.option(
    "--backend",
    default="sim",
    show_default=True,
    metavar="sim|golden|PORT",
    help="The simulated board, the golden model in this process, or a board's serial port.",
)
@click.option(
    "--baud", type=click.IntRange(min=1), metavar="N", help="A board's rate.  [default: found]"
)
@click.option("--method", metavar="wp|np", help="Perturb weights or nodes.")
@click.option("--core", metavar="folded|spatial", help="Which core.  Default: the task's.")
@click.option("--lanes", type=int, metavar="P", help="Lanes of the core.")
@click.option("--tau-theta", type=int, metavar="N", help="Steps between updates of the weights.")
@click.option("--steps", type=int, metavar="N", help="Most training steps.")
@click.option("--target", type=float, metavar="ACC", help="Stop at this test accuracy, 0 to 1.")
@click.option("--seed", type=int, metavar="S", help="Seed of weights, signs and sample order.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Run folder, which must be new or empty.  [default: runs/TASK-METHOD-BACKEND-seedS-n]",
)
def train(
    task_name: str,
    backend: str,
    baud: int | None,
    method: str | None,
    core: str | None,
    lanes: int | None,
    tau_theta: int | None,
    steps: int | None,
    target: float | None,
    seed: int | None,
    out: Path | None,
) -> None:
    """Train TASK_OR_TOML: a built-in task such as xor or digits, or your own TOML file.

    Ctrl-C stops after the steps up to the next evaluation and keeps what was reached.
    """
    task = Task.load(task_name).with_overrides(
        method=method,
        core=core,
        lanes=lanes,
        tau_theta=tau_theta,
        steps=steps,
        target=target,
        seed=seed,
    )
    # What can fail before a long build and a long run should.
    check_folder(out or _default(task, backend))
    for note in task.prepared.notes:
        click.echo(f"note: {note}")
    with open_session(task, backend, baud) as session, make_reporter() as reporter:
        result = run_training(session, task, reporter)
    # Asked again: another run may have taken the free name meanwhile.
    folder = write_run(out or _default(task, backend), result)
    click.echo(report(result, folder))


def _default(task: Task, backend: str) -> Path:
    return default_folder(task.name, task.method, backend, task.seed)


def report(result: RunResult, folder: Path) -> str:
    """The lines at the end of a run."""
    if result.target is None:
        target = "no target set"
    elif result.target_reached_at_step is None:
        target = f"target {100 * result.target:g} % not reached"
    else:
        target = f"target {100 * result.target:g} % reached at {result.target_reached_at_step:,}"
    if result.interrupted:
        target += ", interrupted"
    method = "node perturbation" if result.method == "np" else "weight perturbation"
    counters = result.counters
    lines = [
        f"{result.task} ({result.network.describe()}) on backend {result.backend}, "
        f"{result.lanes} lanes, {method}, seed {result.seed}",
        f"  accuracy   {100 * result.accuracy:.2f} %, cost {result.cost:.4g} (test)",
        f"  steps      {result.steps:,}, {target}",
        f"  time       {result.wall_seconds:.1f} s, "
        f"{result.steps / max(result.wall_seconds, 1e-9):,.0f} steps/s on this machine",
    ]
    if result.clocks_per_step is not None:
        lines.append(
            f"  clocks     {result.clocks_per_step:.1f} per step, {counters.clocks:,} in all"
        )
    if counters.weight_saturations or counters.activation_saturations:
        lines.append(
            f"  saturated  {counters.weight_saturations:,} weights, "
            f"{counters.activation_saturations:,} activations"
        )
    if counters.link_errors:
        lines.append(f"  link       {counters.link_errors} frames repeated")
    lines.append(f"  written    {folder}")
    return "\n".join(lines)
