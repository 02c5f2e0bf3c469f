"""`mgd bench tables`: default training on public tables, beside scikit-learn on the same split."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from mgd.golden_model.errors import UserError
from mgd.host.data.encoding import SCALINGS
from mgd.host.runs.training import run_training
from mgd.host.session.golden import GoldenSession
from mgd.host.task.task import Task
from mgd.scripts.bench.group import json_option, record

HIDDEN = 32
"""Nodes of the hidden layer, of the network and of scikit-learn's."""
TOLERANCE = 0.03
"""A table that falls further behind the better of the two is said."""
Data = tuple[np.ndarray, np.ndarray]


class Case(NamedTuple):
    """A table that needs no download."""

    name: str
    make: Callable[[], Data]
    """(x (samples, columns), labels (samples,) or targets (samples, outputs))."""
    regression: bool = False


def _loaded(name: str) -> Callable[[], Data]:
    def make() -> Data:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")(return_X_y=True)

    return make


def _made(name: str, **values: Any) -> Callable[[], Data]:
    def make() -> Data:
        from sklearn import datasets

        found = getattr(datasets, f"make_{name}")(random_state=0, **values)
        return found[0], found[1]

    return make


CASES = (
    Case("iris", _loaded("iris")),
    Case("wine", _loaded("wine")),
    Case("breast_cancer", _loaded("breast_cancer")),
    Case("digits", _loaded("digits")),
    Case("moons", _made("moons", n_samples=400, noise=0.2)),
    Case(
        "classification",
        _made("classification", n_samples=600, n_features=12, n_informative=6, n_classes=3),
    ),
    Case("gaussian_quantiles", _made("gaussian_quantiles", n_samples=600, n_features=6)),
    Case("diabetes", _loaded("diabetes"), regression=True),
    Case("friedman1", _made("friedman1", n_samples=600, noise=1.0), regression=True),
    Case("linnerud", _loaded("linnerud"), regression=True),
)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, metavar="N")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="[default: the task's]")
@click.option("--scaling", type=click.Choice(SCALINGS), help="[default: the task's]")
@json_option
def tables(
    names: tuple[str, ...],
    seeds: int,
    steps: int | None,
    scaling: str | None,
    json_file: Path | None,
) -> None:
    """Train on tables with nothing but `layers` and the cost, and compare with linear models and
    multi-layer perceptrons of scikit-learn, on the same test samples.

    Every seed draws its own split.  The peers get training and validation samples together.
    """
    known = {case.name: case for case in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"table {unknown[0]!r} is unknown: there are {', '.join(known)}")
    rows = []
    click.echo(f"{'table':<20} {'score':<9} {'test':>5} {'MGD':>7} {'linear':>7} {'MLP':>7}")
    for case in CASES:
        if names and case.name not in names:
            continue
        found = [_scores(case, seed, steps, scaling) for seed in range(seeds)]
        means = {key: float(np.mean([each[key] for each in found])) for key in found[0]}
        behind = max(means["linear"], means["mlp"]) - means["mgd"]
        score = "R²" if case.regression else "accuracy"
        note = f"  {100 * behind:.1f} points behind" if behind > TOLERANCE else ""
        click.echo(
            f"{case.name:<20} {score:<9} {means['test']:>5.0f} {means['mgd']:>7.3f} "
            f"{means['linear']:>7.3f} {means['mlp']:>7.3f}{note}"
        )
        rows.append(
            {"table": case.name, "score": score, "seeds": seeds, "steps": steps,
             "scaling": scaling, **means, "by_seed": [each["mgd"] for each in found]}
        )  # fmt: skip
    record(json_file, "tables", rows)


def _scores(case: Case, seed: int, steps: int | None, scaling: str | None) -> dict[str, float]:
    """Accuracy or R² on the test part: of MGD in the golden model, of both peers."""
    x, y = case.make()
    targets = y.reshape(len(y), -1)
    with tempfile.TemporaryDirectory() as folder:
        task = _task(Path(folder), case, x, targets, seed, scaling).with_overrides(
            seed=seed, steps=steps
        )
        result = run_training(GoldenSession(task.spec.network), task)
        train, test = _parts(task, len(x))
    peers = _peers(case, seed)
    scores = {"mgd": result.accuracy, "test": float(len(test))}
    for name, model in peers.items():
        model.fit(x[train], y[train])
        scores[name] = float(model.score(x[test], y[test]))
    return scores


def _task(
    folder: Path, case: Case, x: np.ndarray, targets: np.ndarray, seed: int, scaling: str | None
) -> Task:
    """A CSV file of the table and a task with nothing but the layers."""
    labels = [f"y{k}" for k in range(targets.shape[1])]
    columns = [f"x{k}" for k in range(x.shape[1])]
    lines = [",".join([*columns, *labels])]
    for row, answers in zip(x, targets, strict=True):
        last = [repr(float(v)) for v in answers] if case.regression else map(str, answers)
        lines.append(",".join([*(repr(float(v)) for v in row), *last]))
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    outputs = targets.shape[1] if case.regression else len(np.unique(targets))
    cost = "mse" if case.regression else "cross_entropy"
    key = f', scaling = "{scaling}"' if scaling else ""
    text = (
        f'task = {{ name = "{case.name}" }}\n'
        f'data = {{ source = "table.csv", label_column = {labels}, seed = {seed}{key} }}\n'
        f'network = {{ layers = [{x.shape[1]}, {HIDDEN}, {outputs}], cost = "{cost}" }}\n'
    )
    return Task.parse(text, case.name, folder)


def _parts(task: Task, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """(training and validation, test) sample numbers of a task's split."""
    from mgd.host.data.reading import options_of, read_tables
    from mgd.host.data.splits import TEST_FRACTION, parts_of
    from mgd.host.data.table_samples import answers_of

    data = task.file.data
    table, _ = read_tables(data, task.folder)
    _, answers = answers_of(table, options_of(data), task.spec.network)
    groups = answers if answers.ndim == 1 else None
    parts = parts_of(samples, groups, TEST_FRACTION, data.validation_fraction, data.seed, "")
    return np.concatenate([parts.train, parts.validation]), parts.test


def _peers(case: Case, seed: int) -> dict[str, Any]:
    """A linear model and a perceptron behind a StandardScaler, with scikit-learn's defaults but
    for the number of iterations."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    perceptron = {"hidden_layer_sizes": (HIDDEN,), "max_iter": 2000, "random_state": seed}
    if not case.regression:
        linear, mlp = LogisticRegression(max_iter=2000), MLPClassifier(**perceptron)
        return {
            "linear": make_pipeline(StandardScaler(), linear),
            "mlp": make_pipeline(StandardScaler(), mlp),
        }
    scaled = TransformedTargetRegressor(MLPRegressor(**perceptron), transformer=StandardScaler())
    return {
        "linear": make_pipeline(StandardScaler(), LinearRegression()),
        "mlp": make_pipeline(StandardScaler(), scaled),
    }
