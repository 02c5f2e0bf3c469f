"""Tables of one's own: what is read, what is refused, and by which key it is cured."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.host.data.content import CURES, SIGNATURES
from mgd.host.task.task import Task

COUNT = 60


def task_of(folder: Path, source: str, inputs: int, data: str = "", classes: int = 2) -> Task:
    text = (
        f'task = {{ name = "t" }}\n[data]\nsource = "{source}"\n{data}\n'
        f'[network]\nlayers = [{inputs}, 4, {classes}]\ncost = "cross_entropy"\n'
    )
    return Task.parse(text, "t.toml", folder)


def refused(folder: Path, source: str, inputs: int, data: str = "") -> str:
    with pytest.raises(UserError) as caught:
        _ = task_of(folder, source, inputs, data).prepared
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lines(*columns: str, count: int = COUNT, separator: str = ",") -> str:
    """A table: each column is a name and a Python expression of the row's number n."""
    parts = [column.split("=", 1) for column in columns]
    rows = [separator.join(name for name, _ in parts)]
    for n in range(count):
        rows.append(separator.join(str(eval(text, {"n": n})) for _, text in parts))
    return "\n".join(rows) + "\n"


A, B, KIND = "a=n * 7 % 13", "b=n * 5 % 11 + 0.5", "kind='xy'[n * n % 7 % 2]"
PLAIN = lines(A, B, KIND)


@pytest.fixture
def plain(tmp_path):
    """Codes and labels of the plain table, as all its disguises must give them."""
    (tmp_path / "plain.csv").write_text(PLAIN)
    return task_of(tmp_path, "plain.csv", 2).prepared


def same(one, other) -> None:
    for name in ("train", "validation", "test"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a.codes, b.codes)
            np.testing.assert_array_equal(a.labels, b.labels)


# -- disguises of one table -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "data"),
    [
        ("t.csv", PLAIN.encode("utf-16"), ""),
        ("t.csv", PLAIN.encode("utf-16-le"), ""),
        ("t.csv", PLAIN.encode("utf-16-be"), ""),
        ("t.csv", PLAIN.encode("utf-8-sig"), ""),
        ("t.csv", PLAIN.encode("utf-32"), ""),
        ("t.csv", gzip.compress(PLAIN.encode()), ""),
        ("t.csv.gz", gzip.compress(PLAIN.encode()), ""),
        ("t.tsv", PLAIN.replace(",", "\t").encode(), ""),
        ("t.txt", PLAIN.replace(",", " ").encode(), ""),
        ("t.data", PLAIN.replace(",", "   ").encode(), ""),
        ("t.csv", PLAIN.replace(",", "|").encode(), ""),
        ("t.csv", PLAIN.replace("\n", "\r").encode(), ""),
        ("t.csv", PLAIN.replace("\n", " \n").encode(), ""),
        ("t.csv", ("sep=;\n" + PLAIN.replace(",", ";")).encode(), ""),
        ("t.csv", PLAIN.replace(",", ";").replace(".", ",").encode(), 'decimal = ","'),
        ("t.csv", (PLAIN + ",,\n,,\n").encode(), ""),
        ("t.csv", PLAIN.replace("\n", "\n\n").encode(), ""),
        ("T.CSV", PLAIN.encode(), ""),
    ],
)
def test_disguises_of_one_table(tmp_path, plain, name, content, data):
    (tmp_path / name).write_bytes(content)
    same(task_of(tmp_path, name, 2, data).prepared, plain)


def test_parquet(tmp_path, plain):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pd.read_csv(tmp_path / "plain.csv").to_parquet(tmp_path / "t.parquet")
    same(task_of(tmp_path, "t.parquet", 2).prepared, plain)
    same(task_of(tmp_path, "t.parquet", 2, 'label_column = "kind"').prepared, plain)


def test_names_of_a_windows_program(tmp_path):
    (tmp_path / "t.csv").write_bytes(PLAIN.replace("x\n", "Bär\n").encode("cp1252"))
    message = refused(tmp_path, "t.csv", 2)
    assert "is no UTF-8" in message
    assert "encoding = 'cp1252'" in message
    prepared = task_of(tmp_path, "t.csv", 2, 'encoding = "cp1252"').prepared
    assert prepared.class_names == ("Bär", "y")
    assert "encoding = 'klingon' is unknown" in refused(
        tmp_path, "t.csv", 2, 'encoding = "klingon"'
    )


# -- files that are something else ------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("start", SIGNATURES)
def test_a_file_that_is_something_else(tmp_path, name, start):
    if name == "t.parquet" and start == b"PAR1":
        return
    (tmp_path / name).write_bytes(start + b" and more")
    message = refused(tmp_path, name, 2)
    assert SIGNATURES[start] in message
    assert CURES.get(SIGNATURES[start], "CSV") in message


def test_archives_that_are_called_csv(tmp_path):
    import zipfile

    for inside, part in (
        ("xl/workbook.xml", "Excel workbook"),
        ("x.npy", "name it .npz"),
        ("train.csv", "ZIP archive (of train.csv); unpack it"),
    ):
        with zipfile.ZipFile(tmp_path / "t.csv", "w") as archive:
            archive.writestr(inside, "content")
        assert part in refused(tmp_path, "t.csv", 2)


def test_a_single_array_that_is_called_npz(tmp_path):
    np.save(tmp_path / "t.npy", np.zeros((3, 2)))
    (tmp_path / "t.npy").rename(tmp_path / "t.npz")
    assert "single array" in refused(tmp_path, "t.npz", 2)
    (tmp_path / "t.npz").write_text(PLAIN)
    assert "name a text table .csv" in refused(tmp_path, "t.npz", 2)


def test_a_parquet_name_for_text(tmp_path):
    (tmp_path / "t.parquet").write_text(PLAIN)
    assert "is no Parquet file" in refused(tmp_path, "t.parquet", 2)
    (tmp_path / "t.parquet").write_bytes(b"PAR1 cut short")
    message = refused(tmp_path, "t.parquet", 2)
    assert "Parquet" in message


# -- columns ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["a,a,kind", "kind,b,kind", "b,kind,kind", " a,a ,kind", "x,y,x"]
)
def test_columns_of_one_name_are_refused(tmp_path, header):
    (tmp_path / "t.csv").write_text(PLAIN.replace("a,b,kind", header))
    message = refused(tmp_path, "t.csv", 2, 'label_column = "kind"' if "kind" in header else "")
    assert "are both called" in message
    assert "rename or remove" in message


def test_an_index_column_is_named(tmp_path):
    (tmp_path / "t.csv").write_text(lines("=n", A, B, KIND))
    message = refused(tmp_path, "t.csv", 2)
    assert "3 input columns" in message
    assert "counts the samples (0, 1, 2, …)" in message
    assert "ignore = [0]" in message
    assert "start layers with" not in message
    notes = task_of(tmp_path, "t.csv", 3).prepared.notes
    assert any("column 0 (unnamed) counts the samples" in note for note in notes)
    notes = task_of(tmp_path, "t.csv", 2, "ignore = [0]").prepared.notes
    assert not any("counts" in note for note in notes)


@pytest.mark.parametrize(
    ("column", "part"),
    [
        ("id=n + 1", "counts the samples (1, 2, 3, …)"),
        ("time=n * n + 0.5", "rises from each sample to the next"),
        ("rest=99.5 - n", "falls from each sample to the next"),
        ("id=n * 7 % 60 + 1000", "holds another whole number in every sample"),
        ("leak='uv'['xy'.index('xy'[n * n % 7 % 2])]", "alone decides the answer"),
        ("leak=10 * (n * n % 7 % 2) + n % 5 / 100", "alone decides the answer"),
    ],
)
def test_columns_that_give_the_answer_away(tmp_path, column, part):
    name = column.split("=")[0]
    (tmp_path / "t.csv").write_text(lines(column, A, B, KIND))
    notes = task_of(tmp_path, "t.csv", 3).prepared.notes
    assert any(part in note and f"ignore = ['{name}']" in note for note in notes), notes
    notes = task_of(tmp_path, "t.csv", 2, f'ignore = ["{name}"]').prepared.notes
    assert not any(part in note for note in notes)


def test_ordinary_columns_are_not_suspected(plain):
    assert not any("ignore" in note for note in plain.notes), plain.notes


def test_ignored_columns_must_be_there(tmp_path):
    (tmp_path / "t.csv").write_text(PLAIN)
    assert "did you mean 'b'" not in refused(tmp_path, "t.csv", 1, 'ignore = ["zz"]')
    assert "ignore = 9" in refused(tmp_path, "t.csv", 1, "ignore = [9]")
    assert "no column is left" in refused(tmp_path, "t.csv", 2, 'ignore = ["a", "b"]')
    with pytest.raises(UserError, match=r"ignore = 'a': must be a list"):
        task_of(tmp_path, "t.csv", 1, 'ignore = "a"')


# -- cells --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "?", "null", "NaN", "None", "#N/A"])
def test_missing_cells(tmp_path, plain, cell):
    table = PLAIN.split("\n")
    table[7] = ",".join([cell, *table[7].split(",")[1:]])
    (tmp_path / "t.csv").write_text("\n".join(table))
    message = refused(tmp_path, "t.csv", 2)
    assert "line 8, column 'a'" in message
    assert "missing = 'drop'" in message
    dropped = task_of(tmp_path, "t.csv", 2, 'missing = "drop"').prepared
    parts = (dropped.train, dropped.validation, dropped.test)
    assert sum(len(part) for part in parts if part is not None) == COUNT - 1
    assert any("1 of 60 samples" in note for note in dropped.notes)
    filled = task_of(tmp_path, "t.csv", 2, 'missing = "mean"').prepared
    assert len(filled.train) == len(plain.train)
    given = [float(line.split(",")[0]) for line in PLAIN.split("\n")[1:-1]]
    (column, _) = filled.preparation.columns
    assert column.fill == pytest.approx(np.mean(given), abs=1.0)
    assert column.fill != 0


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("line", "1,5"), ["has a decimal comma", "decimal = ','"]),
        (("line", '"1,234,567"'), ["between thousands", "thousands = ','"]),
        (("line", "2024-05-17"), ["is a date or a time", "ignore = ['c']"]),
        (("line", "17.05.2024"), ["is a date or a time"]),
        (("line", "5/17/2024"), ["is a date or a time"]),
        (("line", "12:30"), ["is a date or a time"]),
        (("line", "5 kg"), ["is a number with a unit", "categorical = ['c']"]),
        (("line", "12%"), ["is a number with a unit"]),
        (("line", "$5.20"), ["is a number with a unit"]),
    ],
)
def test_cells_that_only_look_like_numbers(tmp_path, change, parts):
    _, cell = change
    rows = PLAIN.replace(",", ";").split("\n")
    rows = [f"c;{rows[0]}", *(f"{cell};{row}" for row in rows[1:-1])]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    message = refused(tmp_path, "t.csv", 3)
    assert "line 2, column 'c'" in message
    for part in parts:
        assert part in message


def test_signs_between_thousands(tmp_path, plain):
    rows = PLAIN.split("\n")
    rows = [
        f"c,{rows[0]}",
        *(f'"{n * 37 % 60 + 1},{n:03}",{row}' for n, row in enumerate(rows[1:-1])),
    ]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    assert "thousands = ','" in refused(tmp_path, "t.csv", 3)
    prepared = task_of(tmp_path, "t.csv", 3, 'thousands = ","').prepared
    assert prepared.scaling.low[0] + 60_000 >= 1000
    assert prepared.scaling.high[0] > 30_000
    # 1,5 would become 15 without a look at the places of the signs.
    (tmp_path / "t.csv").write_text("\n".join(rows).replace('"1,000"', '"1,5"'))
    assert "no finite number" in refused(tmp_path, "t.csv", 3, 'thousands = ","')


def test_a_point_is_no_decimal_comma(tmp_path):
    text = PLAIN.replace(",", ";").replace(".5", ",5").replace("\n0;", "\n1.234;", 1)
    (tmp_path / "t.csv").write_text(text)
    message = refused(tmp_path, "t.csv", 2, 'decimal = ","')
    assert "1.234 is no finite number" in message
    assert "thousands = '.'" in message


def test_text_columns_become_inputs(tmp_path):
    (tmp_path / "t.csv").write_text(
        lines(A, "island=['Biscoe', 'Dream', 'NA'][n % 3]", "sex='mf'[n % 2]", KIND)
    )
    message = refused(tmp_path, "t.csv", 3)
    assert "5 inputs from 3 columns (text: 'island' makes 3, 'sex' makes 1)" in message
    prepared = task_of(tmp_path, "t.csv", 5).prepared
    assert prepared.preparation.inputs == [
        "a", "island = Biscoe", "island = Dream", "island = NA", "sex = m",
    ]  # fmt: skip
    islands = prepared.train.codes[:, 1:4]
    assert set(np.unique(islands)) == {0, 63}
    assert (islands.sum(axis=1) == 63).all(), "one of three"
    assert set(np.unique(prepared.train.codes[:, 4])) == {-64, 63}


def test_booleans_and_zip_codes(tmp_path):
    (tmp_path / "t.csv").write_text(lines(A, "yes=n % 2 == 0", "zip=10000 + n % 3", KIND))
    prepared = task_of(tmp_path, "t.csv", 5, 'categorical = ["zip"]').prepared
    assert prepared.preparation.inputs[1:] == [
        "yes = True", "zip = 10000", "zip = 10001", "zip = 10002",
    ]  # fmt: skip


def test_too_many_texts(tmp_path):
    (tmp_path / "t.csv").write_text(lines(A, "name='n' + str(n)", KIND))
    message = refused(tmp_path, "t.csv", 2)
    assert "60 different texts" in message
    assert "ignore = ['name']" in message


def test_texts_without_a_header(tmp_path):
    rows = [f"{'uvw'[n % 3]},{'pq'[n % 2]},{'xy'[n * n % 7 % 2]}" for n in range(COUNT)]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    prepared = task_of(tmp_path, "t.csv", 4).prepared
    counts = prepared.counts()
    assert sum(each["samples"] for each in counts.values()) == COUNT, "no sample became a header"


# -- scaling ------------------------------------------------------------------------------------


def far_table(folder: Path, value: str) -> str:
    rows = PLAIN.split("\n")
    rows[5] = ",".join([value, *rows[5].split(",")[1:]])
    (folder / "t.csv").write_text("\n".join(rows))
    return "t.csv"


@pytest.mark.parametrize("value", ["-9999", "1e9", "1e300", "-1e12", "99999"])
def test_a_value_far_out_does_not_squeeze_the_others(tmp_path, value):
    source = far_table(tmp_path, value)
    prepared = task_of(tmp_path, source, 2, "test_fraction = 0.02").prepared
    used = len(np.unique(prepared.train.codes[:, 0]))
    assert used >= 12, "13 values, of which one may be limited"
    codes = prepared.train.codes[:, 0]
    assert codes.max() - codes.min() > 128
    assert any("column 'a' uses" in n and "1 value is" in n for n in prepared.notes), prepared.notes


def test_collapsed_codes_are_said(tmp_path):
    source = far_table(tmp_path, "1e9")
    prepared = task_of(tmp_path, source, 2, 'scaling = "minmax"\ntest_fraction = 0.02').prepared
    (note,) = [n for n in prepared.notes if "codes" in n]
    assert "column 'a' uses 2 of 256 codes" in note
    assert "times the median" in note
    assert "scaling = 'robust'" in note


@pytest.mark.parametrize("scaling", ["standardize", "minmax", "robust"])
def test_scalings(tmp_path, scaling):
    (tmp_path / "t.csv").write_text(PLAIN)
    prepared = task_of(tmp_path, "t.csv", 2, f'scaling = "{scaling}"').prepared
    x = np.array([[float(c) for c in r.split(",")[:2]] for r in PLAIN.split("\n")[1:-1]])
    # Which samples train is not at issue: the middle and the width are near those of all.
    low, high = {
        "minmax": (x.min(axis=0), x.max(axis=0)),
        "standardize": (x.mean(axis=0) - 2.5 * x.std(axis=0), x.mean(axis=0) + 2.5 * x.std(axis=0)),
        "robust": (np.median(x, axis=0) - 2.5 * np.subtract(*np.percentile(x, [75, 25], axis=0))
                   / 1.349, None),
    }[scaling]  # fmt: skip
    np.testing.assert_allclose(prepared.scaling.low, low, atol=1.5)
    if high is not None:
        np.testing.assert_allclose(prepared.scaling.high, high, atol=1.5)


# -- parts --------------------------------------------------------------------------------------


def test_every_class_is_in_every_part(tmp_path):
    text = lines(A, B, "kind='rare' if n % 20 == 3 else 'xy'[n % 2]")
    (tmp_path / "t.csv").write_text(text)
    for seed in range(8):
        counts = task_of(tmp_path, "t.csv", 2, f"seed = {seed}", 3).prepared.counts()
        assert all(counts["train"].values())
        assert all(counts["test"].values())


def test_a_class_in_the_test_part_alone_is_refused(tmp_path):
    text = lines(A, B, "kind='rare' if n == 3 else 'xy'[n % 2]")
    (tmp_path / "t.csv").write_text(text)
    messages, notes = [], []
    for seed in range(12):
        notes += task_of(tmp_path, "t.csv", 2, f"seed = {seed}", 3).prepared.notes
        try:
            task_of(tmp_path, "t.csv", 2, f"seed = {seed}\nstratify = false", 3).datasets()
        except UserError as error:
            messages.append(str(error))
    assert 1 <= len(messages) < 12
    assert "no training sample has the label 'rare'" in messages[0]
    assert sum("no test sample has the label 'rare'" in note for note in notes) == 12


def test_small_and_uneven_parts_are_said(tmp_path):
    (tmp_path / "t.csv").write_text(lines(A, B, "kind='xy'[n % 10 == 3]"))
    notes = task_of(tmp_path, "t.csv", 2, "", 5).prepared.notes
    assert any("the test part has 12 samples" in note for note in notes)
    assert any("90 % of the training samples have the label 'x'" in note for note in notes)
    assert any("2 labels, but layers ends with 5: 3 outputs are never" in note for note in notes)


def test_samples_in_both_parts_are_said(tmp_path):
    (tmp_path / "t.csv").write_text(lines("a=n % 3", "b=n % 2", "kind='xy'[n % 2]"))
    notes = task_of(tmp_path, "t.csv", 2).prepared.notes
    assert any("test samples also occur in the training part" in note for note in notes)


def test_validation_part(tmp_path):
    (tmp_path / "t.csv").write_text(lines(A, B, KIND, count=200))
    counts = task_of(tmp_path, "t.csv", 2).prepared.counts()
    assert [counts[name]["samples"] for name in ("train", "validation", "test")] == [140, 20, 40]
    prepared = task_of(tmp_path, "t.csv", 2, "validation_fraction = 0.25").prepared
    assert len(prepared.validation) == 50
    assert task_of(tmp_path, "t.csv", 2, "validation_fraction = 0.0").prepared.validation is None
    (tmp_path / "s.csv").write_text(lines(A, B, KIND, count=40))
    assert task_of(tmp_path, "s.csv", 2).prepared.validation is None, "4 samples say nothing"
    digits = Task.parse(
        'task = { name = "d" }\ndata = { source = "digits", validation_fraction = 0.1 }\n'
        "network = { layers = [64, 10] }\n",
        "d.toml",
        tmp_path,
    ).prepared
    assert (len(digits.train), len(digits.validation)) == (1294, 144)


def test_a_test_file(tmp_path, plain):
    rows = PLAIN.split("\n")
    (tmp_path / "train.csv").write_text("\n".join(rows[:41]))
    # Other order of the columns, and one more.
    swapped = [",".join([*reversed(r.split(",")[:2]), "0", r.split(",")[2]]) for r in rows[41:-1]]
    (tmp_path / "test.csv").write_text("\n".join(["b,a,more,kind", *swapped]))
    data = 'test_source = "test.csv"'
    prepared = task_of(tmp_path, "train.csv", 2, data).prepared
    assert (len(prepared.train), len(prepared.test)) == (40, 20)
    assert "test_fraction" in refused(tmp_path, "train.csv", 2, f"{data}\ntest_fraction = 0.5")
    (tmp_path / "test.csv").write_text("\n".join(["b,aa,kind", *rows[41:-1]]))
    assert "has no column 'a'" in refused(tmp_path, "train.csv", 2, data)
    digest = task_of(tmp_path, "train.csv", 2, data).config_digest()
    (tmp_path / "test.csv").write_text(PLAIN)
    assert task_of(tmp_path, "train.csv", 2, data).config_digest() != digest


@pytest.mark.parametrize(
    "names", [("x_train", "y_train"), ("X", "y"), ("train_images", "train_labels")]
)
def test_names_of_arrays_in_published_files(tmp_path, names):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(50, 4)), np.arange(50) % 2
    np.savez(tmp_path / "t.npz", **{names[0]: x, names[1]: y[:, None]})
    assert task_of(tmp_path, "t.npz", 4).prepared.counts()["test"]["samples"] == 10
