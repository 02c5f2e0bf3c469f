"""`mgd predict` and TrainingSession.predict: a trained network on new samples."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mgd import UserError, open_session
from mgd.golden_model.costs import classify
from mgd.host.data.preparation import Preparation
from mgd.host.runs import predict as predict_module
from mgd.host.runs.predict import confirm, outputs_of
from mgd.host.runs.stored import read_run
from mgd.host.session.golden import GoldenSession
from mgd.scripts.cli import main

pytestmark = pytest.mark.xdist_group("predict")

TOML = """
task = { name = "plants" }
[data]
source = "plants.csv"
label_column = "kind"
ignore = ["id"]
missing = "mean"
[network]
layers = [5, 6, 2]
cost = "cross_entropy"
[training]
steps = 1500
eval_every = 500
eta_exp = 5
[core]
lanes = 2
"""


def rows(count: int) -> list[list[str]]:
    random = np.random.default_rng(1)
    found = []
    for n in range(count):
        kind = n % 2
        height = 10 + 4 * kind + random.normal()
        width = "" if n == 7 else f"{3 - kind + random.normal() / 2:.3f}"
        place = ("wood", "meadow", "bog")[random.integers(3)]
        found.append([str(n), f"{height:.3f}", width, place, ("oak", "elm")[kind]])
    return found


HEADER = ["id", "height", "width", "place", "kind"]


def write(path: Path, columns: list[str], lines: list[list[str]]) -> Path:
    places = [HEADER.index(name) for name in columns]
    text = [",".join(columns), *(",".join(line[k] for k in places) for line in lines)]
    path.write_text("\n".join(text) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table and a run that was trained on it."""
    here = tmp_path_factory.mktemp("predict")
    write(here / "plants.csv", HEADER, rows(200))
    (here / "plants.toml").write_text(TOML)
    args = ["train", str(here / "plants.toml"), "--backend", "golden", "--out", str(here / "run")]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert "samples    140 train, 20 validation, 40 test (20 elm, 20 oak)" in result.output
    return here


def mgd(*args: object):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def predicted(*args: object) -> list[dict[str, str]]:
    result = mgd("predict", *args)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def refused(*args: object) -> str:
    result = mgd("predict", *args)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_classes_and_probabilities(folder):
    found = predicted(folder / "run", folder / "plants.csv")
    assert list(found[0]) == ["sample", "prediction", "probability elm", "probability oak"]
    assert [int(line["sample"]) for line in found] == list(range(200))
    right = sum(line["prediction"] == row[4] for line, row in zip(found, rows(200), strict=True))
    assert right > 180
    for line in found:
        chances = [float(line["probability elm"]), float(line["probability oak"])]
        assert sum(chances) == pytest.approx(1, abs=1e-5)
        assert line["prediction"] == ("elm", "oak")[int(np.argmax(chances))]


def test_the_same_preparation_as_in_training(folder, tmp_path):
    """Every test sample of the run is judged as it was at the end of the training."""
    stored = read_run(folder / "run")
    assert stored.preparation is not None
    assert Preparation.of(json.loads(json.dumps(stored.preparation.to_json()))).inputs == [
        "height", "width", "place = bog", "place = meadow", "place = wood",
    ]  # fmt: skip
    from mgd.host.task.task import Task

    prepared = Task.load(folder / "plants.toml").prepared
    spec = stored.spec
    outputs = outputs_of(
        stored.weights, prepared.test.codes, spec.network, spec.settings.input_shift
    )
    share = (classify(outputs, spec.network) == prepared.test.labels).mean()
    assert share == stored.values["accuracy"]


def test_a_file_for_the_predictions_and_the_accuracy(folder, tmp_path):
    out = tmp_path / "p.csv"
    result = mgd("predict", folder / "run", folder / "plants.csv", "--out", out)
    assert result.exit_code == 0, result.output
    assert "accuracy" in result.output
    assert "of 200 samples with a label" in result.output
    assert len(out.read_text().splitlines()) == 201


def test_columns_in_another_order_without_answers(folder, tmp_path):
    given = write(tmp_path / "new.csv", ["place", "width", "height"], rows(200))
    whole = predicted(folder / "run", folder / "plants.csv")
    assert predicted(folder / "run", given) == whole
    frame = pd.read_csv(given)
    frame.insert(0, "colour", "red")
    frame.to_csv(tmp_path / "more.csv", index=False)
    result = mgd("predict", folder / "run", tmp_path / "more.csv")
    assert "colour" in result.stderr
    assert list(csv.DictReader(io.StringIO(result.stdout))) == whole


@pytest.mark.parametrize(
    ("columns", "change", "parts"),
    [
        (["width", "place"], ("", ""), ["has no column 'height'", "trained on"]),
        (["height", "width", "place"], ("14.", "tall "), ["column 'height'", "no finite number"]),
        (["height", "width", "place"], ("height", "heigth"), ["did you mean 'heigth'"]),
    ],
)
def test_what_does_not_fit(folder, tmp_path, columns, change, parts):
    path = write(tmp_path / "new.csv", columns, rows(30))
    path.write_text(path.read_text().replace(*change))
    message = refused(folder / "run", path)
    for part in parts:
        assert part in message


def test_names_that_training_did_not_know(folder, tmp_path):
    path = write(tmp_path / "new.csv", HEADER[:4], rows(30))
    path.write_text(path.read_text().replace("bog", "heath"))
    result = mgd("predict", folder / "run", path)
    assert result.exit_code == 0
    assert "'heath' did not occur in training" in result.stderr


def test_other_units_are_said(folder, tmp_path):
    lines = [[*r[:1], str(100 * float(r[1])), *r[2:]] for r in rows(30)]
    result = mgd("predict", folder / "run", write(tmp_path / "new.csv", HEADER[:4], lines))
    assert "are the units the same?" in result.stderr


def test_other_files(folder, tmp_path):
    assert "no such run" in refused(tmp_path / "nothing", folder / "plants.csv")
    assert "no such file" in refused(folder / "run", tmp_path / "none.csv")
    assert "is no table's name" in refused(folder / "run", folder / "plants.toml")
    assert "no folder" in refused(folder / "run", folder / "plants.csv", "--out", "none/p.csv")


def test_a_core_that_differs_is_noticed(folder):
    stored = read_run(folder / "run")
    spec, preparation = stored.spec, stored.preparation
    table = predict_module.table_to_predict(folder / "plants.csv", preparation)
    codes, _, _ = predict_module.codes_of(table, preparation, spec.network)
    outputs = outputs_of(stored.weights, codes, spec.network, spec.settings.input_shift)
    with GoldenSession(spec.network) as session:
        confirm(session, spec, stored.weights, codes, outputs)
        wrong = [w.copy() for w in stored.weights]
        wrong[1][0, 0] += 200
        with pytest.raises(UserError, match="the core and the golden model differ"):
            confirm(session, spec, wrong, codes, outputs)


def test_a_table_without_names(tmp_path):
    lines = [[r[4], r[1], r[2] or "2.5"] for r in rows(120)]
    text = "\n".join(map(",".join, lines))
    (tmp_path / "t.csv").write_text(text)
    (tmp_path / "t.toml").write_text(
        'task = { name = "t" }\ndata = { source = "t.csv", label_column = 0 }\n'
        "network = { layers = [2, 4, 2] }\ntraining = { steps = 200, eval_every = 100 }\n"
    )
    done = mgd("train", tmp_path / "t.toml", "--backend", "golden", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    with_label = predicted(tmp_path / "run", tmp_path / "t.csv")
    (tmp_path / "new.csv").write_text("\n".join(",".join(line[1:]) for line in lines))
    assert predicted(tmp_path / "run", tmp_path / "new.csv") == with_label
    assert list(with_label[0]) == ["sample", "prediction", "output elm", "output oak"]
    (tmp_path / "four.csv").write_text("1,2,3,4\n5,6,7,8\n")
    assert "has 4 columns and no names" in refused(tmp_path / "run", tmp_path / "four.csv")


def test_regression(tmp_path):
    random = np.random.default_rng(2)
    x = random.normal(size=(150, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "price": 900 + 200 * x[:, 0] - 80 * x[:, 1]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.toml").write_text(
        'task = { name = "t" }\ndata = { source = "t.csv", task = "regression" }\n'
        "network = { layers = [2, 4, 1] }\n"
        "training = { steps = 4000, eval_every = 500, eta_exp = 6 }\n"
    )
    done = mgd("train", tmp_path / "t.toml", "--backend", "golden", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "  R²         0.9" in done.output
    assert "  RMSE       price " in done.output
    found = predicted(tmp_path / "run", tmp_path / "t.csv")
    errors = [float(f["price"]) - p for f, p in zip(found, frame["price"], strict=True)]
    assert np.sqrt(np.mean(np.square(errors))) < 0.4 * frame["price"].std()
    result = mgd("predict", tmp_path / "run", tmp_path / "t.csv", "--out", tmp_path / "p.csv")
    assert "R²         0.9" in result.output
    with open_session(tmp_path / "t.toml", backend="golden") as session:
        session.train()
        assert session.fit_of("test").r2 > 0.8
        given = session.predict(frame[["b", "a"]])
        assert given.shape == (150,)
        assert np.corrcoef(given, frame["price"])[0, 1] > 0.9


def test_session(folder):
    frame = pd.read_csv(folder / "plants.csv")
    with open_session(folder / "plants.toml", backend="golden") as session:
        session.train()
        names = session.predict(frame)
        assert (names == frame["kind"]).mean() > 0.9
        np.testing.assert_array_equal(session.predict(str(folder / "plants.csv")), names)
        array = frame[["height", "width", "place"]].to_numpy(dtype=object)
        np.testing.assert_array_equal(session.predict(array), names)
        chances = session.predict_proba(frame)
        assert chances.shape == (200, 2)
        np.testing.assert_allclose(chances.sum(axis=1), 1)
        assert session.evaluate("validation").samples == 20
        with pytest.raises(UserError, match="has the shape"):
            session.predict(np.zeros(3))
        with pytest.raises(UserError, match="no column 'height'"):
            session.predict(frame[["width"]])


def test_session_with_data_of_ones_own():
    with open_session("xor", backend="golden", seed=2) as session:
        session.train()
        x, labels = session.data()
        assert (session.predict(x) == np.array(session.class_names)[labels]).all()
        with pytest.raises(UserError, match="gives no probabilities"):
            session.predict_proba(x)
