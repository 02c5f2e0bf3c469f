"""`mgd verify`: equal where it is equal, and the first difference where the golden model differs.

The differences are real: the golden model is changed, the compiled board is not.
"""

from __future__ import annotations

import json
import tempfile

import numpy as np
import pytest
from click.testing import CliRunner

from mgd.boards.simulated import board as simulated
from mgd.golden_model.costs.mse import COST
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.trainer import Trainer
from mgd.host.task.names import find_task, read_task
from mgd.scripts.cli import main
from mgd.scripts.commands import verify as verify_module
from tests.support.simulation import XOR, built, mgd, refused, table_task

KEYS = {
    "task",
    "backend",
    "method",
    "lanes",
    "schedule",
    "seed",
    "steps",
    "values_compared",
    "mismatches",
    "first_difference",
    "config_digest",
    "version",
}
END = 3 + 2
"""Numbers compared at the end, beside the weights: three counters, two of an evaluation."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder, and a folder for temporary files, which must stay empty."""
    monkeypatch.setattr(simulated, "build", built)
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(work)
    yield work
    assert list(temporary.iterdir()) == []


def verify(*args: object):
    return CliRunner().invoke(main, ["verify", *map(str, args)])


def test_every_value_of_every_step_is_compared(here):
    result = verify("xor", "--steps", 40, "--json", "v.json")
    assert result.exit_code == 0, result.output
    values = json.loads((here / "v.json").read_text())
    assert set(values) == KEYS
    # Two costs, D and nine parameters in a step, then the weights read back.
    assert values["values_compared"] == 40 * (2 + 1 + 9) + 9 + END
    assert (values["steps"], values["mismatches"]) == (40, 0)
    assert values["first_difference"] is None
    assert (values["task"], values["backend"], values["method"]) == ("xor", "sim", "np")
    assert (values["lanes"], values["seed"]) == (2, 1)
    assert values["config_digest"] == XOR.with_overrides(steps=40).config_digest()
    assert result.stdout == (
        f"xor (2-2-1), 2 lanes, method np, seed 1: 40 steps, {values['values_compared']} values "
        "compared, 0 mismatches\n"
    )
    assert [p.name for p in here.iterdir()] == ["v.json"]


def test_accumulators_and_a_trace_read_in_pieces(here, monkeypatch):
    task = table_task(here)
    monkeypatch.setattr(verify_module, "CHUNK_EVENTS", 200)
    result = verify("table.toml", "--steps", 31, "--lanes", 3, "--seed", 6, "--json", "v.json")
    assert result.exit_code == 0, result.output
    values = json.loads((here / "v.json").read_text())
    # C0 is measured where the sample (every 2 steps) or the weights (every 3) are new.
    baselines = sum(t % 2 == 0 or t % 3 == 0 for t in range(31))
    parameters = task.spec.network.parameters
    assert values["values_compared"] == 31 * (2 + 2 * parameters) + baselines + parameters + END
    assert (values["method"], values["lanes"], values["seed"]) == ("wp", 3, 6)


def test_a_learning_rate_with_a_schedule(here):
    """The host changes it between two steps, on the board that any other run has."""
    text = read_task(find_task("xor"))
    keys = "halve_every = 7\nwarmup_exp = 2\nwarmup_every = 5\n"
    (here / "mine.toml").write_text(text.replace("[training]", f"[training]\n{keys}"))
    result = verify("mine.toml", "--steps", 60, "--json", "v.json")
    assert result.exit_code == 0, result.output
    values = json.loads((here / "v.json").read_text())
    assert values["values_compared"] == 60 * (2 + 1 + 9) + 9 + END
    assert (values["steps"], values["mismatches"]) == (60, 0)
    for path in ("mine.toml", "v.json"):
        (here / path).unlink()


def test_a_real_process_leaves_nothing_behind(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "temporary").mkdir()
    done = mgd(
        "verify", "xor", "--method", "wp", "--lanes", 1, "--steps", 5,
        cwd=tmp_path / "work", TMPDIR=str(tmp_path / "temporary"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "xor (2-2-1), 1 lanes, method wp, seed 1: 5 steps, 74 values compared, 0 mismatches\n"
    )
    assert done.stderr == ""
    assert list((tmp_path / "work").iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


# -- real differences -----------------------------------------------------------------------


def differs(*args: object) -> tuple[dict, str]:
    """The first difference, and what was printed of it."""
    result = verify(*args, "--json", "v.json")
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert "DIFFERENT after" in result.stderr
    assert "Traceback" not in result.stderr
    with open("v.json") as file:
        values = json.load(file)
    assert values["mismatches"] == 1
    assert set(values) == KEYS
    return values["first_difference"], result.stderr.splitlines()[-1]


def test_another_seed_differs_at_once(here, monkeypatch):
    right = verify_module._lockstep
    monkeypatch.setattr(
        verify_module,
        "_lockstep",
        lambda task: right(task.with_overrides(seed=task.spec.seed + 1)),
    )
    first, line = differs("xor", "--steps", 20)
    assert first["step"] == 0
    assert first["value"] == "C+"
    assert first["expected"] != first["got"]
    assert line == f"step 0: C+: expected {first['expected']}, got {first['got']}"


class Moved(Trainer):
    """The golden model with one weight that is one unit off after one step."""

    layer, node, input, step_off = 0, 0, 0, 7

    def step(self):
        record = super().step()
        if record.number == self.step_off:
            self.weights[self.layer][0, self.node, self.input] += 1
        return record


@pytest.mark.parametrize(("layer", "node", "position"), [(1, 1, 2), (2, 0, 0)])
def test_one_weight_off_by_one(here, monkeypatch, layer, node, position):
    """Found in the sweep that writes it, though no cost may ever show it."""
    monkeypatch.setattr(verify_module, "Trainer", Moved)
    monkeypatch.setattr(Moved, "layer", layer - 1)
    monkeypatch.setattr(Moved, "node", node)
    monkeypatch.setattr(Moved, "input", position)
    first, line = differs("xor", "--steps", 20)
    assert (first["step"], first["value"]) == (7, "weight")
    assert (first["layer"], first["node"], first["input"]) == (layer, node, position)
    assert first["expected"] - first["got"] == 1
    assert line == (
        f"step 7, layer {layer}, node {node}, input {position}: weight: "
        f"expected {first['expected']}, got {first['got']}"
    )


def test_the_last_step_is_compared_too(here, monkeypatch):
    monkeypatch.setattr(verify_module, "Trainer", Moved)
    assert verify("xor", "--steps", 7).exit_code == 0
    first, _ = differs("xor", "--steps", 8)
    assert first["step"] == 7


class Spilled(Trainer):
    """The golden model with an accumulator that is one unit off after step 4."""

    def step(self):
        record = super().step()
        if record.number == 4:
            self.accumulators[1][0, 3, 1] -= 1
        return record


def test_one_accumulator_off_by_one(here, monkeypatch):
    table_task(here)
    monkeypatch.setattr(verify_module, "Trainer", Spilled)
    first, _ = differs("table.toml", "--steps", 10, "--lanes", 3)
    assert (first["step"], first["value"]) == (4, "accumulator")
    assert (first["layer"], first["node"], first["input"]) == (2, 3, 1)
    assert first["got"] - first["expected"] == 1


def test_another_cost_function(here, monkeypatch):
    right = COST.exact
    monkeypatch.setattr(COST, "exact", lambda *args: right(*args) + 1)
    first, _ = differs("xor", "--steps", 5)
    assert (first["step"], first["value"]) == (0, "C+")
    assert first["expected"] - first["got"] == 1


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (lambda trainer: trainer, "cost_sum", "cost_sum"),
        (lambda trainer: trainer.memory, "saturations", "weight_saturations"),
    ],
    ids=["cost_sum", "weight_saturations"],
)
def test_a_counter_off_by_one(here, monkeypatch, owner, name, value):
    class Miscounted(Trainer):
        def step(self):
            record = super().step()
            held = owner(self)
            setattr(held, name, getattr(held, name) + (record.number == 2))
            return record

    monkeypatch.setattr(verify_module, "Trainer", Miscounted)
    first, _ = differs("xor", "--steps", 5)
    assert first["value"] == value
    assert first["expected"] - first["got"] == 1


def test_another_evaluation(here, monkeypatch):
    class Judge(Trainer):
        def evaluate(self, codes, labels):
            correct, cost = super().evaluate(codes, labels)
            return correct, cost + 1

    monkeypatch.setattr(verify_module, "Trainer", Judge)
    first, _ = differs("xor", "--steps", 5)
    assert first["value"] == "evaluation: cost"


def test_weights_that_were_never_written_as_seen(here, monkeypatch):
    """The board gets other weights than the model: the writes of step 0 show it, or its costs."""

    def other(network, seed, gain=1.0):
        weights = initial_weights(network, seed, gain)
        weights[0] = weights[0] + 1
        return weights

    calls: list[int] = []

    def second_call_differs(*args):
        calls.append(1)
        return (other if len(calls) == 2 else initial_weights)(*args)

    monkeypatch.setattr(verify_module, "initial_weights", second_call_differs)
    first, _ = differs("xor", "--steps", 5)
    assert first["step"] == 0
    assert len(calls) == 2


def test_a_core_that_falls_silent(here, monkeypatch):
    """Events that never come are a difference, not a wait without end."""

    class Cut(verify_module.Trace):
        def events(self):
            for number, event in enumerate(super().events()):
                if number < 30:
                    yield event

    monkeypatch.setattr(verify_module, "Trace", Cut)
    monkeypatch.setattr(verify_module, "QUIET_SECONDS", 0.5)
    first, line = differs("xor", "--steps", 20)
    assert "no more events" in line
    assert 0 < first["step"] < 20


# -- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["none/v.json", "file/v.json", "folder"])
def test_json_to_a_place_that_cannot_be_written(here, monkeypatch, place):
    (here / "file").touch()
    (here / "folder").mkdir()

    def never(*_args):
        raise AssertionError("the work must not begin")

    monkeypatch.setattr(verify_module, "_run", never)
    result = verify("xor", "--json", place)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert place in result.stderr
    assert sorted(p.name for p in here.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["xro"], "did you mean 'xor'?"),
        (["xor", "--method", "bp"], "must be 'wp' or 'np'"),
        (["xor", "--steps", "0"], "--steps"),
        (["xor", "--lanes", "3"], "lanes = 3: the widest layer of 2-2-1 has 2 neurons"),
        (["xor", "--seed", "-1"], "seed = -1"),
    ],
)
def test_bad_arguments(here, args, part):
    result = verify(*args)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert part in result.stderr


def test_a_missing_compiler(tmp_path):
    (tmp_path / "temporary").mkdir()
    line = refused(
        mgd(
            "verify", "xor", cwd=tmp_path, PATH="/nowhere", MGD_CACHE=str(tmp_path / "cache"),
            TMPDIR=str(tmp_path / "temporary"),
        )
    )  # fmt: skip
    assert "apt-get install g++" in line
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_initial_weights_are_the_tasks():
    """What the board is given is what the golden model starts from."""
    lockstep = verify_module._lockstep(XOR)
    for got, wanted in zip(
        lockstep.trainer.weights, initial_weights(XOR.spec.network, XOR.spec.seed), strict=True
    ):
        np.testing.assert_array_equal(got[0], wanted)
