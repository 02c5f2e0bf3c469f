"""Tables whose answers are numbers: trained, scored in their units, the same on every core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.formats import ACT_MAX, ACT_MIN, ONE
from mgd.golden_model.network import Network
from mgd.golden_model.reference.network import cost as reference_cost
from mgd.golden_model.reference.network import float_inputs, float_weights, forward, gradient
from mgd.golden_model.seeds import initial_weights
from mgd.host.data.targets import BOUNDED, Fit, TargetScaling
from mgd.host.runs.predict import outputs_of
from mgd.host.runs.training import run_training
from mgd.host.session.golden import GoldenSession
from mgd.host.task.task import Task
from mgd.protocol.record import Samples, sample_records

ROWS = 150


@pytest.fixture
def folder(tmp_path) -> Path:
    random = np.random.default_rng(3)
    x = random.normal(size=(ROWS, 3))
    price = 1000 + 400 * x[:, 0] - 250 * x[:, 1]
    size = 3 + x[:, 2]
    lines = ["a,b,c,price,size"]
    lines += [",".join(map(repr, map(float, row))) for row in np.c_[x, price, size]]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def task_of(folder: Path, data: str, network: str, training: str = "steps = 4000") -> Task:
    text = (
        f'task = {{ name = "t" }}\n[data]\nsource = "t.csv"\n{data}\n[network]\n{network}\n'
        f"[training]\neval_every = 500\n{training}\n[core]\nlanes = 2\n"
    )
    return Task.parse(text, "t.toml", folder)


def trained(task: Task):
    return run_training(GoldenSession(task.spec.network), task)


ONE_TARGET = 'label_column = "price"\nignore = ["size"]'
TWO_TARGETS = 'label_column = ["price", "size"]'


def test_a_number_is_predicted_in_its_units(folder):
    task = task_of(folder, ONE_TARGET, "layers = [3, 6, 1]")
    assert (task.spec.network.targets, task.spec.network.output) == ("value", "identity")
    result = trained(task)
    assert result.accuracy == result.fit.r2 > 0.9
    assert result.watched == "validation"
    # The same from the weights, by hand.
    prepared = task.prepared
    outputs = outputs_of(
        result.weights, prepared.test.codes, task.spec.network, task.spec.settings.input_shift
    )
    scaling = prepared.preparation.targets
    predicted = scaling.middle + scaling.unit * outputs / ONE
    truth = prepared.targets["test"]
    rmse = np.sqrt(((predicted - truth) ** 2).mean())
    assert result.fit.rmse == (pytest.approx(rmse),)
    assert 5 < rmse < 200
    assert truth.std() > 300, "in the file's units"
    assert any("task = 'regression'" in note for note in prepared.notes)
    assert result.test.correct == 0


@pytest.mark.parametrize("cost", ["mse", "l1"])
@pytest.mark.parametrize("output", ["identity", "tanh", "leaky_relu"])
def test_several_targets(folder, cost, output):
    network = f'layers = [3, 8, 2]\ncost = "{cost}"\noutput = "{output}"'
    result = trained(task_of(folder, TWO_TARGETS, network, "steps = 4000\neta_exp = 6"))
    assert len(result.fit.rmse) == 2
    assert result.class_names == ("price", "size")
    assert result.fit.r2 > 0.6


def test_a_target_is_a_goal_of_r2(folder):
    result = trained(task_of(folder, ONE_TARGET, "layers = [3, 6, 1]", "target = 0.5"))
    assert result.target_reached_at_step is not None
    assert result.curve[-1].test_accuracy >= 0.5


@pytest.mark.parametrize(
    ("data", "network", "parts"),
    [
        (ONE_TARGET + '\ntask = "classification"', "layers = [3, 6, 1]", ["150 labels", "'regr"]),
        (ONE_TARGET, 'layers = [3, 6, 2]\ncost = "cross_entropy"', ["task = 'regression'", "mse"]),
        (ONE_TARGET + '\ntask = "regression"', 'layers = [3, 6, 2]\ncost = "cross_entropy"',
         ["cost = 'cross_entropy'", "cost = 'mse'"]),
        (TWO_TARGETS, "layers = [3, 6, 1]", ["2 target columns", "end layers with 2"]),
        (ONE_TARGET + '\ntask = "regression"', "layers = [3, 6, 2]", ["1 target column", "with 1"]),
        (TWO_TARGETS, 'layers = [3, 6, 2]\ncost = "hinge"', ["2 label columns", "'regression'"]),
        (ONE_TARGET + "\nstratify = true", "layers = [3, 6, 1]", ["stratify = true"]),
    ],
)  # fmt: skip
def test_what_was_not_meant_names_its_key(folder, data, network, parts):
    with pytest.raises(UserError) as caught:
        _ = task_of(folder, data, network).prepared
    for part in parts:
        assert part in str(caught.value)


def test_a_target_that_is_no_number(folder):
    text = (folder / "t.csv").read_text().split("\n")
    text[4] = text[4].rsplit(",", 1)[0] + ",many"
    (folder / "t.csv").write_text("\n".join(text))
    with pytest.raises(UserError, match=r"line 5, column 'size': 'many' is no finite number"):
        _ = task_of(folder, TWO_TARGETS, "layers = [3, 6, 2]").prepared


def test_two_numbers_are_classes(folder):
    """0 and 1 with one output stay what they were: two classes."""
    (folder / "t.csv").write_text(
        "a,b,k\n" + "".join(f"{n % 7},{n % 5},{n % 2}\n" for n in range(60))
    )
    task = task_of(folder, "", "layers = [2, 3, 1]")
    assert not task.spec.network.regression
    assert task.prepared.class_names == ("0", "1")


@pytest.mark.parametrize("output", ["identity", "leaky_relu", *BOUNDED])
def test_targets_there_and_back(output):
    targets = np.random.default_rng(1).normal([5.0, -300.0], [0.1, 40.0], size=(100, 2))
    scaling = TargetScaling.fit(targets, output)
    encoded, limited = scaling.encode(targets)
    assert limited == 0
    np.testing.assert_allclose(scaling.decode(encoded), targets, atol=40 * 2**-11)
    if output in BOUNDED:
        low, high = BOUNDED[output]
        assert encoded.min() / ONE == pytest.approx(low, abs=1e-3)
        assert encoded.max() / ONE == pytest.approx(high, abs=1e-3)
    far, limited = scaling.encode(targets + 1e6)
    assert limited == 200
    assert (far == ACT_MAX).all()


def test_fit():
    truth = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    assert Fit.of(truth, truth) == Fit(1.0, (0.0, 0.0))
    means = np.broadcast_to(truth.mean(axis=0), truth.shape)
    assert Fit.of(means, truth).r2 == 0.0
    assert Fit.of(truth + np.array([1, 2]), truth).rmse == (1.0, 2.0)


def test_records_have_a_word_for_each_target():
    network = Network((3, 2), targets="value", sample_bits=8)
    assert (network.label_words, network.label_bits, network.sample_words) == (2, 32, 4)
    samples = Samples(np.array([[1, 2, 3]]), np.array([[ACT_MIN, -2]]))
    assert sample_records(samples, network).tolist() == [[0x8000, 0xFFFE, 0x0201, 0x0003]]
    assert network.digest() != Network((3, 2), sample_bits=8).digest()


@pytest.mark.parametrize("cost", ["mse", "l1"])
def test_costs_of_targets_follow_the_reference(cost):
    network = Network((3, 4, 2), cost=cost, output="identity", targets="value", sample_bits=12)
    weights = [w[None] for w in initial_weights(network, 5)]
    codes = np.arange(12).reshape(4, 3) * 300
    random = np.random.default_rng(0)
    labels = random.integers(-ONE, ONE, size=(4, 2))
    outputs = outputs_of([w[0] for w in weights], codes, network, 2)
    exact = network.cost_kind.exact(outputs, labels, network) / 2**network.cost_frac
    real = float_weights([w[0] for w in weights], network)
    x = float_inputs(codes, 2)
    found = reference_cost(forward(real, x, network).outputs, labels, network)
    # tanh is piecewise linear in the core, hence the tolerance.
    np.testing.assert_allclose(exact, found, rtol=0.03, atol=0.02)
    # The slope is that of the cost.
    grads = gradient(real, x[0], labels[0], network)
    step = 1e-6
    moved = [w.copy() for w in real]
    moved[0][1, 2] += step
    change = (
        reference_cost(forward(moved, x[0], network).outputs, labels[0], network)
        - reference_cost(forward(real, x[0], network).outputs, labels[0], network)
    ) / step
    assert grads[0][1, 2] == pytest.approx(change, abs=1e-3)
