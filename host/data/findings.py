"""What a person should know of a table before trusting a network that was trained on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgd.host.data.preparation import Cells
from mgd.host.data.table import shown

LEAST = 20
"""Samples from which on a regularity is no coincidence."""
FEW_CODES = 8
FAR = 20.0
"""So many times the middle half of the values away from the median a value is far out."""
TINY_TEST = 30
"""With fewer test samples one of them is more than 3 % of the accuracy."""
NAMED = 5
"""So many columns or classes are named."""

Names = Sequence[str]


def suspicious_columns(cells: Cells, answers: np.ndarray, classes: bool) -> list[str]:
    """Warnings of columns that count the samples or give the answer away.

    answers: class numbers, or the first target, of the samples in the order of the file.
    """
    notes = []
    for column, values in zip(cells.columns, cells.cells, strict=True):
        if column.categories is not None:
            if classes and gives_class_away(values, answers):
                notes.append(_leak(column.name))
            continue
        if what := _counts(values):
            unnamed = column.name.startswith("column ") or not column.name
            title = f"{shown(column.name)}{' (unnamed)' if unnamed else ''}"
            notes.append(
                f"{title} {what}: it says nothing of samples to come, and where the file is sorted "
                f"it gives the answer away; ignore = [{_key(column.name)}] in [data] leaves it out"
            )
        elif (gives_class_away if classes else _gives_target_away)(values, answers):
            notes.append(_leak(column.name))
    return notes


def gives_class_away(values: np.ndarray, numbers: np.ndarray) -> bool:
    """Whether a column alone decides the class of every sample, by few values or by thresholds."""
    if len(values) < LEAST:
        return False
    known = values == values  # NaN is not
    values, numbers = values[known], numbers[known]
    distinct, group = np.unique(values, return_inverse=True)
    classes = len(np.unique(numbers))
    if len(distinct) < classes or classes < 2:
        return False
    pairs = len(np.unique(group * (numbers.max() + 1) + numbers))
    if pairs > len(distinct):
        return False  # a value with two classes
    if len(distinct) <= max(2 * classes, len(values) // 10):
        return True
    changes = int((np.diff(numbers[np.argsort(group, kind="stable")]) != 0).sum())
    return values.dtype != object and changes == classes - 1


def used_codes(
    names: Names, x: np.ndarray, codes: np.ndarray, total: int, how: str | None
) -> list[str]:
    """Notes of columns whose values fall on few of the `total` codes, or that have values far out.

    x, codes: (samples, inputs) of the training part.
    """
    notes = []
    for name, values, column in zip(names, x.T, codes.T, strict=True):
        distinct, used = len(np.unique(values)), len(np.unique(column))
        far = _far_out(values)
        collapsed = used <= FEW_CODES and distinct > 4 * used
        if not collapsed and far is None:
            continue
        text = f"{shown(name)} uses {used} of {total} codes"
        if far is not None:
            text += f"; {far}"
        cure = "correct or remove such values"
        if collapsed and how != "robust":
            cure = f"{cure}, or set scaling = 'robust' in [data]"
        elif collapsed:
            cure = f"{cure}, or raise sample_bits"
        notes.append(f"{text}; {cure}")
    return _shortened(notes, "columns")


def sample_counts(names: Names, train: np.ndarray, test: np.ndarray, outputs: int) -> list[str]:
    """Notes of classes that are hardly there, of a tiny test part and of outputs without class."""
    notes = []
    if len(test) < TINY_TEST:
        size = "1 sample" if len(test) == 1 else f"{len(test)} samples"
        notes.append(
            f"the test part has {size}, so a single one is {100 / len(test):.3g} % of the accuracy"
        )
    counts = np.bincount(train, minlength=len(names)), np.bincount(test, minlength=len(names))
    untested = [name for name, some in zip(names, counts[1], strict=True) if not some]
    if untested:
        notes.append(
            f"no test sample has the label {_listed(untested)}: the accuracy says nothing of "
            f"{'it' if len(untested) == 1 else 'them'}; add samples"
        )
    largest = int(counts[0].argmax())
    share = counts[0][largest] / max(1, len(train))
    if share > 0.8:
        notes.append(
            f"{100 * share:.0f} % of the training samples have the label {names[largest]!r}: a "
            "network that always says so has that accuracy"
        )
    if len(names) < outputs:
        notes.append(
            f"{len(names)} labels, but layers ends with {outputs}: {outputs - len(names)} "
            f"output{'s are' if outputs - len(names) > 1 else ' is'} never the answer; end layers "
            f"with {len(names)}"
        )
    return notes


def repeated_samples(train: np.ndarray, test: np.ndarray) -> list[str]:
    """A note of test samples whose inputs are those of a training sample."""
    if not len(test) or train.shape[0] + test.shape[0] > 200_000:
        return []
    known = {row.tobytes() for row in np.ascontiguousarray(train)}
    same = sum(row.tobytes() in known for row in np.ascontiguousarray(test))
    if same < max(2, 0.02 * len(test)):
        return []
    return [
        f"{same} of {len(test)} test samples also occur in the training part, so the accuracy is "
        "higher than on samples to come"
    ]


def constant_columns(names: Names, constant: np.ndarray) -> list[str]:
    """A note of columns that never change."""
    never = [shown(names[int(n)]) for n in np.flatnonzero(constant)]
    if not never:
        return []
    listed = ", ".join(never[:NAMED]) + (", …" if len(never) > NAMED else "")
    return [f"{len(never)} of {len(names)} columns never change: {listed}"]


# -- inside ---------------------------------------------------------------------------------


def _counts(values: np.ndarray) -> str | None:
    """What a column does that numbers the samples."""
    if len(values) < LEAST // 2 or np.isnan(values).any():
        return None
    steps = np.diff(values)
    whole = bool((values == np.floor(values)).all())
    if whole and (steps == 1).all():
        return f"counts the samples ({values[0]:g}, {values[1]:g}, {values[2]:g}, …)"
    if len(values) >= LEAST and ((steps > 0).all() or (steps < 0).all()):
        return f"{'rises' if steps[0] > 0 else 'falls'} from each sample to the next"
    if whole and len(values) >= LEAST:
        distinct = len(np.unique(values))
        if distinct == len(values) and values.max() - values.min() < 10 * len(values):
            return "holds another whole number in every sample, as a number of samples does"
    return None


def _gives_target_away(values: np.ndarray, targets: np.ndarray) -> bool:
    known = ~np.isnan(values)
    if known.sum() < LEAST or not values[known].std() or not targets[known].std():
        return False
    return bool(abs(np.corrcoef(values[known], targets[known])[0, 1]) > 0.9999)


def _leak(name: str) -> str:
    return (
        f"{shown(name)} alone decides the answer of every sample: where it will not be known of "
        f"samples to come, ignore = [{_key(name)}] in [data] leaves it out"
    )


def _key(name: str) -> str:
    """What stands in `ignore` for a column."""
    number = name.removeprefix("column ")
    return number if number != name and number.isdigit() else repr(name)


def _far_out(values: np.ndarray) -> str | None:
    low, median, high = np.percentile(values, [25, 50, 75])
    with np.errstate(over="ignore"):
        limit, distance = FAR * (high - low), np.abs(values - median)
    if not 0 < limit < np.inf:
        return None
    far = distance > limit
    count = int(far.sum())
    if not count or count > 0.02 * len(values) + 1:
        return None
    worst = values[distance.argmax()]
    verb = "value is" if count == 1 else "values are"
    if median and abs(worst / median) >= 2 and worst / median > 0:
        size = f"{worst / median:,.0f} times the median"
    else:
        size = f"far from the median {median:g}"
    return f"{count} {verb} {size}{'' if count == 1 else ' or so'} ({worst:g})"


def _listed(names: Names) -> str:
    return ", ".join(map(repr, names[:NAMED])) + (", …" if len(names) > NAMED else "")


def _shortened(notes: list[str], what: str) -> list[str]:
    if len(notes) <= NAMED:
        return notes
    return [*notes[:NAMED], f"the same holds of {len(notes) - NAMED} more {what}"]
