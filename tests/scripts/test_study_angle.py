"""`mgd study angle`: what it measures agrees with theory, and its files are whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mgd.golden_model.network import Network
from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.settings import Settings
from mgd.scripts.cli import main

FINE = ["--fine", "--delta-exp", "8"]


def study(*args: str):
    return CliRunner().invoke(main, ["study", "angle", *args])


def rows_of(path: Path, *args: str) -> list[dict]:
    done = study("--json", str(path / "a.json"), *args)
    assert done.exit_code == 0, done.output
    return json.loads((path / "a.json").read_text())["rows"]


@pytest.mark.parametrize(
    ("name", "tolerance"), [("random", 0.1), ("sequential", 0.1), ("walsh", 0.25), ("sine", 0.3)]
)
@pytest.mark.parametrize("tau", [8, 24, 50, 64, 96])
def test_theory_of_a_linear_cost(name, tolerance, tau):
    """E‖G‖² − ‖g‖² and the mean cosine where ΔC is s·g exactly, over 600 seeds and all of g's
    directions.  Deterministic codes keep to it less well than random signs: neighbours in
    frequency stay in step for long."""
    network, seeds = Network((7, 5, 3)), range(1, 601)
    total = network.parameters
    numbering = Settings("wp").numbering(network)
    kind = PERTURBATIONS[name](network, numbering, seeds)
    g = np.random.default_rng(tau).normal(0, 1, (len(seeds), total))
    estimate = np.zeros_like(g)
    for _ in range(tau):
        values = [v.reshape(len(seeds), -1) for v in kind.draw() if v is not None]
        s = np.concatenate(values, axis=1) * 2.0**-kind.frac
        estimate += s * (s * g).sum(axis=1, keepdims=True)
    estimate /= tau * kind.mean_square(total)
    excess = (estimate**2).sum() / (g**2).sum() - 1
    lengths = np.linalg.norm(estimate, axis=1) * np.linalg.norm(g, axis=1)
    cosine = ((estimate * g).sum(axis=1) / np.maximum(lengths, 1e-9)).mean()
    want = kind.excess(total, tau)
    print(f"{name} τ={tau}: excess {excess:.3f} of {want:.3f}, cos {cosine:.4f}")
    assert abs(excess - want) <= tolerance * want + (0.02 if name == "sine" else 1e-9)
    assert abs(cosine - (1 + want) ** -0.5) < 0.035


@pytest.mark.parametrize("scope", ["network", "layer"])
@pytest.mark.parametrize("method", ["wp", "np"])
def test_random_signs_are_as_theory_says(tmp_path, method, scope):
    """±0.03 of the cosine from τ = 16 on, ±20 % of the mean square from τ = 32 on."""
    rows = rows_of(
        tmp_path, "--family", "random", "--method", method, "--scope", scope, "--steps", "1024",
        "--seeds", "256", *FINE,
    )  # fmt: skip
    assert [r["tau"] for r in rows][-1] == 1024
    for r in rows:
        if r["tau"] >= 16:
            assert abs(r["cos"] - r["cos_theory"]) < 0.03, r
        if r["tau"] >= 32:
            assert abs(r["square"] / r["square_theory"] - 1) < 0.2, r
    n = {"wp": 220, "np": 8}[method]
    assert rows[0]["quantities"] == n
    if scope == "network":
        at = next(r for r in rows if r["tau"] == 64)
        assert at["square_theory"] == pytest.approx(1 + (n - 1) / 64)


@pytest.mark.parametrize(
    ("name", "least"), [("sequential", 0.9999), ("walsh", 0.995), ("sine", 0.99), ("square", 0.9)]
)
def test_a_whole_period_gives_the_gradient(tmp_path, name, least):
    """Square waves are correlated: their mean stays off the gradient."""
    rows = rows_of(tmp_path, "--family", name, "--steps", "512", "--seeds", "16", *FINE)
    period = PERTURBATIONS[name].period(220)
    at = next(r for r in rows if r["tau"] == period)
    assert at["cos"] >= least
    assert (at["cos"] < 0.97) == (name == "square")
    assert abs(at["square"] - 1) < (0.3 if name == "square" else 0.02)


def test_output_and_files(tmp_path):
    plot, file = tmp_path / "a.png", tmp_path / "a.json"
    done = study("xor", "--steps", "64", "--seeds", "2", "--plot", str(plot), "--json", str(file))
    assert done.exit_code == 0, done.output
    for part in [
        "xor (2-2-1), wp, antithetic, scope network, N = 9",
        "float backprop",
        *PERTURBATIONS,
    ]:
        assert part in done.output
    assert plot.read_bytes()[:4] == b"\x89PNG"
    values = json.loads(file.read_text())
    assert values["bench"] == "study angle"
    assert {r["perturbation"] for r in values["rows"]} == set(PERTURBATIONS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.png"]


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--plot", "a.bmp"], ["a.bmp", ".png"]),
        (["--plot", "none/a.png"], ["none", "no folder"]),
        (["--json", "none/a.json"], ["none", "no folder"]),
        (["--family", "chirp"], ["chirp", "walsh"]),
        (["nist7x7_easy", "--delta-exp", "12"], ["cost_frac >= 16"]),
        (["none.toml"], ["none.toml"]),
    ],
)
def test_mistakes(tmp_path, monkeypatch, args, parts):
    monkeypatch.chdir(tmp_path)
    done = study(*args)
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    for part in parts:
        assert part in done.output
    assert not list(tmp_path.iterdir())
