"""Which samples train, which decide when to stop, which test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.seeds import permutation

TEST_FRACTION = 0.2
VALIDATION_FRACTION = 0.1
LEAST_VALIDATION = 10
"""With fewer samples a validation part says nothing, so that there is none by default."""


@dataclass(frozen=True)
class Parts:
    """Numbers of samples, each ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(
    samples: int, fraction: float | None, seed: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """(training, test) sample numbers, each ascending: the first of a seeded permutation test."""
    order = permutation(samples, seed, "split")
    tests = max(1, round(samples * (TEST_FRACTION if fraction is None else fraction)))
    if tests >= samples:
        raise UserError(
            f"{where}: {samples} sample{'s' if samples > 1 else ''} cannot be split into a "
            f"training and a test set with {tests} for the test; add samples or lower "
            "test_fraction"
        )
    return np.sort(order[tests:]), np.sort(order[:tests])


def allotted(sizes: Sequence[int], fraction: float) -> list[int]:
    """How many of each class make `fraction` of all, rounded: the whole part of each class's
    share, and one more for those with the largest rest, the first of equal ones."""
    shares = [size * fraction for size in sizes]
    counts = [math.floor(share) for share in shares]
    left = round(sum(sizes) * fraction) - sum(counts)
    for place in sorted(range(len(sizes)), key=lambda k: counts[k] - shares[k])[: max(0, left)]:
        counts[place] += 1
    return counts


def parts_of(
    samples: int,
    groups: np.ndarray | None,
    test: float,
    validation: float | None,
    seed: int,
    where: str,
) -> Parts:
    """Split by a seeded permutation, of which the first samples test and the next validate.

    groups: class number of each sample: then that holds for every class by itself, and a class of
    two samples or more has one to test, and one at least to train.  None: for all samples.
    test: fraction, 0 for none.  validation: fraction of all samples; None: VALIDATION_FRACTION, if
    that makes LEAST_VALIDATION samples.  A part is the fraction of all samples rounded to the
    nearest number, halves to the even one; allotted() says how many of each class.
    """
    order = permutation(samples, seed, "split")
    if groups is None:
        whole, tests = [order], [0]
        if test:
            train, _ = split(samples, test, seed, where)
            tests = [samples - len(train)]
    else:
        whole = [order[groups[order] == number] for number in np.unique(groups)]
        tests = allotted([len(own) for own in whole], test)
        tests = [
            min(len(w) - 1, max(1, t)) if test else 0 for w, t in zip(whole, tests, strict=True)
        ]
    if test and not sum(tests):
        raise UserError(
            f"{where}: {samples} sample{'s' if samples > 1 else ''} of {len(whole)} classes cannot "
            "be split into a training and a test set; add samples, or name a test file with "
            "test_source"
        )
    part = VALIDATION_FRACTION if validation is None else validation
    counts = [
        max(0, min(len(own) - count - 1, some))
        for own, count, some in zip(
            whole, tests, allotted([len(own) for own in whole], part), strict=True
        )
    ]
    if validation is None and sum(counts) < LEAST_VALIDATION:
        counts = [0] * len(counts)
    elif validation and not sum(counts):
        raise UserError(
            f"{where}: validation_fraction = {validation:g} of {samples} samples makes no "
            "validation part; raise it, or leave it out"
        )
    rows = list(zip(whole, tests, counts, strict=True))
    return Parts(
        np.sort(np.concatenate([own[tests + some :] for own, tests, some in rows])),
        np.sort(np.concatenate([own[tests : tests + some] for own, tests, some in rows])),
        np.sort(np.concatenate([own[:tests] for own, tests, _ in rows])),
    )
