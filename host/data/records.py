"""Sample records: what a sample looks like in the memory of a core."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.network import Network
from mgd.host.session.base import Samples


def sample_records(samples: Samples, network: Network, stride: int | None = None) -> np.ndarray:
    """uint16 array (samples, stride): the label, then the packed codes, then zeros.

    stride: words per record, network.sample_words or more, which None stands for.

    codes_per_word codes share a word, the first in the lowest bits, each in sample_bits
    bits (two's complement where codes are signed); what is left of a word is 0.
    """
    per_word, bits = network.codes_per_word, network.sample_bits
    count, inputs = samples.codes.shape
    padded = np.zeros((count, (network.sample_words - 1) * per_word), dtype=np.int64)
    padded[:, :inputs] = samples.codes
    slots = (padded & ((1 << bits) - 1)).reshape(count, -1, per_word)
    words = (slots << (np.arange(per_word) * bits)).sum(axis=-1)
    rest = np.zeros(
        (count, (stride or network.sample_words) - network.sample_words), dtype=np.int64
    )
    return np.concatenate([samples.labels[:, None], words, rest], axis=1).astype(np.uint16)


def paired(words: np.ndarray) -> list[int]:
    """16-bit words as the 32-bit words of the link, the lower address in the lower half."""
    flat = words.reshape(-1).astype(np.uint32)
    if len(flat) % 2:
        flat = np.append(flat, np.uint32(0))
    return (flat[0::2] | flat[1::2] << np.uint32(16)).tolist()
