"""`mgd predict`: a run's network on new samples."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import click
import numpy as np

from mgd.api.backends import open_core, words_of
from mgd.golden_model.errors import UserError
from mgd.host.data.labels import canonical
from mgd.host.data.table import Table
from mgd.host.data.targets import Fit, target_numbers
from mgd.host.runs.atomic import write_result
from mgd.host.runs.folder import check_json
from mgd.host.runs.predict import (
    Predictions,
    codes_of,
    confirm,
    outputs_of,
    predictions,
    table_to_predict,
)
from mgd.host.runs.stored import StoredRun, find_run, read_run


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.argument("data", type=click.Path(path_type=Path, dir_okay=False), metavar="DATA")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A CSV file for the predictions.  [default: standard output]",
)
@click.option(
    "--backend",
    default="golden",
    show_default=True,
    metavar="golden|sim|PORT",
    help="Who computes: the golden model, or a core too, whose every class and cost is compared.",
)
@click.option(
    "--baud", type=click.IntRange(min=1), metavar="N", help="A board's rate.  [default: found]"
)
def predict(run: Path, data: Path, out: Path | None, backend: str, baud: int | None) -> None:
    """Apply the network of RUN, a run's folder or its name in runs/, to the table DATA.

    DATA has the columns of the training file and is prepared as that was.  It may have the label's
    column; then the accuracy is told as well.  The output has a line per sample: its number
    (from 0), the class, and the probability of every class; of a regression the numbers, in the
    units of the training file.
    """
    if out is not None:
        check_json(out)
    folder = find_run(run)
    if not (folder / "run.json").exists():
        raise UserError(f"{folder}: the run has not ended; wait for it, or follow it with "
                        f"`mgd watch {folder}`")  # fmt: skip
    stored = read_run(folder)
    spec, preparation = stored.spec, stored.preparation
    table = table_to_predict(data, preparation)
    codes, kept, notes = codes_of(table, preparation, spec.network)
    outputs = outputs_of(stored.weights, codes, spec.network, spec.settings.input_shift)
    targets = None if preparation is None else preparation.targets
    found = predictions(outputs, spec.network, stored.values["class_names"], targets)
    if backend != "golden":
        memory = _memory(stored, len(codes))
        with open_core(spec, backend, baud, None, memory, str(folder)) as session:
            confirm(session, spec, stored.weights, codes, outputs)
        notes.append(f"backend {backend}: the core gives the same classes and the same costs")
    text = as_csv(table, kept, found)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_result(out, text.encode())
        click.echo(f"predicted  {len(kept):,} samples, run {folder}")
        click.echo(_summary(table, kept, found, stored))
        click.echo(f"written    {out}")
    for note in notes:
        click.echo(f"note: {note}", err=out is None)


def as_csv(table: Table, kept: np.ndarray, found: Predictions) -> str:
    """A line per sample, with a header."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    if found.regression:
        columns, values = list(found.names), found.answers
    else:
        what = "output" if found.probabilities is None else "probability"
        columns = ["prediction", *_columns(what, found)]
        values = found.scores if found.probabilities is None else found.probabilities
    writer.writerow(["sample", *columns])
    for row, sample in enumerate(table.inputs.index[kept]):
        numbers = [f"{v:.6g}" for v in values[row]]
        labels = [] if found.regression else [found.labels[row]]
        writer.writerow([int(sample), *labels, *numbers])
    return file.getvalue()


def _columns(what: str, found: Predictions) -> list[str]:
    if found.scores.shape[1] == 1:
        return [what]
    names = [*found.names, *(f"output {k}" for k in range(len(found.names),
                                                       found.scores.shape[1]))]  # fmt: skip
    return [f"{what} {name}" for name in names]


def _summary(table: Table, kept: np.ndarray, found: Predictions, stored: StoredRun) -> str:
    """How many of each class, and how many are right where the file has the answers."""
    preparation = stored.preparation
    if found.regression:
        assert preparation is not None
        if tuple(table.labels.columns) != preparation.labels:
            low, high = found.answers.min(axis=0), found.answers.max(axis=0)
            each = [f"{n} {a:.4g} to {b:.4g}" for n, a, b in zip(found.names, low, high,
                                                                 strict=True)]  # fmt: skip
            return f"targets    {', '.join(each)}"
        fit = Fit.of(found.answers, target_numbers(table, preparation.options)[kept])
        each = [f"{n} {v:.4g}" for n, v in zip(found.names, fit.rmse, strict=True)]
        return f"R²         {fit.r2:.4f}, RMSE {', '.join(each)}"
    counts = np.bincount(found.answers, minlength=len(found.names))
    line = "classes    " + ", ".join(
        f"{name} {count:,}" for name, count in zip(found.names, counts, strict=True)
    )
    if not len(table.labels.columns):
        return line
    given = [canonical(str(cell).strip()) for cell in table.labels.iloc[kept, 0]]
    known = [k for k, label in enumerate(given) if label]
    right = sum(given[k] == found.labels[k] for k in known)
    share = f"{100 * right / len(known):.2f} %" if known else "no labels"
    return f"{line}\naccuracy   {share} of {len(known):,} samples with a label"


def _memory(stored: StoredRun, count: int) -> int:
    """Words of sample memory: those of the board that trained, which is compiled already."""
    samples = {name: n["samples"] for name, n in stored.values.get("samples", {}).items()}
    evaluated = max(samples.get("test", count), samples.get("validation", 0))
    return words_of(stored.spec, samples.get("train", 1), evaluated)
