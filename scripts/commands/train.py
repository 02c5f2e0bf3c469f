"""`mgd train` and `mgd resume`: train a task, show its progress, write a run folder."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mgd.api.backends import open_session
from mgd.golden_model.errors import UserError
from mgd.golden_model.learning import LEARNING
from mgd.golden_model.settings import PIPELINED
from mgd.host.runs.checkpoint import NAME as CHECKPOINT
from mgd.host.runs.checkpoint import Checkpoint, load, save
from mgd.host.runs.folder import check_folder, default_folder, make_folder, write_run
from mgd.host.runs.live import LiveLog, Tee
from mgd.host.runs.progress import ACCURACY, R2, Progress, score_name, score_text, target_text
from mgd.host.runs.training import Checkpointer, RunResult, run_training
from mgd.host.task.pipelining import check_checkpoints
from mgd.host.task.task import Task
from mgd.scripts.common.fix_option import fix_option
from mgd.scripts.common.progress import make_reporter
from mgd.scripts.common.schedule_option import schedule_option

EXIT_INTERRUPTED = 130
SHOWN = 12
"""So many classes are named."""

backend_help = (
    "The simulated board, the golden model in this process, a board's serial port, or a recording "
    "in place of a board."
)
every_option = click.option(
    "--checkpoint-every",
    "every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the run's state in its folder every N steps, for `mgd resume`.",
)

record_option = click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Take down all bytes of the link, both ways, for --backend replay:FILE.",
)


@click.command()
@click.argument("task_name", metavar="TASK_OR_TOML")
@click.option(
    "--backend",
    default="sim",
    show_default=True,
    metavar="sim|golden|PORT|replay:FILE",
    help=backend_help,
)
@click.option(
    "--baud", type=click.IntRange(min=1), metavar="N", help="A board's rate.  [default: found]"
)
@click.option("--method", metavar="wp|np", help="Perturb weights or nodes.")
@click.option("--core", metavar="folded|spatial", help="Which core.  Default: the task's.")
@schedule_option
@click.option("--lanes", type=int, metavar="P", help="Lanes of the core.")
@fix_option
@click.option("--tau-theta", type=int, metavar="N", help="Steps between updates of the weights.")
@click.option("--tau-x", type=int, metavar="N", help="Steps that a sample is used for.")
@click.option(
    "--resident", type=int, metavar="N", help="Stream: samples in memory at a time.  0: all of them"
)
@click.option("--passes", type=int, metavar="K", help="Stream: passes over a resident sample.")
@click.option("--steps", type=int, metavar="N", help="Most training steps.")
@click.option(
    "--target",
    type=float,
    metavar="ACC",
    help="Stop at this accuracy, 0 to 1, on the validation samples, or the test samples "
    "where there are none.",
)
@click.option("--seed", type=int, metavar="S", help="Seed of weights, signs and sample order.")
@every_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Run folder, which must be new or empty.  [default: runs/TASK-METHOD-BACKEND-seedS-n]",
)
@record_option
def train(
    task_name: str,
    backend: str,
    baud: int | None,
    method: str | None,
    core: str | None,
    schedule: str | None,
    lanes: int | None,
    fixed: list[str] | None,
    tau_theta: int | None,
    tau_x: int | None,
    resident: int | None,
    passes: int | None,
    steps: int | None,
    target: float | None,
    seed: int | None,
    every: int | None,
    out: Path | None,
    record: Path | None,
) -> int:
    """Train TASK_OR_TOML: a built-in task such as xor or digits, or your own TOML file.

    Ctrl-C stops after the steps up to the next evaluation and keeps what was reached; `mgd resume`
    goes on from there.
    """
    task = Task.load(task_name).with_overrides(
        method=method,
        core=core,
        schedule=schedule,
        lanes=lanes,
        fixed=fixed,
        tau_theta=tau_theta,
        tau_x=tau_x,
        resident=resident,
        passes=passes,
        steps=steps,
        target=target,
        seed=seed,
    )
    # Errors should appear before a long build and a long run.
    planned = out or _default(task, backend)
    check_folder(planned)
    for note in task.prepared.notes:
        click.echo(f"note: {note}")
    if every is not None:
        check_checkpoints(task.spec, every)
        folder = make_folder(planned)
        checkpoint = Checkpoint.of(task, backend, every, None)
        return _kept(task, baud, folder, checkpoint, record)
    with LiveLog(planned, description(task, backend)) as live:
        with open_session(task, backend, baud, record) as session, make_reporter() as shown:
            result = run_training(session, task, Tee(shown, live))
        last = None
        if result.progress is not None:
            last = Checkpoint.of(task, backend, None, result.progress)
        # Asked again: another run may have taken the free name meanwhile.
        live.folder = write_run(out or _default(task, backend), result, last)
    click.echo(report(result, live.folder))
    return 0


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--backend", metavar="sim|golden|PORT", help=f"{backend_help}  [default: as before]")
@click.option(
    "--baud", type=click.IntRange(min=1), metavar="N", help="A board's rate.  [default: found]"
)
@click.option("--lanes", type=int, metavar="P", help="Lanes of the core.  [default: as before]")
@every_option
@record_option
def resume(
    run: Path,
    backend: str | None,
    baud: int | None,
    lanes: int | None,
    every: int | None,
    record: Path | None,
) -> int:
    """Go on with the interrupted run in folder RUN, from its last checkpoint.

    The result is bit for bit that of a run that was not interrupted, also on another backend or
    with other lanes.  What a board still does for the program that was interrupted is stopped.
    """
    checkpoint = load(run / CHECKPOINT)
    task = checkpoint.task().with_overrides(lanes=lanes)
    checkpoint = replace(
        checkpoint, backend=backend or checkpoint.backend, every=every or checkpoint.every
    )
    if checkpoint.every is not None:
        check_checkpoints(task.spec, checkpoint.every)
    return _kept(task, baud, run, checkpoint, record)


def _kept(
    task: Task, baud: int | None, folder: Path, checkpoint: Checkpoint, record: Path | None
) -> int:
    """Train with checkpoints in `folder`, which is the run's own."""
    path, backend = folder / CHECKPOINT, checkpoint.backend
    begin = checkpoint.progress

    def keep(progress: Progress) -> None:
        nonlocal checkpoint
        save(path, checkpoint.at(progress))
        checkpoint = checkpoint.at(progress)

    checkpointer = Checkpointer(checkpoint.every, keep) if checkpoint.every else None
    try:
        with LiveLog(folder, description(task, backend)) as live:
            with open_session(task, backend, baud, record) as session, make_reporter() as shown:
                result = run_training(
                    session, task, Tee(shown, live), checkpointer=checkpointer, progress=begin
                )
            last = checkpoint.at(result.progress) if result.progress else None
            live.folder = write_run(folder, result, last, own=True)
    except (UserError, KeyboardInterrupt) as error:
        if checkpoint.progress is None:
            with suppress(OSError):
                folder.rmdir()  # nothing was written yet
            raise
        again = f"`mgd resume {folder}` continues from step {checkpoint.progress.state.step:,}"
        if isinstance(error, UserError):
            raise UserError(f"{error}; {again}") from None
        click.echo(f"interrupted; {again}", err=True)
        return EXIT_INTERRUPTED
    click.echo(report(result, folder))
    return 0


def description(task: Task, backend: str) -> dict[str, Any]:
    """A run's description, for `mgd watch`."""
    spec = task.spec
    return {
        "task": task.name,
        "network": spec.network.describe(),
        "parameters": spec.network.parameters,
        "method": spec.method,
        "backend": backend,
        "lanes": spec.core.lanes,
        "schedule": spec.schedule,
        "seed": spec.seed,
        "steps": spec.steps,
        "target": spec.target,
        "score": R2 if spec.network.regression else ACCURACY,
        "watched": task.prepared.watched,
    }


def _late(result: RunResult) -> str:
    late = result.settings.update_delay
    return f", {PIPELINED}: updates {late} steps late" if late else ""


def _default(task: Task, backend: str) -> Path:
    return default_folder(task.name, task.spec.method, backend, task.spec.seed)


def _fit(result: RunResult) -> list[str]:
    """Of a regression: the error of each target, in its units."""
    if result.fit is None:
        return []
    each = [f"{name} {rmse:.4g}" for name, rmse in zip(result.class_names, result.fit.rmse,
                                                      strict=True)]  # fmt: skip
    return [f"  RMSE       {', '.join(each[:SHOWN])}{', …' if len(each) > SHOWN else ''} (test)"]


def _samples(result: RunResult) -> list[str]:
    """How many samples, and of each class in the test part."""
    if not result.samples:
        return []
    parts = [f"{counts['samples']:,} {name}" for name, counts in result.samples.items()]
    each = [f"{n} {name}" for name, n in result.samples["test"].items() if name != "samples"]
    line = f"  samples    {', '.join(parts)}"
    if each:
        line += f" ({', '.join(each[:SHOWN])}{', …' if len(each) > SHOWN else ''})"
    if result.kept_step is None:
        return [line]
    return [
        line,
        f"  weights    those of step {result.kept_step:,}, the best on the {result.watched} "
        "samples (keep = 'best')",
    ]


def report(result: RunResult, folder: Path) -> str:
    """The lines at the end of a run."""
    if result.target is None:
        target = "no target set"
    else:
        at = result.target_reached_at_step
        wanted = target_text(result.score, result.target)
        target = f"target {wanted} {'not reached' if at is None else f'reached at {at:,}'}"
        if result.watched != "test":
            target += f" on the {result.watched} samples"
    if result.interrupted:
        target += ", interrupted"
    method = LEARNING[result.method].title
    counters = result.counters
    lines = [
        f"{result.task} ({result.network.describe()}) on backend {result.backend}, "
        f"{result.lanes} lanes, {method}, seed {result.seed}{_late(result)}",
        f"  {score_name(result.score):<9}  {score_text(result.score, result.accuracy)}, "
        f"cost {result.cost:.4g} (test)",
        *_fit(result),
        *_samples(result),
        f"  steps      {result.steps:,}, {target}",
        f"  time       {result.wall_seconds:.1f} s, "
        f"{result.steps / max(result.wall_seconds, 1e-9):,.0f} steps/s on this machine",
    ]
    if result.clocks_per_step is not None:
        lines.append(
            f"  clocks     {result.clocks_per_step:.1f} per step, {counters.clocks:,} in all"
        )
    if result.wait_share is not None:
        lines.append(
            f"  stream     {result.settings.resident} samples resident, the core waited "
            f"{100 * result.wait_share:.1f} % of its time for more: bound by the {result.bound_by}"
        )
    if counters.weight_saturations or counters.activation_saturations:
        lines.append(
            f"  saturated  {counters.weight_saturations:,} weights, "
            f"{counters.activation_saturations:,} activations"
        )
    if counters.link_errors or counters.link_repeats:
        lines.append(
            f"  link       {counters.link_errors:,} damaged frames, {counters.link_repeats:,} "
            "requests sent again"
        )
    if result.board_losses:
        lines.append(f"  board      lost the run {result.board_losses} times, loaded again")
    if result.progress is not None:
        lines.append(f"  continue   mgd resume {folder}")
    if result.not_resumable is not None:
        lines.append(f"  final      {result.not_resumable}")
    lines.append(f"  written    {folder}")
    return "\n".join(lines)
