"""Sample records: the form of a sample in the memory of a core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.golden_model.network import Network

WORD_BITS = 16
"""Of a word of sample memory.  A record is the label in a word of its own, or a word for each
target value (activation format, two's complement), then the input codes:
codes_per_word to a word, the first in the lowest bits, each in sample_bits bits (two's complement
where codes are signed); the rest of a word is 0."""


@dataclass(frozen=True)
class Samples:
    """Encoded samples: the contents of a core's sample memory."""

    codes: np.ndarray
    """Input codes, shape (samples, inputs), integers in the network's sample format."""
    labels: np.ndarray
    """Class numbers, shape (samples,); for a network with target values these, (samples, outputs),
    in activation format."""

    def __len__(self) -> int:
        return len(self.labels)


def word_widths(network: Network) -> list[int]:
    """Bits that are used of each word of a record: the label or the targets, then codes."""
    inputs, per_word = network.layers[0], network.codes_per_word
    codes = [min(per_word, inputs - k) for k in range(0, inputs, per_word)]
    labels = [network.label_bits // network.label_words] * network.label_words
    return [*labels, *(count * network.sample_bits for count in codes)]


def sample_records(samples: Samples, network: Network, stride: int | None = None) -> np.ndarray:
    """uint16 array (samples, stride): the records, with zeros behind them.

    stride: words from one record to the next, network.sample_words or more, which None stands for.
    """
    per_word, bits = network.codes_per_word, network.sample_bits
    count, inputs = samples.codes.shape
    code_words = network.sample_words - network.label_words
    padded = np.zeros((count, code_words * per_word), dtype=np.int64)
    padded[:, :inputs] = samples.codes
    slots = (padded & ((1 << bits) - 1)).reshape(count, -1, per_word)
    words = (slots << (np.arange(per_word) * bits)).sum(axis=-1)
    rest = np.zeros(
        (count, (stride or network.sample_words) - network.sample_words), dtype=np.int64
    )
    labels = np.asarray(samples.labels).reshape(count, network.label_words)
    return np.concatenate([labels, words, rest], axis=1).astype(np.uint16)


def paired(words: np.ndarray) -> list[int]:
    """16-bit words as the 32-bit words of the link, the lower address in the lower half."""
    flat = words.reshape(-1).astype(np.uint32)
    if len(flat) % 2:
        flat = np.append(flat, np.uint32(0))
    return (flat[0::2] | flat[1::2] << np.uint32(16)).tolist()
