"""mgd bench peers: every peer takes the steps of multiplexed gradient descent, and learns."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.reference import network as reference
from mgd.golden_model.settings import Settings
from mgd.host.task.task import Task
from mgd.protocol.record import Samples
from mgd.scripts.bench import peers as bench_peers
from mgd.scripts.bench import peers_fpga, peers_native, peers_torch
from mgd.scripts.bench.peer_programs import GoldenPeer, NotInstalledError, NumpyPeer, Problem
from mgd.scripts.bench.peers import compare, table
from mgd.scripts.bench.peers_native import NativePeer
from mgd.scripts.bench.peers_torch import TorchPeer
from mgd.scripts.cli import main
from tests.support import simulation  # noqa: F401  sets the cache of compiled programs

FLOAT_PEERS = {
    "numpy": NumpyPeer,
    "native": NativePeer,
    "torch": TorchPeer,
    "torch, 3 seeds": lambda problem: TorchPeer(problem, 3),
}
PEERS = {
    "golden": GoldenPeer,
    "golden, 3 seeds": lambda problem: GoldenPeer(problem, 3),
    **FLOAT_PEERS,
}
NETWORKS = {
    # 17 and 20 nodes: more than a vector, and not a whole number of them.
    "entropy": Network((5, 17, 20, 3), cost="cross_entropy"),
    "mse": Network((3, 4, 2), output="identity"),
    "relu": Network((4, 6, 1), hidden="relu", output="tanh"),
}


def made(make, problem):
    try:
        return make(problem)
    except NotInstalledError as error:
        pytest.skip(str(error))


def small_problem(name: str, method: str, eta_exp: int = 2) -> Problem:
    network = NETWORKS[name]
    random = np.random.default_rng(3)
    samples = Samples(
        random.integers(0, 256, (4, network.layers[0])), random.integers(0, network.classes, 4)
    )
    settings = Settings(method, delta_exp=4, eta_exp=eta_exp, input_shift=6)
    return Problem(network, settings, samples, samples, seed=1, init_gain=1.0)


@pytest.mark.parametrize("method", ["wp", "np"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", FLOAT_PEERS)
def test_one_step_is_the_cost_change_times_the_signs(name, network, method):
    """The weights' change tells the signs; with them a float64 reference tells the change.

    Turning all signs round turns the cost change round, too: which of the two was drawn shows
    only in the inputs that node perturbation takes from the + pass.
    """
    problem = small_problem(network, method)
    net, nodes = problem.network, method == "np"
    peer = made(FLOAT_PEERS[name], problem)
    before = peer.weights()
    peer.train(1)
    for seed in range(peer.seeds):
        sample = problem.orders(peer.seeds)[seed, :1]
        x, labels = problem.x[sample, :-1], problem.train.labels[sample]
        old = [w[seed] for w in before]
        change = [w[seed] - o for w, o in zip(peer.weights(), old, strict=True)]
        signs = [np.sign(c[:, -1:] if nodes else c) for c in change]
        assert all((s != 0).all() for s in signs)
        errors = []
        for factor in (1, -1):
            step = [factor * problem.delta * s for s in signs]
            passes = []
            for p in (+1, -1):
                if nodes:
                    added = [p * s[:, 0] for s in step]
                    passes.append(reference.forward(old, x, net, added))
                else:
                    moved = [w + p * s for w, s in zip(old, step, strict=True)]
                    passes.append(reference.forward(moved, x, net))
            plus, minus = (reference.cost(p.outputs, labels, net)[0] for p in passes)
            expected = [
                -problem.rate * (plus - minus) * factor * s * (i if nodes else 1.0)
                for s, i in zip(signs, passes[0].inputs, strict=True)
            ]
            errors.append(
                max(np.abs(c - e).max() for c, e in zip(change, expected, strict=True))
                / max(np.abs(c).max() for c in change)
            )
        assert min(errors) < 1e-4, errors


@pytest.mark.parametrize("name", FLOAT_PEERS)
@pytest.mark.parametrize("method", ["wp", "np"])
def test_signs_are_balanced_and_new_in_every_step(name, method):
    problem = small_problem("entropy", method, eta_exp=10)
    peer = made(FLOAT_PEERS[name], problem)
    found = []
    for _ in range(200):
        before = peer.weights()
        peer.train(1)
        found.append(
            np.concatenate(
                [
                    np.sign(w[0] - b[0])[:, -1 if method == "np" else slice(None)].ravel()
                    for w, b in zip(peer.weights(), before, strict=True)
                ]
            )
        )
    signs = np.array(found)
    assert (np.abs(signs) == 1).mean() > 0.99  # a weight may stay where ΔC is below its last bit
    # 200 coins: 7 standard deviations of a mean; the same for neighbours in space and time.
    limit = 7 / np.sqrt(200)
    signs = signs * signs[:, :1]  # ΔC's own sign is not what is asked
    assert np.abs(signs[:, 1:].mean(axis=0)).max() < limit
    assert np.abs((signs[:, 1:-1] * signs[:, 2:]).mean(axis=0)).max() < limit
    assert np.abs((signs[1:, 1:] * signs[:-1, 1:]).mean(axis=0)).max() < limit


@pytest.mark.parametrize("tau_p", [1, 2])
def test_signs_hold_for_tau_p_steps(tau_p):
    """Two changes along the same signs are as large for every weight, along others they are not."""
    plain = small_problem("entropy", "wp", eta_exp=6)
    problem = replace(plain, settings=replace(plain.settings, tau_p=tau_p))
    peer = made(NativePeer, problem)
    for _ in range(20):
        before = peer.weights()
        peer.train(2)
        change = np.concatenate(
            [np.abs(a - b).ravel() for a, b in zip(peer.weights(), before, strict=True)]
        )
        assert (change.max() - change.min() < 0.02 * change.max()) == (tau_p == 2)


@pytest.mark.parametrize(("method", "steps", "least"), [("np", 4000, 0.88), ("wp", 6000, 0.88)])
@pytest.mark.parametrize("name", PEERS)
def test_every_peer_learns(name, method, steps, least):
    problem = Problem.of(Task.load("nist7x7_easy").with_overrides(method=method))
    assert problem.accuracy(problem.float_weights(1)) < 0.5
    peer = made(PEERS[name], problem)
    peer.train(steps - 7)
    peer.train(7)
    assert problem.accuracy(peer.weights()) > least


def test_steps_in_two_parts_are_the_steps_in_one():
    for name, make in PEERS.items():
        problem = small_problem("entropy", "np")
        try:
            whole, parts = make(problem), make(problem)
        except NotInstalledError:
            continue
        whole.train(11)
        parts.train(5)
        parts.train(6)
        for a, b in zip(whole.weights(), parts.weights(), strict=True):
            assert (a == b).all(), name


def test_what_the_peers_do_not_implement_is_one_line():
    task = Task.load("digits").with_overrides(tau_theta=10)
    with pytest.raises(UserError, match=r"tau_theta = 10") as error:
        Problem.of(task)
    assert "\n" not in str(error.value)
    slow = Task.load("xor").with_overrides(tau_p=4)
    with pytest.raises(UserError, match=r"tau_p = 4; the peers are written for 1"):
        Problem.of(slow)
    assert Problem.of(slow, any_tau_p=True).settings.tau_p == 4


def test_compare_gives_rates_and_ratios():
    problem = small_problem("mse", "np")
    rows = compare([GoldenPeer, NumpyPeer], problem, steps=20, rounds=2, seconds=60)
    assert [row["seeds"] for row in rows] == [1, 1]
    assert rows[0]["ratio"] == 1.0
    for row in rows:
        assert 0 < row["lowest"] <= row["steps_per_second"] <= row["highest"]
        assert 0 <= row["accuracy"] <= 1
    assert len(table(rows, 20)) == 3
    assert all(row["steps"] == 20 for row in rows)
    assert "after" not in "".join(table(rows, 20))


def test_a_slow_peer_takes_fewer_steps_and_says_so():
    (row,) = compare([NumpyPeer], small_problem("mse", "np"), 10**6, rounds=1, seconds=0.01)
    assert 1 <= row["steps"] < 10**5
    assert f"after {row['steps']:,} steps" in table([row], 10**6)[1]


def run(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["bench", "peers", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


SHORT = ("--task", "xor", "--steps", "30", "--rounds", "1")


def test_what_is_missing_is_a_row_with_its_remedy(monkeypatch, tmp_path):
    def no_torch():
        raise NotInstalledError(peers_torch.TORCH_REMEDY)

    monkeypatch.setattr(bench_peers, "import_torch", no_torch)
    monkeypatch.setenv("CXX", "no-such-compiler")
    peers_native.library.cache_clear()
    try:
        shown = run(*SHORT, "--boards", str(tmp_path / "none.json"))
    finally:
        peers_native.library.cache_clear()
    (torch,) = (line for line in shown.splitlines() if line.startswith("PyTorch"))
    assert "not installed: pip install" in torch
    (native,) = (line for line in shown.splitlines() if line.startswith("C++"))
    assert "not installed: apt-get install g++" in native
    (fpga,) = (line for line in shown.splitlines() if line.startswith("FPGA"))
    assert "mgd bench boards" in fpga


def test_recorded_builds_are_labelled_and_written(tmp_path):
    record = {
        "rows": [
            {"board": "icebreaker", "task": "xor", "method": "np", "lanes": 2}
            | {"core_hz": 24e6, "clocks_per_step": 60.0},
            {"board": "other", "task": "digits", "lanes": 2, "core_hz": 1e6},
            {"board": "no clock", "task": "xor", "lanes": 2},
            "nonsense",
        ]
    }
    (tmp_path / "boards.json").write_text(json.dumps(record))
    shown = run(
        *SHORT, "--boards", str(tmp_path / "boards.json"), "--json", str(tmp_path / "p.json")
    )
    (line,) = (line for line in shown.splitlines() if line.startswith("icebreaker"))
    assert "400,000" in line
    assert "not run on hardware" in line
    assert "other" not in shown
    assert "FPGA: no build" not in shown
    written = json.loads((tmp_path / "p.json").read_text())
    row = written["rows"][-1]
    assert row["steps_per_second"] == 400_000
    assert row["ratio"] == pytest.approx(400_000 / written["rows"][0]["steps_per_second"])
    assert written["rows"][0]["task"] == "xor"


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 3}', "{"])
def test_a_record_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / "boards.json").write_text(text)
    assert peers_fpga.fpga_rows(tmp_path / "boards.json", Task.load("xor")) == []


def test_clocks_that_the_record_lacks_are_measured(tmp_path, monkeypatch):
    task = Task.load("xor")
    rows = [
        {"board": "a", "task": "xor", "lanes": 1, "core_hz": 1e6},
        {"board": "b", "task": "xor", "lanes": 2, "core_hz": 2e6, "fmax_holds": True},
        {"board": "c", "task": "xor", "lanes": 2, "core_hz": 1e6, "fmax_holds": False},
        {"board": "d", "task": "xor", "lanes": 2, "core_hz": 1e6}
        | {"method": "wp", "clocks_per_step": 1.0},
        {"board": "e", "task": "xor", "lanes": 2, "core_hz": 1e6, "clocks_per_step": 50.0},
    ]
    (tmp_path / "boards.json").write_text(json.dumps({"rows": rows}))
    monkeypatch.setattr(peers_fpga, "measured_clocks", lambda _task, core: 100.0 * core.lanes)
    found = peers_fpga.fpga_rows(tmp_path / "boards.json", task)
    assert [row["clocks_per_step"] for row in found] == [100.0, 200.0, 200.0, 50.0]
    assert [row["steps_per_second"] for row in found] == [1e4, 1e4, 5e3, 2e4]
    # The task's own method is np: of the clocks above only the row that says wp has wp's.
    found = peers_fpga.fpga_rows(tmp_path / "boards.json", task.with_overrides(method="wp"))
    assert [row["clocks_per_step"] for row in found] == [100.0, 200.0, 1.0, 200.0]
