"""A table's samples: read, split, prepared, encoded and looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.host.data import findings
from mgd.host.data.labels import class_numbers, class_order
from mgd.host.data.preparation import Cells, Preparation, complete, scaling_of
from mgd.host.data.prepared import Prepared
from mgd.host.data.reading import options_of, read_tables
from mgd.host.data.splits import TEST_FRACTION, Parts, parts_of
from mgd.host.data.table import Options, Table, shown
from mgd.host.data.targets import TargetScaling, target_numbers
from mgd.host.task.file import DataSection
from mgd.protocol.record import Samples


def table_samples(data: DataSection, network: Network, folder: Path) -> Prepared:
    """The samples of a CSV, NPZ or Parquet file.  Raises UserError for what cannot be used."""
    table, test_table = read_tables(data, folder)
    if test_table is not None and data.test_fraction is not None:
        raise UserError(
            f"{table.name}: has a test set of its own, so [data] test_fraction = "
            f"{data.test_fraction} has no meaning; remove it"
        )
    options, notes = options_of(data), list(table.notes)
    cells = Cells.of(table, options)
    names, answers = answers_of(table, options, network)
    if options.missing == "drop":
        kept, note = complete(table, cells.missing)
        cells, answers = cells.rows(kept), answers[kept]
        notes += [note] if note else []
    classes = not network.regression
    suspicious = findings.suspicious_columns(cells, answers if classes else answers[:, 0], classes)
    inputs = sum(len(column.inputs) for column in cells.columns)
    if inputs != network.layers[0]:
        raise UserError(_wrong_width(table, cells, network.layers[0], suspicious))
    notes += suspicious
    parts = _parts(data, table.name, answers, test_table is None, names)
    filled = cells.filled(parts.train)
    x = filled.features()
    scaling = scaling_of(filled.columns, x[parts.train], data.scaling)
    scaling.check(table.name, [shown(n) for column in filled.columns for n in column.inputs])
    targets = None
    if not classes:
        targets = TargetScaling.fit(answers[parts.train], network.output)
        _check_targets(table, targets)
    preparation = Preparation(
        filled.columns,
        table.columns,
        tuple(map(str, table.labels.columns)),
        options,
        scaling,
        tuple(names),
        targets,
    )
    codes, _ = scaling.encode(x, network)
    given = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    parted = {name: (x[rows], codes[rows], answers[rows]) for name, rows in given.items()}
    if test_table is not None:
        encoded = preparation.encode(test_table, network)
        notes += [*test_table.notes, *encoded.notes]
        test_answers = _test_answers(test_table, names, options, network)[encoded.kept]
        parted["test"] = encoded.features, encoded.codes, test_answers
    samples, limited = {}, 0
    for name, (_, rows, labels) in parted.items():
        if targets is not None:
            labels, clipped = targets.encode(labels)
            limited += clipped
        samples[name] = Samples(rows, labels)
    notes += findings.constant_columns(preparation.inputs, scaling.constant)
    total = network.code_max - network.code_min + 1
    notes += findings.used_codes(
        preparation.inputs, parted["train"][0], parted["train"][1], total, data.scaling
    )
    notes += _outside(parted["train"][0], parted["test"][0], scaling)
    notes += findings.repeated_samples(parted["train"][0], parted["test"][0])
    if classes:
        notes += findings.sample_counts(
            names, samples["train"].labels, samples["test"].labels, network.outputs
        )
    else:
        notes += _about_regression(data, table, answers, limited, len(samples["test"]))
    return Prepared(
        samples["train"],
        samples["test"],
        tuple(names),
        scaling,
        tuple(notes),
        samples["validation"] if len(samples["validation"]) else None,
        preparation,
        None if classes else {name: labels for name, (_, _, labels) in parted.items()},
    )


# -- inside ---------------------------------------------------------------------------------


def answers_of(table: Table, options: Options, network: Network) -> tuple[list[str], np.ndarray]:
    """(names of the classes or targets, class numbers (samples,) or targets (samples, outputs))."""
    columns = list(map(str, table.labels.columns))
    if network.regression:
        if len(columns) != network.outputs:
            raise UserError(
                f"{table.name}: {len(columns)} target column{'s' * (len(columns) > 1)}, but "
                f"[network] layers ends with {network.outputs}; end layers with {len(columns)}, or "
                "name all targets: label_column = ['…', '…'] in [data]"
            )
        return columns, target_numbers(table, options)
    if len(columns) > 1:
        raise UserError(
            f"{table.name}: {len(columns)} label columns ({', '.join(columns[:3])}), but a sample "
            "has one class; name one label_column, or set task = 'regression' in [data] and "
            "cost = 'mse' for several numbers"
        )
    labels = [str(cell).strip() for cell in table.labels.iloc[:, 0]]
    names = class_order(labels)
    if len(names) < 2:
        raise UserError(
            f"{table.name}: every label is {names[0]!r}; training needs two classes at least"
        )
    where = _where(table)
    return names, class_numbers(labels, names, network, table.name, where)


def _where(table: Table):
    """Says where label number k stands; labels may have been left out before it."""
    index = table.labels.index
    return lambda k: table.where(int(index[k]))


def _test_answers(
    test: Table, names: Sequence[str], options: Options, network: Network
) -> np.ndarray:
    if network.regression:
        return target_numbers(test, options)
    labels = [str(cell).strip() for cell in test.labels.iloc[:, 0]]
    unknown = [name for name in class_order(labels) if name not in names]
    if unknown:
        raise UserError(
            f"{test.name}: the test set has the label {unknown[0]!r}, the training set has not; "
            "train on every class that is tested"
        )
    return class_numbers(labels, names, network, test.name, _where(test))


def _parts(
    data: DataSection, name: str, answers: np.ndarray, with_test: bool, names: Sequence[str]
) -> Parts:
    test = 0.0
    if with_test:
        test = TEST_FRACTION if data.test_fraction is None else data.test_fraction
    classes = answers.ndim == 1
    if not classes and data.stratify:
        raise UserError(
            f"{name}: stratify = true needs classes, and regression has none; leave it out"
        )
    groups = answers if classes and data.stratify is not False else None
    parts = parts_of(len(answers), groups, test, data.validation_fraction, data.seed, name)
    if classes:
        untrained = sorted(set(answers.tolist()) - set(answers[parts.train].tolist()))
        if untrained:
            raise UserError(
                f"{name}: no training sample has the label {names[untrained[0]]!r} ("
                f"{int((answers == untrained[0]).sum())} in the file, all in the test or the "
                "validation part); leave out stratify = false, add samples, or change the seed of "
                "[data]"
            )
    return parts


def _wrong_width(table: Table, cells: Cells, wanted: int, suspicious: Sequence[str]) -> str:
    inputs = sum(len(column.inputs) for column in cells.columns)
    named = [c for c in cells.columns if c.categories is not None]
    texts = ", ".join(f"{c.name!r} makes {len(c.inputs)}" for c in named[:5])
    what = f"{inputs} input columns"
    if named:
        what = f"{inputs} inputs from {len(cells.columns)} columns (text: {texts})"
    line = f"{table.name}: has {what}, but [network] layers starts with {wanted}"
    if suspicious and inputs > wanted:
        # More inputs is the wrong cure where the column is one that gives the answer away.
        more = f", and {len(suspicious) - 1} more such" if len(suspicious) > 1 else ""
        return f"{line}; {suspicious[0]}{more}"
    return f"{line}; start layers with {inputs} or correct the file"


def _check_targets(table: Table, targets: TargetScaling) -> None:
    for name, unit in zip(table.labels.columns, targets.unit, strict=True):
        if not np.isfinite(unit) or unit <= 0:
            raise UserError(
                f"{table.name}: {shown(name)}: the targets of the training part never change or "
                "are too far apart for a double; choose another label_column"
            )


def _outside(train: np.ndarray, test: np.ndarray, scaling) -> list[str]:
    """Test values beyond all that training showed and beyond the range of the codes."""
    if not len(test):
        return []
    low = np.minimum(train.min(axis=0), scaling.low)
    high = np.maximum(train.max(axis=0), scaling.high)
    count = int(((test < low) | (test > high))[:, ~scaling.constant].sum())
    if not count:
        return []
    return [f"{count} test values lie outside the training range and were limited to it"]


def _about_regression(
    data: DataSection, table: Table, answers: np.ndarray, limited: int, tests: int
) -> list[str]:
    notes = []
    columns = [shown(name) for name in table.labels.columns]
    if data.task is None:
        distinct = len(np.unique(answers[:, 0]))
        notes.append(
            f"{', '.join(columns[:3])} {'holds' if len(columns) == 1 else 'hold'} numbers "
            f"({distinct} different ones), so this is a regression; task = 'regression' in [data] "
            "says so for good, task = 'classification' takes each number as a class"
        )
    if limited:
        notes.append(
            f"{limited} targets lie more than 4 standard deviations from the mean and were limited "
            "to that in training"
        )
    if tests < findings.TINY_TEST:
        notes.append(f"the test part has {tests} samples, so R² and RMSE are uncertain")
    return notes
