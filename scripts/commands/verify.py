"""`mgd verify`: the core and the golden model in lockstep, every number compared."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click

from mgd.api.backends import for_core, sample_words, say
from mgd.boards.families.registry import COUNTED
from mgd.boards.simulated import board as simulated
from mgd.boards.simulated.trace import Trace
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.trainer import Trainer
from mgd.host.runs.folder import check_json, package_version, write_json
from mgd.host.session.board import BoardSession
from mgd.host.task.pipelining import schedule_text
from mgd.host.task.task import Task
from mgd.protocol.core_kinds import KINDS
from mgd.rtl.core_kinds import config_for
from mgd.rtl.lockstep import Lockstep, MismatchError
from mgd.scripts.commands.verify_netlist import Comparison, compare, prepared
from mgd.scripts.common.fix_option import fix_option
from mgd.scripts.common.schedule_option import schedule_option

CHUNK_EVENTS = 100_000
"""Probe events between two reads of the trace: bounds the file's size."""
QUIET_SECONDS = 10
"""The board writes its trace out when it falls idle; this long without news is the end."""


@click.command()
@click.argument("task_name", metavar="TASK_OR_TOML")
@click.option("--steps", type=click.IntRange(min=1), default=200, show_default=True, metavar="N")
@click.option("--core", metavar="folded|spatial", help="Which core.  Default: the task's.")
@schedule_option
@click.option("--lanes", type=int, metavar="P", help="Lanes of the core.")
@click.option("--method", metavar="wp|np", help="Perturb weights or nodes.")
@fix_option
@click.option("--seed", type=int, metavar="S", help="Seed of weights, signs and sample order.")
@click.option(
    "--netlist",
    "family",
    type=click.Choice(list(COUNTED)),
    help="Simulate the synthesised netlist of this FPGA family in place of the design.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the result for machines.",
)
def verify(
    task_name: str,
    steps: int,
    core: str | None,
    schedule: str | None,
    lanes: int | None,
    method: str | None,
    fixed: list[str] | None,
    seed: int | None,
    family: str | None,
    json_file: Path | None,
) -> int:
    """Train TASK_OR_TOML in the simulated board and in the golden model, side by side.

    Compared, as they pass and without a flush between steps: C0, C+ and C-, D, every
    accumulator and every weight written; then the weights read back, the counters and an
    evaluation.  Exit code 0 when all are equal, 1 at the first difference.

    With --netlist, on the first samples of the task: counters and weights after every few steps,
    then at the end of two runs that are not interrupted, the second one with the other method
    and difference; and an evaluation after each.
    """
    task = Task.load(task_name).with_overrides(
        core=core,
        schedule=schedule,
        lanes=lanes,
        method=method,
        fixed=fixed,
        seed=seed,
        steps=steps,
    )
    for_core(task)
    if json_file:
        check_json(json_file)
    difference = None
    compared: Lockstep | Comparison
    try:
        if family:
            compared = Comparison()
            compare(task, prepared(task, family, compared, say), steps, compared)
        else:
            compared = _lockstep(task)
            with tempfile.TemporaryDirectory(prefix="mgd-verify-") as folder:
                _run(task, steps, compared, Path(folder) / "trace")
    except MismatchError as mismatch:
        difference = mismatch
    result = {
        "task": task.name,
        "backend": f"netlist-{family}" if family else "sim",
        "method": task.spec.method,
        "lanes": task.spec.core.lanes,
        "schedule": task.spec.schedule,
        "seed": task.spec.seed,
        "steps": compared.steps,
        "values_compared": compared.values_compared,
        "mismatches": 0 if difference is None else 1,
        "first_difference": None if difference is None else difference.as_dict(),
        "config_digest": task.config_digest(),
        "version": package_version(),
    }
    if isinstance(compared, Comparison):
        result["seconds"] = {name: round(spent, 1) for name, spent in compared.seconds.items()}
    if json_file:
        write_json(json_file, result)
    chosen = task.spec.core
    what = (
        f"{task.name} ({task.spec.network.describe()}), "
        f"{f'{chosen.lanes} lanes' if KINDS[chosen.kind].folds else f'{chosen.kind} core'}, "
        f"{schedule_text(task.spec.schedule)}method {task.spec.method}, "
        f"seed {task.spec.seed}"
    )
    if family:
        what += f", {family} netlist"
    if difference is not None:
        click.echo(f"{what}: DIFFERENT after {compared.values_compared:,} equal values", err=True)
        click.echo(str(difference), err=True)
        return 1
    click.echo(
        f"{what}: {compared.steps:,} steps, {compared.values_compared:,} values compared, "
        "0 mismatches"
    )
    if isinstance(compared, Comparison):
        say(", ".join(f"{name} {spent:.1f} s" for name, spent in compared.seconds.items()))
    return 0


def _lockstep(task: Task) -> Lockstep:
    train, _ = task.datasets()
    network = task.spec.network
    weights = initial_weights(network, task.spec.seed, task.spec.init_gain)
    trainer = Trainer(
        network,
        task.spec.settings,
        train.codes,
        train.labels,
        [w[None] for w in weights],
        [task.spec.seed],
    )
    return Lockstep(config_for(task.core_layout()), trainer)


def _run(task: Task, steps: int, lockstep: Lockstep, trace_file: Path) -> None:
    """Raises MismatchError at the first difference."""
    network, config = task.spec.network, lockstep.config
    train, test = task.datasets()
    trace_file.touch()
    trace = Trace(trace_file, config)
    board = simulated.start(config, sample_words(task), trace_file, say)
    try:
        with BoardSession(board.port, network, backend="sim") as session:
            session.load_samples(train, test, task.spec.settings)
            session.write_weights(initial_weights(network, task.spec.seed, task.spec.init_gain))
            session.start(task.spec.settings, task.spec.seed)
            chunk = max(1, CHUNK_EVENTS // config.lane_words)
            for until in range(chunk, steps + chunk, chunk):
                until = min(until, steps)
                session.train(until)
                _follow(lockstep, trace, lambda until=until: lockstep.steps == until)
                lockstep.train_ended()
                trace.drop_read()
                if sys.stderr.isatty():
                    click.echo(f"\rstep {until:,}/{steps:,}", err=True, nl=until == steps)
            weights = session.read_weights()
            _follow(lockstep, trace, lambda: lockstep.all_written)
            lockstep.finish(weights)
            counters = session.counters()
            for name in ("cost_sum", "weight_saturations", "activation_saturations"):
                expected = int(getattr(lockstep.trainer, name)[0])
                lockstep.equal(name, expected, getattr(counters, name))
            measured = session.evaluate("test")
            correct, cost = lockstep.trainer.evaluate(test.codes, test.labels)
            lockstep.equal("evaluation: correct", int(correct[0]), measured.correct)
            lockstep.equal("evaluation: cost", int(cost[0]), measured.cost_sum)
    finally:
        board.close()


def _follow(lockstep: Lockstep, trace: Trace, done) -> None:
    """Feed events to the lockstep until `done`; raise MismatchError where too few of them come."""
    quiet_since = time.monotonic()
    while not done():
        for event in trace.events():
            lockstep.observe(event)
            quiet_since = time.monotonic()
        if time.monotonic() - quiet_since > QUIET_SECONDS:
            raise MismatchError(lockstep.steps, "no more events came from the core", None, None)
        time.sleep(0.002)
