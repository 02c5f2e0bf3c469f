"""IDX image sets, and conversions that are kept and mapped."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.seeds import initial_weights, permutation
from mgd.golden_model.trainer import Trainer
from mgd.host.data import datasets as datasets_module
from mgd.host.data import idx
from mgd.host.data.conversion import data_folder
from mgd.host.data.packed import PackedSamples, RecordFormat
from mgd.host.runs.training import run_training
from mgd.host.session.golden import GoldenSession
from mgd.host.task.task import Task
from mgd.protocol.record import Samples, sample_records
from tests.support.paths import ROOT

IMAGES, TESTS, SIDE = 30, 12, 3
TOML = """
task = { name = "images" }
data = { source = "set/" }
network = { layers = [9, 4, 3], cost = "cross_entropy" }
training = { steps = 20, eval_every = 10 }
"""


def idx_bytes(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {
        "images": random.integers(0, 256, (IMAGES, SIDE, SIDE)),
        "labels": np.arange(IMAGES) % 3,
        "test images": random.integers(0, 256, (TESTS, SIDE, SIDE)),
        "test labels": np.arange(TESTS) % 3,
    }


@pytest.fixture
def folder(tmp_path, arrays) -> Path:
    """Two of the files are packed."""
    path = tmp_path / "set"
    path.mkdir()
    for name, array in arrays.items():
        content = idx_bytes(array)
        if "images" in name:
            (path / f"{idx.FILES[name]}.gz").write_bytes(gzip.compress(content))
        else:
            (path / idx.FILES[name]).write_bytes(content)
    (tmp_path / "images.toml").write_text(TOML)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MGD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def task(folder: Path, text: str = TOML) -> Task:
    return Task.parse(text, "images.toml", folder.parent)


def test_the_example_in_the_documentation_trains(tmp_path):
    text = (ROOT / "docs" / "streaming.md").read_text(encoding="utf-8")
    (toml,) = re.findall(r"^```toml fashion\n(.*?)^```$", text, re.M | re.S)
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    random = np.random.default_rng(4)
    for name, stem in idx.FILES.items():
        shape = (1200,) if "labels" in name else (1200, 28, 28)
        most = 10 if "labels" in name else 256
        (folder / stem).write_bytes(idx_bytes(random.integers(0, most, shape)))
    one = Task.parse(toml, "fashion.toml", tmp_path).with_overrides(steps=40, eval_every=40)
    result = run_training(GoldenSession(one.spec.network), one)
    assert (result.steps, result.settings.resident, result.settings.passes) == (40, 128, 8)
    assert len(one.datasets()[1]) == 1000


@pytest.mark.parametrize("bits", [None, 4, 1])
def test_codes_are_the_upper_bits_of_pixels(folder, arrays, bits):
    text = TOML if bits is None else TOML + f"numbers = {{ sample_bits = {bits} }}\n"
    one, bits = task(folder, text), bits or 8
    assert (one.spec.network.sample_bits, one.spec.network.sample_signed) == (bits, False)
    assert one.spec.settings.input_shift == 14 - bits
    train, test = one.datasets()
    order = permutation(IMAGES, one.spec.seed, "order")
    codes = arrays["images"].reshape(IMAGES, -1) >> (8 - bits)
    np.testing.assert_array_equal(train.codes, codes[order])
    np.testing.assert_array_equal(train.labels, arrays["labels"][order])
    np.testing.assert_array_equal(test.codes, arrays["test images"].reshape(TESTS, -1) >> 8 - bits)
    assert one.prepared.class_names == ("0", "1", "2")


def test_what_is_converted_is_mapped_and_the_same(folder, cache, monkeypatch):
    plain = task(folder).prepared
    monkeypatch.setattr(datasets_module, "LARGE", 0)
    first, second = task(folder).prepared, task(folder).prepared
    monkeypatch.setattr(idx, "read", lambda _path: pytest.fail("read again"))
    third = task(folder).prepared
    assert len(list(data_folder().iterdir())) == 1
    for prepared in (first, second, third):
        for name in ("train", "test"):
            found, wanted = getattr(prepared, name), getattr(plain, name)
            assert isinstance(found, PackedSamples)
            assert isinstance(found.records.file, np.memmap)
            assert found.codes.shape == wanted.codes.shape
            np.testing.assert_array_equal(found.codes[:], wanted.codes)
            np.testing.assert_array_equal(np.asarray(found.codes), wanted.codes)
            np.testing.assert_array_equal(found.codes[3], wanted.codes[3])
            np.testing.assert_array_equal(found.labels, wanted.labels)
            records = sample_records(wanted, task(folder).spec.network)
            np.testing.assert_array_equal(found.records[:], records)
            np.testing.assert_array_equal(found.records[np.array([5, 2])], records[[5, 2]])
        assert prepared.class_names == plain.class_names


def test_a_trainer_takes_mapped_samples(folder, cache, monkeypatch):
    one = task(folder)
    runs = []
    for large in (1 << 30, 0):
        monkeypatch.setattr(datasets_module, "LARGE", large)
        train, _ = task(folder).datasets()
        weights = [w[None] for w in initial_weights(one.spec.network, 1)]
        runs.append(
            Trainer(one.spec.network, one.spec.settings, train.codes, train.labels, weights, [1])
        )
        runs[-1].train(40)
    assert not isinstance(runs[1].codes, np.ndarray)
    for a, b in zip(runs[0].weights, runs[1].weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_contents_and_other_formats_are_other_conversions(folder, cache, monkeypatch, arrays):
    monkeypatch.setattr(datasets_module, "LARGE", 0)
    task(folder).datasets()
    digest = task(folder).config_digest()
    task(folder, TOML + "numbers = { sample_bits = 4 }\n").datasets()
    assert len(list(data_folder().iterdir())) == 2
    changed = arrays["labels"][::-1]
    (folder / idx.FILES["labels"]).write_bytes(idx_bytes(changed))
    train, _ = task(folder).datasets()
    np.testing.assert_array_equal(train.labels, changed[permutation(IMAGES, 1, "order")])
    assert task(folder).config_digest() != digest
    assert len(list(data_folder().iterdir())) == 3


def test_some_of_the_test_set(folder, cache, monkeypatch):
    whole, text = task(folder).datasets()[1], TOML.replace('"set/"', '"set/", test_samples = 5')
    picked = np.sort(permutation(TESTS, 0, "split")[:5])
    for large in (1 << 30, 0):
        monkeypatch.setattr(datasets_module, "LARGE", large)
        train, test = task(folder, text).datasets()
        assert (len(train), len(test)) == (IMAGES, 5)
        np.testing.assert_array_equal(test.codes[:], whole.codes[picked])
        np.testing.assert_array_equal(test.labels, whole.labels[picked])
    task(folder).datasets()
    assert len(list(data_folder().iterdir())) == 1
    with pytest.raises(UserError, match="test_samples = 13, but the test set has only 12"):
        task(folder, text.replace("= 5", "= 13")).datasets()


def test_a_large_table_is_converted_with_its_scaling(tmp_path, cache, monkeypatch):
    random = np.random.default_rng(5)
    x, y = random.normal(size=(50, 9)), np.arange(50) % 3
    np.savez(tmp_path / "t.npz", x=x, y=y)
    text = TOML.replace("set/", "t.npz")
    plain = Task.parse(text, "t.toml", tmp_path).prepared
    monkeypatch.setattr(datasets_module, "LARGE", 0)
    kept = [Task.parse(text, "t.toml", tmp_path).prepared for _ in range(2)]
    for prepared in kept:
        np.testing.assert_array_equal(prepared.train.codes[:], plain.train.codes)
        np.testing.assert_array_equal(prepared.test.codes[:], plain.test.codes)
        np.testing.assert_array_equal(prepared.scaling.low, plain.scaling.low)
        np.testing.assert_array_equal(prepared.scaling.high, plain.scaling.high)
        assert (prepared.notes, prepared.class_names) == (plain.notes, plain.class_names)
    split = text.replace('"t.npz"', '"t.npz", test_fraction = 0.5')
    assert len(Task.parse(split, "t.toml", tmp_path).datasets()[1]) == 25


def test_a_damaged_conversion_is_removed(folder, cache, monkeypatch):
    monkeypatch.setattr(datasets_module, "LARGE", 0)
    task(folder).datasets()
    (kept,) = data_folder().iterdir()
    (kept / "train.npy").write_bytes(b"x")
    with pytest.raises(UserError, match=r"could not be read .* start again") as error:
        task(folder).datasets()
    assert "\n" not in str(error.value)
    assert len(task(folder).datasets()[0]) == IMAGES


def test_no_room_for_a_conversion(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MGD_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(datasets_module, "LARGE", 0)
    with pytest.raises(UserError, match="set MGD_CACHE to another folder") as error:
        task(folder).datasets()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bits", [1, 3, 5, 8, 11, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_codes_come_back_from_records(bits, signed):
    network = Network((7, 3), sample_bits=bits, sample_signed=signed)
    random = np.random.default_rng(bits)
    codes = random.integers(network.code_min, network.code_max + 1, (20, 7))
    codes[0], codes[1] = network.code_min, network.code_max
    samples = Samples(codes, np.arange(20) % 3)
    packed = PackedSamples.of(sample_records(samples, network), RecordFormat.of(network))
    np.testing.assert_array_equal(packed.codes[:], codes)
    np.testing.assert_array_equal(packed.codes[4], codes[4])
    order = np.array([3, 1, 4])
    np.testing.assert_array_equal(packed.ordered(order).ordered(order[:0]).codes[:], codes[:0])
    again = packed.ordered(order).ordered(np.array([2, 0]))
    np.testing.assert_array_equal(again.codes[:], codes[[4, 3]])
    np.testing.assert_array_equal(again.labels, samples.labels[[4, 3]])


def spoil(path: Path, change) -> None:
    path.write_bytes(change(path.read_bytes()))


MISTAKES = {
    "no folder": (lambda f: f.rename(f.with_name("away")), ["no such folder"]),
    "no labels": (
        lambda f: (f / idx.FILES["labels"]).unlink(),
        ["neither train-labels-idx1-ubyte nor train-labels-idx1-ubyte.gz", "four IDX files"],
    ),
    "not gzip": (
        lambda f: spoil(f / f"{idx.FILES['images']}.gz", lambda b: b"x" + b[1:]),
        ["train-images-idx3-ubyte.gz", "no gzip file"],
    ),
    "cut gzip": (
        lambda f: spoil(f / f"{idx.FILES['images']}.gz", lambda b: b[:-9]),
        ["damaged"],
    ),
    "not IDX": (
        lambda f: spoil(f / idx.FILES["labels"], lambda b: b"PK\3\4" + b[4:]),
        ["begins with 50 4b 03 04", "00 00 08 01"],
    ),
    "empty": (lambda f: spoil(f / idx.FILES["labels"], lambda b: b""), ["begins with nothing"]),
    "cut": (
        lambda f: spoil(f / idx.FILES["labels"], lambda b: b[:-1]),
        ["holds 29 values, its head says 30"],
    ),
    "cut head": (lambda f: spoil(f / idx.FILES["labels"], lambda b: b[:6]), ["its head says"]),
    "other labels": (
        lambda f: spoil(f / idx.FILES["labels"], lambda _: idx_bytes(np.zeros(9))),
        ["has 30 images", "9 labels"],
    ),
    "other pixels": (
        lambda f: spoil(
            f / f"{idx.FILES['test images']}.gz",
            lambda _: gzip.compress(idx_bytes(np.zeros((TESTS, 2, 2)))),
        ),
        ["has 4 pixels", "have 9"],
    ),
    "a class too many": (
        lambda f: spoil(f / idx.FILES["labels"], lambda b: b[:-1] + b"\3"),
        ["labels up to 3", "end layers with 4"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_broken_sets_are_refused_in_a_line(folder, name):
    change, words = MISTAKES[name]
    change(folder)
    with pytest.raises(UserError) as error:
        task(folder).datasets()
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TOML.replace("[9, 4, 3]", "[8, 4, 3]"), ["images of 9 pixels", "start layers with 9"]),
        (TOML + "numbers = { sample_bits = 9, input_shift = 5 }", ["sample_bits = 9", "8 bits"]),
        (TOML + "numbers = { sample_bits = 4, sample_signed = true }", ["sample_signed = true"]),
        (TOML.replace('"set/"', '"set/", test_fraction = 0.5'), ["test_fraction = 0.5"]),
        (TOML.replace("set/", "sett"), ["source = 'sett'", "a / at its end"]),
    ],
)
def test_tasks_that_do_not_suit_the_set(folder, text, words):
    with pytest.raises(UserError) as error:
        task(folder, text).datasets()
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "renamed",
    [
        lambda name: name.replace("-idx", ".idx"),
        lambda name: name.replace("t10k", "test"),
        lambda name: f"emnist-letters-{name.replace('t10k', 'test')}",
        lambda name: name.replace("-ubyte", ".ubyte"),
    ],
)
def test_names_that_published_sets_have(folder, renamed):
    expected = task(folder).datasets()
    for path in list(folder.iterdir()):
        path.rename(folder / renamed(path.name))
    for a, b in zip(expected, task(folder).datasets(), strict=True):
        np.testing.assert_array_equal(a.codes, b.codes)
        np.testing.assert_array_equal(a.labels, b.labels)


def test_two_sets_in_a_folder_are_refused(folder):
    for path in list(folder.iterdir()):
        path.rename(folder / f"emnist-letters-{path.name}")
    (folder / "emnist-digits-train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(UserError, match="are of two sets"):
        task(folder).datasets()


def test_a_packed_file_without_its_suffix(folder):
    expected = task(folder).datasets()[0].codes
    packed = folder / f"{idx.FILES['images']}.gz"
    packed.rename(folder / idx.FILES["images"])
    np.testing.assert_array_equal(task(folder).datasets()[0].codes, expected)


def test_labels_from_one(folder, arrays):
    """As EMNIST's letters have: three classes need three outputs, not four."""
    for name in ("labels", "test labels"):
        (folder / idx.FILES[name]).write_bytes(idx_bytes(arrays[name] + 1))
    prepared = task(folder).prepared
    assert prepared.class_names == ("1", "2", "3")
    np.testing.assert_array_equal(np.unique(prepared.train.labels), [0, 1, 2])
    assert any("labels begin with 1" in note for note in prepared.notes)
