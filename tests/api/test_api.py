"""The Python API: its documentation runs, its arrays are the core's, bad input is refused."""

from __future__ import annotations

import doctest
import importlib.util
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mgd
import mgd.api.session
from mgd import Task, UserError, open_session
from mgd.api.arrays import to_codes, to_weights
from mgd.api.backends import open_session as open_core
from mgd.golden_model.seeds import initial_weights
from tests.docs.test_docs import README, ROOT, blocks
from tests.support.simulation import TABLE_TOML, WAIT_SECONDS, XOR, mgd_environment

API = ROOT / "docs" / "api.md"


def run_doctest(text: str, name: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, {}, name, str(API), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    results = runner.run(test, out=said.append)
    assert results.attempted > 0
    assert results.failed == 0, "".join(said)


def test_the_documentation_runs():
    text = "\n".join(body for head, body in blocks(API) if head == "python")
    assert text.count(">>>") > 20
    run_doctest(text, "api.md")


def test_the_example_of_the_readme_runs(capsys):
    names: dict = {}
    (code,) = [body for head, body in blocks(README) if head == "python api"]
    exec(code, names)
    assert (names["hidden"].shape, names["output"].shape) == ((2, 3), (1, 3))
    assert capsys.readouterr().out.splitlines()[-1].endswith(" 1.0")


def test_the_docstring_runs():
    run_doctest(mgd.__doc__, "mgd")


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_weights_give_the_same_accuracy_in_pytorch(tmp_path):
    (code,) = [body for head, body in blocks(API) if head == "python torch"]
    (shown,) = [body for head, body in blocks(API) if head == "text"]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=mgd_environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown


def test_the_documentation_names_all_that_a_session_has(session):
    text = API.read_text(encoding="utf-8")
    names = [name for name in dir(session) if not name.startswith("_")]
    assert len(names) > 15
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


@pytest.fixture
def session():
    with open_session(XOR, backend="golden", seed=1) as opened:
        yield opened


# -- the same as mgd train ------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["golden", "sim"])
def test_a_session_trains_as_the_core_does_by_itself(backend):
    with open_core(XOR, "golden") as core:
        core.load_samples(*XOR.datasets())
        core.write_weights(initial_weights(core.network, XOR.spec.seed, XOR.spec.init_gain))
        core.start(XOR.spec.settings, XOR.spec.seed)
        core.train(50)
        expected, counters, test = core.read_weights(), core.counters(), core.evaluate()
    with open_session("xor", backend=backend) as session:
        assert (session.backend, session.lanes) == (backend, 2)
        (first, second) = session.train(30, eval_every=20)
        session.train(20)
        assert [first.step, second.step, session.step] == [20, 30, 50]
        scale = 1 << session.network.weight_frac
        for mine, theirs in zip(session.read_weights(), expected, strict=True):
            assert mine.dtype == np.float64
            np.testing.assert_array_equal(mine * scale, theirs)
        assert session.counters().cost_sum == counters.cost_sum
        assert session.evaluate() == test
        assert (second.clocks > first.clocks > 0) == (backend == "sim")


@pytest.mark.parametrize("backend", ["golden", "sim"])
def test_weights_are_written_and_training_goes_on_from_them(backend):
    random = np.random.default_rng(3)
    with open_session("xor", backend=backend) as session:
        session.train(20)
        shapes = [w.shape for w in session.read_weights()]
        scale = 1 << session.network.weight_frac
        weights = [random.integers(-scale, scale, s) / scale for s in shapes]
        session.write_weights(weights)
        assert session.step == 0
        for mine, theirs in zip(session.read_weights(), weights, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        session.train(20)
        after = session.read_weights()
    with open_session("xor", backend="golden") as other:
        other.write_weights(weights)
        other.train(20)
        for mine, theirs in zip(after, other.read_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_mean_costs_are_those_of_the_steps_between(session):
    first, second = session.train(40, eval_every=20)
    total = session.counters().cost_sum / 2**session.network.cost_frac / 2
    assert 20 * first.train_cost + 20 * second.train_cost == pytest.approx(total)


# -- training -------------------------------------------------------------------------------


def test_training_ends_at_the_target_and_goes_on_when_asked():
    with open_session("xor", backend="golden", seed=2) as session:
        assert session.train()[-1].test_accuracy == 1.0
        reached = session.step
        assert reached < XOR.spec.steps
        points = session.train(100, target=1.0)
        assert points[-1].step <= reached + 100
        assert [p.step for p in session.train(7, eval_every=3, callback=lambda _: None)][:1] == [
            points[-1].step + 3
        ]


def test_training_ends_where_the_callback_says_so(session):
    heard = []

    def callback(point):
        heard.append(point)
        return len(heard) == 3

    points = session.train(1000, target=1.0, eval_every=10, callback=callback)
    assert points == heard
    assert session.step == 30
    # Whatever else it returns means nothing: print, list.append, a plot.
    assert len(session.train(20, eval_every=10, callback=lambda _: "a plot")) == 2


def test_steps_end_at_the_tasks_number():
    with open_session("xor", backend="golden", steps=50, seed=1) as session:
        session.train(30)
        assert [p.step for p in session.train()] == [50]
        assert session.train() == []


def test_ctrl_c_ends_training_at_the_next_evaluation(session):
    points = session.train(100, eval_every=10, callback=lambda _: signal.raise_signal(2))
    assert [p.step for p in points] == [10]
    assert session.train(10)[-1].step == 20


# -- settings -------------------------------------------------------------------------------


def test_configure_keeps_the_weights_and_begins_anew(session):
    session.train(40)
    weights = session.read_weights()
    session.configure(method="wp", eta_exp=6, seed=9)
    assert (session.step, session.settings.method, session.settings.eta_exp) == (
        0,
        "wp",
        6,
    )
    for mine, theirs in zip(session.read_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    session.train(20)
    changed = session.read_weights()
    with open_session("xor", backend="golden", method="wp", eta_exp=6, seed=9) as other:
        other.load_data(*session.data("train"))  # the seed orders the task's samples, too
        other.write_weights(weights)
        other.train(20)
        for mine, theirs in zip(changed, other.read_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"lanes": 1}, "lanes = 1: this core has 2"),
        ({"rounding": "residual"}, "rounding = 'residual' on a core without"),
        ({"eta_exp": 99}, "eta_exp = 99"),
        ({"eta_exp": 20}, "shift"),
        ({"speed": 3}, "speed"),
    ],
)
def test_what_cannot_be_configured(session, settings, why):
    session.train(20)
    with pytest.raises(UserError, match=re.escape(why)):
        session.configure(**settings)
    assert session.task is not None
    assert session.step == 20
    assert session.settings == XOR.spec.settings


# -- data -----------------------------------------------------------------------------------


def test_data_is_given_and_taken():
    random = np.random.default_rng(5)
    x = random.integers(-128, 128, (12, 3)) / 64
    labels = random.integers(0, 4, 12)
    test_x, test_labels = random.integers(-128, 128, (5, 3)) / 64, [0, 1, 2, 3, 0]
    network = TABLE_TOML.replace('source = "t.csv"', f'source = "{ROOT}/examples/moons.csv"')
    network = network.replace("[3, 5, 4]", "[2, 5, 4]")
    task = Task.parse(network, "table", Path())
    with open_session(task, backend="golden") as session:
        with pytest.raises(UserError, match="2 inputs"):
            session.load_data(x, labels)
        session.train(20)
        before = session.read_weights()
        session.load_data(x[:, :2], labels, test_x[:, :2], test_labels, class_names="abcd")
        assert session.class_names == ("a", "b", "c", "d")
        assert session.step == 0
        for mine, theirs in zip(session.read_weights(), before, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        got_x, got_labels = session.data("train")
        np.testing.assert_array_equal(got_x, x[:, :2])
        np.testing.assert_array_equal(got_labels, labels)
        np.testing.assert_array_equal(session.data("test")[0], test_x[:, :2])
        assert (session.evaluate("train").samples, session.evaluate().samples) == (12, 5)
        session.load_data(x[:, :2], labels)
        assert session.evaluate().samples == 12
        assert session.class_names == ("0", "1", "2", "3")


def test_a_simulated_board_takes_as_much_as_it_has_room_for():
    x, labels = np.tile([[-1, 0.5], [0.5, 0.75]], (60, 1)), [0, 1] * 60
    # The built-in xor has room for its eight samples only.
    with open_session("xor", backend="sim") as session:
        with pytest.raises(UserError, match="sample memory has"):
            session.load_data(x, labels)
        assert session.evaluate().samples == 4
        assert len(session.data()[1]) == 4
        session.train(20)
    with open_session("xor", backend="sim", sample_words=1024) as session:
        session.load_data(x, labels)
        session.train(20)
        on_the_board = session.read_weights(), session.evaluate()
    with open_session("xor", backend="golden") as session:
        session.load_data(x, labels)
        session.train(20)
        assert session.evaluate() == on_the_board[1]
        for mine, theirs in zip(session.read_weights(), on_the_board[0], strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (([[0, 0]], [0, 1]), "labels has the shape (2,); it must be (1,)"),
        (([[0, 0]], [2]), "labels[0] = 2: a label must be a whole number from 0 to 1"),
        (([[0, 0]], [0.5]), "labels[0] = 0.5"),
        (([[0, 0]], [-1]), "labels[0] = -1"),
        (([[0, float("nan")]], [0]), "x[0, 1] = nan"),
        (([[0, 2.5]], [0]), "x[0, 1] = 2.5: must be between -2 and 1"),
        ((np.zeros((0, 2)), []), "(0, 2)"),
        (([0, 0], [0]), "x has the shape (2,)"),
        (([["a", 0]], [0]), "x is no array of numbers"),
        (([[0, 0], [1]], [0, 1]), "x is no array of numbers"),
        (([[0, 0]], [0], [[0, 0]]), "test_x and test_labels belong together"),
        (([[0, 0]], [0], [[0, 9]], [0]), "test_x[0, 1] = 9"),
    ],
)
def test_data_that_is_refused(session, arguments, why):
    x, labels = session.data()
    with pytest.raises(UserError) as caught:
        session.load_data(*arguments)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(session.data()[0], x)
    np.testing.assert_array_equal(session.data()[1], labels)


def test_inputs_are_rounded_to_the_nearest_step(session):
    step, (low, high) = session.input_step, session.input_range
    shift = session.settings.input_shift
    assert to_codes("x", [[low, high]], session.network, shift).tolist() == [
        [session.network.code_min, session.network.code_max]
    ]
    near = [[low - 0.49 * step, 0.51 * step]]
    assert to_codes("x", near, session.network, shift).tolist() == [[session.network.code_min, 1]]
    with pytest.raises(UserError):
        to_codes("x", [[low - 0.51 * step, 0]], session.network, shift)


# -- weights --------------------------------------------------------------------------------


def test_weights_are_rounded_to_the_nearest():
    network = XOR.spec.network
    unit = 2.0**-network.weight_frac
    weights = [np.full((2, 3), 1.49 * unit), np.full((1, 3), -0.51 * unit)]
    first, second = to_weights(weights, network)
    assert first.dtype == np.int64
    assert set(first.ravel()) == {1}
    assert set(second.ravel()) == {-1}
    ends = [np.full((2, 3), network.weight_min * unit), np.full((1, 3), network.weight_max * unit)]
    first, second = to_weights(ends, network)
    assert (first[0, 0], second[0, 0]) == (network.weight_min, network.weight_max)


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ([np.zeros((2, 3))], "1 arrays of weights; the network 2-2-1 has 2"),
        ([np.zeros((2, 2)), np.zeros((1, 3))], "weights[0] has the shape (2, 2)"),
        ([np.zeros((2, 3)), np.full((1, 3), np.nan)], "weights[1][0, 0] = nan"),
        ([np.full((2, 3), 8.0), np.zeros((1, 3))], "weights[0][0, 0] = 8: must be between -8"),
    ],
)
def test_weights_that_are_refused(session, weights, why):
    session.train(20)
    with pytest.raises(UserError) as caught:
        session.write_weights(weights)
    assert why in str(caught.value)
    assert session.step == 20


# -- opening --------------------------------------------------------------------------------


def test_what_cannot_be_opened(tmp_path):
    for arguments, settings in (
        (("xorr",), {}),
        (("xor", "model"), {}),
        (("xor", str(tmp_path / "tty")), {}),
        (("xor", "golden"), {"eta": 3}),
        (("xor", "golden"), {"record": tmp_path / "x.rec"}),
    ):
        with pytest.raises(UserError) as caught:
            open_session(*arguments, **settings)
        assert "\n" not in str(caught.value)
    with open_session("xor", "golden") as session, pytest.raises(UserError, match="'valid'"):
        session.evaluate("valid")


def test_a_session_is_recorded_and_replayed(tmp_path):
    kept = []
    for options in (
        {"backend": "sim", "record": str(tmp_path / "x.rec")},
        {"backend": f"replay:{tmp_path / 'x.rec'}"},
    ):
        with open_session("xor", **options) as session:
            kept.append([p.test_cost for p in session.train(40)])
            kept[-1].append(session.read_weights()[1].tolist())
    assert kept[0] == kept[1]
