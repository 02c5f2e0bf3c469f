"""`mgd soak`: its rounds come out right, say what happened, and would say it if not."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from mgd.scripts.commands import soak as soak_module
from mgd.scripts.commands.soak import soak

SEED = 107
"""Its second round has faults of all kinds and programs that end early."""


@pytest.fixture
def run(tmp_path):
    def invoke(*arguments: object):
        return CliRunner().invoke(soak, [str(a) for a in arguments], catch_exceptions=False)

    return invoke


def test_rounds_come_out_right(run, tmp_path):
    file = tmp_path / "soak.json"
    result = run("xor", "--rounds", 3, "--seed", SEED, "--steps", 80, "--json", file)
    print(result.output)
    assert "3 rounds, seed 107:" in result.output
    assert "all weights right" in result.output
    values = json.loads(file.read_text())
    assert (values["task"], values["seed"], len(values["rounds"])) == ("xor", SEED, 3)
    assert [r["seed"] for r in values["rounds"]] == [SEED, SEED + 1, SEED + 2]
    assert all(r["same"] and r["steps"] == 80 for r in values["rounds"])
    assert any(r["errors"] or r["board_losses"] for r in values["rounds"])
    assert sum(sum(r["faults"].values()) for r in values["rounds"]) > 0
    assert all("\n" not in error for r in values["rounds"] for error in r["errors"])


def test_wrong_weights_are_told(run, monkeypatch):
    real = soak_module.run_training

    def off_by_one(*arguments, **more):
        result = real(*arguments, **more)
        result.weights[0][0, 0] += bool(more)  # not in the undisturbed run
        return result

    monkeypatch.setattr(soak_module, "run_training", off_by_one)
    result = CliRunner().invoke(
        soak, ["xor", "--rounds", "1", "--seed", "7", "--steps", "8"], standalone_mode=False
    )
    assert result.return_value == 1
    assert "WRONG WEIGHTS with seed 7" in result.output


def test_a_seed_is_drawn_and_shown(run):
    result = run("xor", "--rounds", 1, "--steps", 4)
    assert "1 rounds, seed " in result.output
