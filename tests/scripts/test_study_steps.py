"""`mgd study steps`: variants, quartiles, files."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from mgd.host.task.task import Task
from mgd.rtl.core_kinds import config_for
from mgd.rtl.folded.program.step_clocks import step_clocks
from mgd.scripts.cli import main
from mgd.scripts.common.clocks import reckoned_clocks
from mgd.scripts.study.angle import Problem, measured, true_gradient
from mgd.scripts.study.runs import first_steps, runs
from mgd.scripts.study.steps import clocks_per_step, varied


def study(*args: str):
    return CliRunner().invoke(main, ["study", "steps", *args])


def test_rows_are_runs_of_the_variants(tmp_path):
    file, plot = tmp_path / "s.json", tmp_path / "s.svg"
    slow = "eta_exp = 12, difference = 'forward'"
    done = study(
        "nist7x7_easy", "--target", "0.9", "--seeds", "5", "--steps", "1500", "--every", "50",
        "--variant", slow, "--variant", "momentum_exp = 2", "--plot", str(plot),
        "--json", str(file),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = json.loads(file.read_text())["rows"]
    assert [r["variant"] for r in rows] == ["as it is", slow, "momentum_exp = 2"]
    task = Task.load("nist7x7_easy")
    for row, one in zip(
        rows, [task, varied(task, slow), varied(task, "momentum_exp = 2")], strict=True
    ):
        want = first_steps(one, runs(one, [1, 2, 3, 4, 5]), 0.9, 50, 1500)
        assert row["steps"] == want.tolist()
        assert row["reached"] == (want > 0).sum()
        if row["reached"] == 5:
            assert row["median"] == np.median(want)
            assert row["lower_quartile"] == sorted(want)[1]
            assert row["upper_quartile"] == sorted(want)[3]
        clocks = reckoned_clocks(one)
        assert row["clocks_per_step"] == round(clocks, 2)
        if row["median"]:
            assert row["median_clocks"] == round(row["median"] * clocks)
    assert rows[1]["median_clocks"] is None
    assert rows[1]["reached"] == 0
    assert rows[1]["median"] is None
    assert ">1,500" in done.output
    assert b"<svg" in plot.read_bytes()


def test_clocks_that_depend_on_the_sample():
    task = varied(Task.load("nist7x7_easy"), "skip_zeros = true")
    every = step_clocks(config_for(task.core_layout()))
    assert 0.6 * every < clocks_per_step(task) < 0.85 * every
    assert clocks_per_step(varied(task, "optimizer = 'adam'")) is None, "no core has it"


def test_gates_leave_only_the_noise_of_synapses_with_input():
    """One sample of 49 pixels: cos(G, ∇C) is sqrt(τ/(τ+K−1)) with K the open synapses alone."""
    task = Task.load("nist7x7_easy")
    problem = Problem.of(task, "antithetic", "network", fine=True)
    settings = replace(problem.settings, method="wp", delta_exp=8)
    problem = replace(problem, settings=settings)
    truth = np.concatenate(true_gradient(problem))
    pixels = int((problem.codes != 0).sum())
    opened = 4 * (pixels + 1) + 20
    assert opened < 120
    cosines = []
    for gates in (False, True):
        one = replace(problem, settings=replace(settings, gate_zeros=gates))
        t = one.trainer(list(range(1, 65)))
        t.train(64)
        g = np.concatenate(measured(one, t, 64), axis=-1)
        lengths = np.linalg.norm(g, axis=1) * np.linalg.norm(truth)
        cosines.append(((g @ truth) / lengths).mean())
    want = [(64 / (64 + k - 1)) ** 0.5 for k in (220, opened)]
    print(f"{pixels} pixels: cos {cosines}, theory {want}")
    assert np.abs(np.array(cosines) - want).max() < 0.03
    assert cosines[1] > cosines[0] + 0.1


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["xor", "--variant", "eta_exp 3"], ["'eta_exp 3'", "--variant 'eta_exp = 8"]),
        (["xor", "--variant", "eta = 3"], ["'eta'", "eta_exp"]),
        (["xor", "--variant", "momentum_exp = 99"], ["momentum_exp = 99", "at most 16"]),
        (["moons", "--target", "0"], ["target"]),
        (["xor", "--plot", "a.txt"], ["a.txt", ".png"]),
    ],
)
def test_mistakes(tmp_path, monkeypatch, args, parts):
    monkeypatch.chdir(tmp_path)
    done = study(*args)
    assert done.exit_code == 2, done.output
    assert done.output.count("\n") == 1
    for part in parts:
        assert part in done.output
    assert not list(tmp_path.iterdir())
