"""protocol.record: the words of a sample record, worked by hand and unpacked again."""

import numpy as np
import pytest

from mgd.golden_model.network import Network
from mgd.protocol.record import Samples, paired, sample_records


def unpack(words: np.ndarray, network: Network) -> tuple[np.ndarray, np.ndarray]:
    """(codes, labels) of records, one code at a time."""
    bits = network.sample_bits
    codes = np.zeros((len(words), network.layers[0]), dtype=np.int64)
    for sample, record in enumerate(words):
        for k in range(network.layers[0]):
            word, slot = divmod(k, network.codes_per_word)
            code = int(record[1 + word]) >> (slot * bits) & ((1 << bits) - 1)
            if network.sample_signed and code >> (bits - 1):
                code -= 1 << bits
            codes[sample, k] = code
    return codes, words[:, 0].astype(np.int64)


def test_by_hand():
    # Three 5-bit codes share a word, the first in the lowest bits; the label comes first.
    network = Network((4, 2), sample_bits=5)
    samples = Samples(np.array([[1, 2, 3, 4], [16, 31, 0, 1]]), np.array([1, 0]))
    records = sample_records(samples, network)
    assert records.dtype == np.uint16
    assert records.tolist() == [
        [1, 0b00011_00010_00001, 4],
        [0, 0b00000_11111_10000, 1],
    ]
    # 32-bit words: the lower address in the lower half.
    assert paired(records) == [0x0C41_0001, 0x0000_0004, 0x0001_03F0]


def test_signed_codes_by_hand():
    network = Network((2, 2), sample_bits=2, sample_signed=True)
    samples = Samples(np.array([[-1, 1], [-2, 0]]), np.array([0, 1]))
    assert sample_records(samples, network).tolist() == [[0, 0b0111], [1, 0b0010]]


def test_an_odd_number_of_words_ends_with_zero():
    assert paired(np.array([[1, 2, 3]], dtype=np.uint16)) == [0x0002_0001, 3]
    assert paired(np.array([[0xFFFF, 0xFFFF]], dtype=np.uint16)) == [0xFFFF_FFFF]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 9, 16])
@pytest.mark.parametrize("inputs", [1, 7, 64])
def test_every_width_comes_back(bits, signed, inputs):
    network = Network((inputs, 11), sample_bits=bits, sample_signed=signed)
    random = np.random.default_rng(bits)
    codes = random.integers(network.code_min, network.code_max + 1, size=(6, inputs))
    codes[0], codes[1] = network.code_min, network.code_max
    labels = random.integers(0, 11, size=6)
    records = sample_records(Samples(codes, labels), network)
    assert records.shape == (6, network.sample_words)
    back, back_labels = unpack(records, network)
    np.testing.assert_array_equal(back, codes)
    np.testing.assert_array_equal(back_labels, labels)
