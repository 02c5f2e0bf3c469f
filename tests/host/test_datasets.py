"""The data: generators, files, split, order and encoding."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.seeds import permutation
from mgd.host.data.datasets import default_format
from mgd.host.data.generators import GENERATORS, LETTERS, letter_images
from mgd.host.data.splits import split
from mgd.host.task.task import Task

HEAD = '[task]\nname = "mine"\n'
CSV = """a,b,c,label
0.0,10,7,cat
1.0,20,7,dog
0.5,15,7,cat
0.25,12,7,dog
0.75,11,7,cat
"""


def task_for(folder: Path, source: str, layers: str, data: str = "", rest: str = "") -> Task:
    text = f'{HEAD}[data]\nsource = "{source}"\n{data}\n[network]\nlayers = {layers}\n{rest}'
    return Task.parse(text, "my.toml", folder)


def csv_task(folder: Path, text: str, layers="[3, 2, 2]", data="test_fraction = 0.4", rest=""):
    (folder / "t.csv").write_text(text)
    return task_for(folder, "t.csv", layers, data, rest)


def csv_error(folder: Path, text: str, **how) -> str:
    task = csv_task(folder, text, **how)
    with pytest.raises(UserError) as caught:
        task.datasets()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder / "t.csv"))
    return message


# -- generators -----------------------------------------------------------------------------


def test_xor_and_parity():
    train, test = Task.load("xor").datasets()
    assert sorted(map(tuple, train.codes)) == [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    np.testing.assert_array_equal(train.labels, (train.codes[:, 0] != train.codes[:, 1]))
    assert sorted(map(tuple, test.codes)) == sorted(map(tuple, train.codes))
    train, _ = Task.load("parity4").datasets()
    assert len(np.unique(train.codes, axis=0)) == 16
    np.testing.assert_array_equal(train.labels, (train.codes == 1).sum(axis=1) % 2)


def test_digits():
    train, test = Task.load("digits").datasets()
    assert (len(train), len(test)) == (1438, 359)
    codes = np.concatenate([train.codes, test.codes])
    assert (codes.min(), codes.max()) == (0, 16)
    assert 16 << Task.load("digits").spec.settings.input_shift == 1 << 14
    assert set(train.labels) == set(test.labels) == set(range(10))


def test_letters_stay_apart_with_two_flips_each():
    for a, b in combinations(LETTERS, 2):
        nearest = (letter_images(a)[:, None] != letter_images(b)[None]).sum(axis=-1).min()
        assert nearest >= 5, (a, b, nearest)


def test_nist7x7_full():
    made = GENERATORS["nist7x7"].make("full", 0)
    assert made.codes.shape == (44136, 49)
    np.testing.assert_array_equal(np.bincount(made.labels), [11034] * 4)
    packed = np.unique(np.packbits(made.codes.astype(np.uint8), axis=1), axis=0)
    # No letter at one place is a letter at another with four flips or fewer.
    assert len(packed) == 44136
    flips = (made.codes[:1226] != letter_images("N")[0]).sum(axis=1)
    np.testing.assert_array_equal(np.bincount(flips), [1, 49, 1176])


def test_nist7x7_easy_flips_six_percent():
    made = GENERATORS["nist7x7"].make("easy", 0)
    centred = np.stack([letter_images(letter)[4] for letter in LETTERS])
    flips = (made.codes != centred[made.labels]).mean()
    assert made.codes.shape == (1500, 49)
    assert 0.055 < flips < 0.065
    assert centred[:, [0, 6, 42, 48]].sum() == 0, "a 5x5 letter in the centre leaves a border"
    assert not np.array_equal(made.codes, GENERATORS["nist7x7"].make("easy", 1).codes)


@pytest.mark.parametrize(
    ("source", "layers", "numbers", "parts"),
    [
        ("digits", "[63, 10]", "", ["starts with 63", "64 inputs"]),
        ("digits", "[64, 9]", "", ["ends with 9", "10 classes"]),
        ("digits", "[64, 10]", "[numbers]\nsample_bits = 4", ["0 to 15", "0 to 16"]),
        ("xor", "[2, 2, 1]", "[numbers]\nsample_signed = false\ninput_shift = 1", ["-1 to 1"]),
    ],
)
def test_generated_data_must_fit_the_network(source, layers, numbers, parts):
    task = task_for(Path("."), source, layers, rest=numbers)
    with pytest.raises(UserError) as caught:
        task.datasets()
    for part in ["my.toml", *parts]:
        assert part in str(caught.value)


# -- split and order ------------------------------------------------------------------------


def test_split_is_fixed_and_order_follows_the_seed():
    one, two = (Task.load("digits").with_overrides(seed=seed) for seed in (1, 2))
    np.testing.assert_array_equal(one.datasets()[1].codes, two.datasets()[1].codes)
    a, b = one.datasets()[0], two.datasets()[0]
    assert not np.array_equal(a.codes, b.codes)
    rows = [sorted(map(bytes, np.c_[s.codes, s.labels].astype(np.int16))) for s in (a, b)]
    assert rows[0] == rows[1], "the same samples in another order, labels still theirs"


def test_split_parts_are_disjoint_and_whole():
    train, test = split(10, 0.3, seed=4, where="x")
    assert len(test) == 3
    assert sorted([*train, *test]) == list(range(10))
    assert list(test) == sorted(permutation(10, 4, "split")[:3])
    assert not np.array_equal(test, split(10, 0.3, seed=5, where="x")[1])


def test_split_needs_two_samples():
    with pytest.raises(UserError, match="1 sample cannot be split"):
        split(1, None, 0, "x")


def test_formats():
    assert default_format("digits", None, None, None) == (5, False, 10)
    assert default_format("a.csv", None, None, None) == (8, True, 8)
    assert default_format("a.csv", 8, False, None) == (8, False, 7)
    assert default_format("set/", None, None, None) == (8, False, 6)
    assert default_format("a.csv", 16, True, None) == (16, True, 0)


# -- CSV ------------------------------------------------------------------------------------


def test_csv_is_scaled_by_its_training_part(tmp_path):
    minmax = 'test_fraction = 0.4\nscaling = "minmax"\nstratify = false'
    task = csv_task(tmp_path, CSV, data=minmax)
    prepared = task.prepared
    train, test = task.datasets()
    assert prepared.class_names == ("cat", "dog")
    assert (len(train), len(test)) == (3, 2)
    values = np.array([[0, 10], [1, 20], [0.5, 15], [0.25, 12], [0.75, 11]])
    rows, test_rows = split(5, 0.4, 0, "x")
    low, high = values[rows].min(axis=0), values[rows].max(axis=0)
    expected = np.floor((values - low) / (high - low) * 255 + 0.5) - 128
    order = permutation(3, task.spec.seed, "order")
    np.testing.assert_array_equal(train.codes[:, :2], expected[rows][order])
    np.testing.assert_array_equal(test.codes[:, :2], np.clip(expected[test_rows], -128, 127))
    assert (train.codes[:, :2].min(axis=0) == -128).all()
    assert (train.codes[:, :2].max(axis=0) == 127).all()
    labels = np.array([0, 1, 0, 1, 0])
    np.testing.assert_array_equal(train.labels, labels[rows][order])
    np.testing.assert_array_equal(test.labels, labels[test_rows])
    assert (train.codes[:, 2] == 0).all()
    assert "1 of 3 columns never change: column 'c'" in prepared.notes


def test_values_outside_the_training_range_are_limited_and_reported(tmp_path):
    lines = [f"{n % 3 if n else 1000},{-9 * (n == 0)},{n % 2},{'ab'[n % 2]}" for n in range(10)]
    for seed in range(50):
        task = csv_task(tmp_path, "\n".join(lines), data=f"seed = {seed}")
        if 0 in split(10, None, seed, "x")[1]:
            break
    else:
        pytest.fail("no seed puts row 0 into the test set")
    row = list(split(10, None, seed, "x")[1]).index(0)
    # Above the first column's range; below that of the second, which is constant in training.
    assert list(task.datasets()[1].codes[row, :2]) == [127, 0]
    assert any("1 test values lie outside" in note for note in task.prepared.notes)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (CSV, ""),
        (CSV.replace(",", ";"), ""),
        (CSV.replace(",", "\t"), ""),
        ("\ufeff" + CSV.replace("\n", "\r\n"), ""),
        (CSV.split("\n", 1)[1], ""),
        (CSV, 'label_column = "label"'),
        (CSV, "label_column = 3"),
        (CSV.replace("\n", "\n\n"), ""),
    ],
)
def test_csv_dialects_give_the_same_samples(tmp_path, text, data):
    (tmp_path / "ref").mkdir()
    reference = csv_task(tmp_path / "ref", CSV, data="").datasets()
    found = csv_task(tmp_path, text, data=data).datasets()
    for a, b in zip(reference, found, strict=True):
        np.testing.assert_array_equal(a.codes, b.codes)
        np.testing.assert_array_equal(a.labels, b.labels)


def test_labels_may_hold_separators_and_line_ends(tmp_path):
    text = CSV.replace("cat", '"a, ""big""\ncat"').replace("dog", "d\u2028og")
    assert csv_task(tmp_path, text).prepared.class_names == ('a, "big"\ncat', "d\u2028og")
    assert "line 10 has 5" in csv_error(tmp_path, text + "1,2,3,4,5\n")


def test_label_in_the_first_column(tmp_path):
    text = "".join(f"{'xy'[n % 2]},{n},{n * n},1\n" for n in range(5))
    task = csv_task(tmp_path, text, data="label_column = 0")
    assert task.prepared.class_names == ("x", "y")
    assert sum(map(len, task.datasets())) == 5


def test_number_labels_sort_as_numbers(tmp_path):
    text = "".join(f"{n},0,1,{label}\n" for n, label in enumerate(["10", "9", "9.0", "10.0", "9"]))
    assert csv_task(tmp_path, text).prepared.class_names == ("9", "10")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["is empty"]),
        ("\n \n", ["is empty"]),
        ("a,b,c,label\n", ["header but no samples"]),
        ("1\n2\n", ["one column"]),
        (CSV.replace("0.5,15", "nan,15"), ["line 4", "column 'a'", "nan", "finite"]),
        (CSV.replace("0.5,15", "0.5,-inf"), ["line 4", "column 'b'", "-inf"]),
        (CSV.replace("0.5,15", "0.5,"), ["line 4", "column 'b'", "an empty cell"]),
        (CSV.replace("0.5,15", "0.5,many"), ["line 4", "column 'b'", "many"]),
        (CSV.replace("0.5,15", "0.5"), ["line 4 has 3 columns", "line 1 has 4"]),
        (CSV.replace("7,cat", "7,"), ["line 2", "label is missing"]),
        (CSV.replace("dog", "cat"), ["every label is 'cat'"]),
        (CSV.replace("0.25,12,7,dog", "0.25,12,7,emu"), ["line 5", "'emu'", "2 output nodes"]),
        (CSV.replace("a,b,c", "a,1,c"), ["line 1", "column 0", "a is no finite number"]),
        ("0,0,0,a\n1e308,0,0,b\n-1e308,0,0,a\n" * 9, ["column 0", "too wide"]),
    ],
)
def test_broken_csv_names_line_and_column(tmp_path, text, parts):
    message = csv_error(tmp_path, text)
    for part in parts:
        assert part in message


def test_wrong_number_of_columns(tmp_path):
    message = csv_error(tmp_path, CSV, layers="[5, 2, 2]")
    assert "3 input columns" in message
    assert "starts with 5" in message


def test_label_column_that_is_not_there(tmp_path):
    assert "columns 0 to 3" in csv_error(tmp_path, CSV, data="label_column = 4")
    message = csv_error(tmp_path, CSV, data='label_column = "lable"')
    assert "did you mean 'label'" in message


def test_one_output_tells_two_classes_apart(tmp_path):
    assert csv_task(tmp_path, CSV, layers="[3, 1]").prepared.class_names == ("cat", "dog")
    message = csv_error(tmp_path, CSV.replace("12,7,dog", "12,7,emu"), layers="[3, 1]")
    assert "1 output node tell 2 classes" in message


@pytest.mark.parametrize(("name", "part"), [("none.csv", "no such file"), ("d.csv", "directory")])
def test_csv_that_cannot_be_read(tmp_path, name, part):
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(UserError, match=part):
        task_for(tmp_path, name, "[3, 2]").datasets()


def test_csv_that_is_no_text(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"1,2,\xff\n")
    with pytest.raises(UserError, match="byte 4 is no UTF-8"):
        task_for(tmp_path, "t.csv", "[3, 2]").datasets()


# -- NPZ ------------------------------------------------------------------------------------


def npz_error(folder: Path, **arrays) -> str:
    np.savez(folder / "t.npz", **arrays)
    with pytest.raises(UserError) as caught:
        task_for(folder, "t.npz", "[4, 2, 2]").datasets()
    assert "\n" not in str(caught.value)
    assert str(folder / "t.npz") in str(caught.value)
    return str(caught.value)


X = np.arange(24.0).reshape(6, 2, 2)
Y = np.array([0, 1, 0, 1, 0, 1])


def test_npz_with_a_test_set(tmp_path):
    far = np.stack([X[0] + 100, X[1] - 100])
    np.savez(tmp_path / "t.npz", x=X, y=Y, x_test=far, y_test=Y[:2])
    task = task_for(tmp_path, "t.npz", "[4, 2, 2]", 'scaling = "minmax"')
    train, test = task.datasets()
    assert train.codes.shape == (6, 4)
    assert test.codes.shape == (2, 4)
    assert test.codes.tolist() == [[127] * 4, [-128] * 4], "limited to the training range"
    assert sorted(train.codes[:, 0]) == [-128, -77, -26, 25, 76, 127]
    with pytest.raises(UserError, match=r"test_fraction = 0\.5 has no meaning"):
        task_for(tmp_path, "t.npz", "[4, 2, 2]", "test_fraction = 0.5").datasets()


def test_npz_without_one_is_split(tmp_path):
    np.savez(tmp_path / "t.npz", x=X, y=np.array(["a", "b"] * 3))
    task = task_for(tmp_path, "t.npz", "[4, 2, 2]")
    assert [len(part) for part in task.datasets()] == [4, 2], "of each class one"
    assert task.prepared.class_names == ("a", "b")


def test_broken_npz(tmp_path):
    bad = X.copy()
    bad[3, 0, 1] = np.nan
    assert "row 3, column 1: nan" in npz_error(tmp_path, x=bad, y=Y)
    assert "has no array 'y'" in npz_error(tmp_path, x=X)
    assert "pickled objects" in npz_error(tmp_path, x=X, y=np.array([{}] * 6, dtype=object))
    assert "x has 6 samples, y has 5" in npz_error(tmp_path, x=X, y=Y[:5])
    assert "y has shape (6, 1, 1)" in npz_error(tmp_path, x=X, y=Y[:, None, None])
    assert "x is empty" in npz_error(tmp_path, x=X[:0], y=Y[:0])
    assert "belong together" in npz_error(tmp_path, x=X, y=Y, x_test=X)
    assert "label '7'" in npz_error(tmp_path, x=X, y=Y, x_test=X[:1], y_test=np.array([7]))
    assert "row 2: label '2'" in npz_error(tmp_path, x=X, y=np.array([0, 1, 2, 1, 0, 1]))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04cut short"])
def test_files_that_are_no_npz(tmp_path, content):
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"t\.npz: ") as caught:
        task_for(tmp_path, "t.npz", "[4, 2, 2]").datasets()
    assert "\n" not in str(caught.value)


def test_npz_of_another_width(tmp_path):
    np.savez(tmp_path / "t.npz", x=X, y=Y)
    with pytest.raises(UserError, match=r"4 input columns.*starts with 5"):
        task_for(tmp_path, "t.npz", "[5, 2, 2]").datasets()
