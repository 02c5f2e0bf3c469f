"""`mgd soak`: train repeatedly with faults in link, board and host, and compare the weights."""

from __future__ import annotations

import random
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from mgd.api.backends import sample_words, say
from mgd.boards.simulated import board as simulated
from mgd.golden_model.errors import UserError
from mgd.host.link.faults import FaultyTransport, HostDiedError, Rates
from mgd.host.link.transport import SerialTransport
from mgd.host.runs.checkpoint import NAME as CHECKPOINT
from mgd.host.runs.checkpoint import Checkpoint, load, save
from mgd.host.runs.folder import check_json, package_version, write_json
from mgd.host.runs.progress import Progress
from mgd.host.runs.training import Checkpointer, RunResult, run_training
from mgd.host.session.board import BoardSession
from mgd.host.session.golden import GoldenSession
from mgd.host.task.pipelining import checkpoint_period
from mgd.host.task.task import Task
from mgd.rtl.core_kinds import config_for

STEPS = 200
RATE_EXPONENTS = (-5.0, -2.0)
"""Per byte, 10 to a power drawn from here, shared out among the kinds of noise."""
EVENTS_MAX = 3
FRAMES = 250
"""Each event is drawn for one of so many frames of the host; a quiet round has about as many."""
EVENTS = ("host killed", "board reset", "port gone", "disk full", "second host")
TRIES_MAX = 40
"""Programs that a round may need, the one that ends it included."""


@dataclass
class Round:
    """The result of one run."""

    seed: int
    rates: Rates
    every: int
    events: list[str]
    """Those that came to happen."""
    steps: int = STEPS
    errors: list[str] = field(default_factory=list)
    """With which programs ended, before the one that came through."""
    faults: dict[str, int] = field(default_factory=dict)
    link_errors: int = 0
    link_repeats: int = 0
    board_losses: int = 0
    seconds: float = 0.0
    same: bool = False
    """Whether the weights are those of the undisturbed run."""


class _FullDiskError(UserError):
    pass


class _Soak:
    """One round: a run on a board, and its faults."""

    def __init__(self, task: Task, board: simulated.SimulatedBoard, seed: int) -> None:
        self.task, self.board = task, board
        self.random = random.Random(seed)
        total = 10 ** self.random.uniform(*RATE_EXPONENTS)
        shares = [self.random.random() for _ in range(5)]
        parts = [total * share / sum(shares) for share in shares]
        names = ("flip", "drop", "duplicate", "swap", "truncate")
        silence = self.random.choice((0.0, 0.002))
        events = self.random.choices(EVENTS, k=self.random.randint(0, EVENTS_MAX))
        self.due = sorted((self.random.randrange(FRAMES), event) for event in events)
        period = checkpoint_period(task.spec)
        self.frames = 0
        self.disk_full = False
        self.round = Round(
            seed,
            Rates(**dict(zip(names, parts, strict=True)), silence=silence),
            max(self.random.randint(7, 60) // period, 1) * period,
            [],
            task.spec.steps,
        )

    def frame(self, transport: FaultyTransport) -> None:
        """Called before each frame that the host sends: causes the faults that are due."""
        self.frames += 1
        while self.due and self.frames >= self.due[0][0]:
            _, event = self.due.pop(0)
            self.round.events.append(f"{event} at frame {self.frames}")
            self.happen(event, transport)

    def happen(self, event: str, transport: FaultyTransport) -> None:
        if event == "host killed":
            transport.cut_after(self.random.randrange(40))
        elif event == "board reset":
            self.board.reset()
        elif event == "port gone":
            transport.vanish()
        elif event == "disk full":
            self.disk_full = True
        else:
            try:
                SerialTransport(self.board.port).close()
            except UserError:
                return  # refused, as it must be
            raise AssertionError("a second program could open the port")

    def go(self, folder: Path) -> RunResult | None:
        """Until a program comes through; None where none did."""
        begin = time.monotonic()
        path = folder / CHECKPOINT
        for _ in range(TRIES_MAX):
            transport = FaultyTransport(
                SerialTransport(self.board.port), self.round.rates, self.random.getrandbits(32)
            )
            transport.on_write = lambda transport=transport: self.frame(transport)  # type: ignore[misc]
            try:
                result = self._program(path, transport)
                self.round.seconds = time.monotonic() - begin
                return result
            except HostDiedError:
                self.round.errors.append("the host was killed")
            except UserError as error:
                if "\n" in str(error):
                    raise AssertionError(f"an error of more than a line: {error}") from error
                self.round.errors.append(str(error))
            finally:
                transport.close()
                for name, count in transport.counts.items():
                    self.round.faults[name] = self.round.faults.get(name, 0) + count
        self.round.seconds = time.monotonic() - begin
        return None

    def _program(self, path: Path, transport: FaultyTransport) -> RunResult:
        """One `mgd train` or `mgd resume`."""
        progress: Progress | None = None
        task = self.task
        start = Checkpoint.of(task, "sim", self.round.every, None)
        if path.exists():
            start = load(path)
            task, progress = start.task(), start.progress

        def keep(now: Progress) -> None:
            if self.disk_full:
                self.disk_full = False
                raise _FullDiskError("no space left on the device; free some")
            save(path, start.at(now))

        session = BoardSession(transport, task.spec.network, "sim")
        checkpointer = Checkpointer(self.round.every, keep)
        result = run_training(session, task, checkpointer=checkpointer, progress=progress)
        self.round.link_errors = result.counters.link_errors
        self.round.link_repeats = result.counters.link_repeats
        self.round.board_losses = result.board_losses
        return result


@click.command()
@click.argument("task_name", metavar="TASK_OR_TOML", default="xor")
@click.option("--rounds", type=click.IntRange(min=1), default=10, show_default=True, metavar="N")
@click.option("--steps", type=click.IntRange(min=1), default=STEPS, show_default=True, metavar="N")
@click.option("--seed", type=int, metavar="S", help="Of the first round.  [default: drawn, shown]")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the rounds for machines.",
)
def soak(task_name: str, rounds: int, steps: int, seed: int | None, json_file: Path | None) -> int:
    """Train TASK_OR_TOML on the simulated board while link, board and host fail at random.

    Bytes are flipped, lost, doubled, swapped and cut off both ways, the line falls silent, the host
    is killed within a frame, the board is reset, the port vanishes, the disk is full, a second
    program wants the port.  Each round's final weights and curve must be those of a run that
    nothing disturbed, and every program that ended before must have said why in one line.  Exit
    code 0 when all are, 1 otherwise; --seed with the seed of a round repeats what was drawn for it.
    """
    task = Task.load(task_name).with_overrides(steps=steps, eval_every=max(1, steps // 4))
    if json_file:
        check_json(json_file)
    first = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    expected = run_training(GoldenSession(task.spec.network), task)
    done: list[Round] = []
    board = simulated.start(config_for(task.core_layout()), sample_words(task), notify=say)
    try:
        for number in range(rounds):
            one = _Soak(task, board, first + number)
            with tempfile.TemporaryDirectory(prefix="mgd-soak-") as folder:
                result = one.go(Path(folder))
            one.round.same = result is not None and _same(result, expected)
            done.append(one.round)
            click.echo(_line(one.round))
    finally:
        board.close()
    if json_file:
        write_json(json_file, _summary(task, first, done))
    bad = [r.seed for r in done if not r.same]
    faults = sum(sum(r.faults.values()) for r in done)
    click.echo(
        f"{len(done)} rounds, seed {first}: {faults:,} faults, "
        f"{sum(len(r.errors) for r in done)} programs ended early, "
        + (f"WRONG WEIGHTS with seed {', '.join(map(str, bad))}" if bad else "all weights right")
    )
    return 1 if bad else 0


def _same(result: RunResult, expected: RunResult) -> bool:
    curves = [
        [(p.step, p.train_cost, p.test_accuracy, p.test_cost) for p in one.curve]
        for one in (result, expected)
    ]
    pairs = zip(result.weights, expected.weights, strict=True)
    return curves[0] == curves[1] and all(np.array_equal(a, b) for a, b in pairs)


def _line(one: Round) -> str:
    noise = sum(asdict(one.rates).values()) - one.rates.silence
    text = (
        f"seed {one.seed:<12} noise {noise:.0e}, {sum(one.faults.values()):5} faults, "
        f"{one.link_repeats:4} repeats, {len(one.errors):2} restarts, {one.board_losses} losses, "
        f"{one.seconds:5.1f} s  {'right' if one.same else 'WRONG'}"
    )
    return text + (f"  ({'; '.join(one.events)})" if one.events else "")


def _summary(task: Task, seed: int, rounds: list[Round]) -> dict[str, Any]:
    return {
        "task": task.name,
        "backend": "sim",
        "lanes": task.spec.core.lanes,
        "seed": seed,
        "version": package_version(),
        "rounds": [asdict(one) for one in rounds],
    }
