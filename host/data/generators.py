"""The built-in data: digits, XOR, four-bit parity and letters on 7×7 pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from mgd.golden_model.seeds import words

LETTERS = {
    "N": ("#...#", "##..#", "#.#.#", "#..##", "#...#"),
    "I": ("#####", "..#..", "..#..", "..#..", "#####"),
    "S": (".####", "#....", ".###.", "....#", "####."),
    "T": ("#####", "#.#.#", "..#..", "..#..", "..#.."),
}
"""Any two, at any two shifts, differ in 6 pixels or more (the T has serifs for that): with two
pixels flipped in each they are still different images, so no image has two labels."""

FLIP_PROBABILITY = 0.06
EASY_IMAGES = 1500


@dataclass(frozen=True)
class Generated:
    """All samples of a built-in source, not yet split."""

    codes: np.ndarray
    """(samples, inputs), int64."""
    labels: np.ndarray
    """(samples,), int64."""
    class_names: tuple[str, ...]
    separate_test: bool = True
    """False where every input there is must be learnt, so the test set is the training set."""


@dataclass(frozen=True)
class Generator:
    """A built-in source and the sample format it is made for."""

    make: Callable[[str | None, int], Generated]
    """make(variant, data seed)."""
    sample_bits: int
    sample_signed: bool
    input_shift: int


def digits(_variant: str | None, _seed: int) -> Generated:
    """scikit-learn's 1,797 handwritten digits, 8×8 pixels of 0 to 16."""
    from sklearn.datasets import load_digits  # slow to import

    pixels, labels = load_digits(return_X_y=True)
    return Generated(pixels.astype(np.int64), labels.astype(np.int64), tuple("0123456789"))


def parity(bits: int) -> Generated:
    """All 2^bits words with −1 for 0 and +1 for 1; class 1 where the number of ones is odd.

    The last input varies fastest.
    """
    ones = np.array(list(product((0, 1), repeat=bits)), dtype=np.int64)
    return Generated(2 * ones - 1, ones.sum(axis=1) % 2, ("even", "odd"), separate_test=False)


def letter_images(letter: str) -> np.ndarray:
    """The letter at its nine places in 7×7 pixels: (9, 49) of 0 and 1.  Number 4 is centred."""
    small = np.array([[pixel == "#" for pixel in row] for row in LETTERS[letter]], dtype=np.int64)
    images = np.zeros((9, 7, 7), dtype=np.int64)
    for number, (top, left) in enumerate(product(range(3), repeat=2)):
        images[number, top : top + 5, left : left + 5] = small
    return images.reshape(9, 49)


def nist7x7(variant: str | None, seed: int) -> Generated:
    """Letters N, I, S, T on 7×7 pixels.

    full: every letter at every place with no, one or two pixels flipped, 44,136 images.
    easy: 1,500 centred letters, each pixel flipped with a probability of 6 %.
    """
    if variant == "easy":
        centred = np.stack([letter_images(letter)[4] for letter in LETTERS])
        labels = np.arange(EASY_IMAGES, dtype=np.int64) % len(LETTERS)
        random = words(EASY_IMAGES * 49, seed, "data").reshape(EASY_IMAGES, 49)
        flips = random < np.uint64(FLIP_PROBABILITY * 2**64)
        return Generated(centred[labels] ^ flips, labels, tuple(LETTERS))
    pairs = [(), *combinations(range(49), 1), *combinations(range(49), 2)]
    masks = np.zeros((len(pairs), 49), dtype=np.int64)
    for row, flipped in enumerate(pairs):
        masks[row, list(flipped)] = 1
    images = [(letter_images(letter)[:, None] ^ masks).reshape(-1, 49) for letter in LETTERS]
    return Generated(
        np.concatenate(images),
        np.repeat(np.arange(len(LETTERS), dtype=np.int64), len(images[0])),
        tuple(LETTERS),
    )


GENERATORS = {
    "digits": Generator(digits, sample_bits=5, sample_signed=False, input_shift=10),
    "xor": Generator(lambda _v, _s: parity(2), sample_bits=2, sample_signed=True, input_shift=14),
    "parity4": Generator(
        lambda _v, _s: parity(4), sample_bits=2, sample_signed=True, input_shift=14
    ),
    "nist7x7": Generator(nist7x7, sample_bits=1, sample_signed=False, input_shift=14),
}
