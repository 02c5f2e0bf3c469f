"""What tests of the simulated board share: its cache, small tasks, and `mgd` as a process."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np

from mgd.api.backends import sample_words
from mgd.boards.simulated import board as simulated
from mgd.host.task.task import Task
from mgd.rtl.core_kinds import config_for
from tests.support.paths import ROOT

CACHE = ROOT / "build" / "test-cache"
# Not the user's cache; kept between runs and shared by the workers, as a compile takes seconds.
os.environ["MGD_CACHE"] = str(CACHE)

WAIT_SECONDS = 300
"""Longer than anything takes on a busy machine; only a hang reaches it."""

XOR = Task.load("xor")

XOR_TOML = """
[task]
name = "mine"
[data]
source = "xor"
[network]
layers = [2, 2, 1]
"""


TABLE_TOML = """
[task]
name = "table"
[data]
source = "t.csv"
[network]
layers = [3, 5, 4]
hidden = "relu"
cost = "cross_entropy"
[training]
method = "wp"
difference = "forward"
rounding = "residual"
delta_exp = 4
eta_exp = 6
tau_x = 2
tau_theta = 3
steps = 60
eval_every = 20
seed = 5
"""
"""Everything that xor is not: forward, weight perturbation, accumulators, odd layers."""


def table_task(folder: Path) -> Task:
    """TABLE_TOML, written to `folder` with the data that it names."""
    random = np.random.default_rng(7)
    rows = random.normal(size=(40, 3))
    labels = (rows[:, 0] > 0) * 2 + (rows[:, 1] > 0)
    lines = [",".join(f"{x:.3f}" for x in row) for row in rows]
    text = "".join(f"{line},{label}\n" for line, label in zip(lines, labels, strict=True))
    (folder / "t.csv").write_text("a,b,c,label\n" + text)
    (folder / "table.toml").write_text(TABLE_TOML)
    return Task.load(folder / "table.toml")


built = functools.cache(simulated.build)
"""simulated.build without making the same Verilog again, which takes two seconds."""


def start_board(
    task: Task, lanes: int | None = None, trace: Path | None = None
) -> simulated.SimulatedBoard:
    """A running board for `task`; close() it."""
    with mock.patch.object(simulated, "build", built):
        return simulated.start(
            config_for(task.with_overrides(lanes=lanes).core_layout()), sample_words(task), trace
        )


def mgd_command(*args: object) -> list[str]:
    """The command line of `mgd`, whether it is installed or not."""
    return [sys.executable, "-m", "mgd.scripts.cli", *map(str, args)]


def mgd_environment(**changes: str) -> dict[str, str]:
    """The environment for mgd_command in any working folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def mgd(*args: object, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `mgd` to its end; `changes` are environment variables."""
    return subprocess.run(
        mgd_command(*args),
        cwd=cwd,
        env=mgd_environment(**changes),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        stdin=subprocess.DEVNULL,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a run that ended with exit code 2."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr
