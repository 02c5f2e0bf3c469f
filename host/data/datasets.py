"""The training and the test samples of a task, encoded for the core's sample memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ACT_FRAC, Network
from mgd.golden_model.seeds import permutation
from mgd.host.data import idx
from mgd.host.data.conversion import LARGE, converted
from mgd.host.data.encoding import Scaling, class_numbers, class_order
from mgd.host.data.generators import GENERATORS
from mgd.host.data.packed import PackedSamples
from mgd.host.data.prepared import Prepared
from mgd.host.data.tables import Table, read_csv, read_npz
from mgd.host.task.errors import near
from mgd.host.task.file import DataSection
from mgd.protocol.record import Samples

SOURCES = tuple(GENERATORS)
"""Names of the built-in sources."""
SUFFIXES = (".csv", ".npz")
FOLDER = "/"
"""What the path of a folder with IDX files ends with."""
TEST_FRACTION = 0.2
TABLE_SAMPLE_BITS = 8
"""Of tables and of pixels."""


def check_options(data: DataSection) -> None:
    """Raise UserError for an unknown source or an option that this source does not have."""
    kind = _kind(data.source)
    for name, value, allowed in (
        ("variant", data.variant, kind == "nist7x7"),
        ("label_column", data.label_column, kind == ".csv"),
        ("test_fraction", data.test_fraction, kind not in ("xor", "parity4", FOLDER)),
    ):
        if value is not None and not allowed:
            raise UserError(
                f"[data] {name} = {value!r}: source = {data.source!r} has no such option; remove it"
            )


def default_format(
    source: str, bits: int | None, signed: bool | None, shift: int | None
) -> tuple[int, bool, int]:
    """(sample_bits, sample_signed, input_shift) with the source's own where None is given.

    Tables default to 8-bit signed codes, images to 8-bit unsigned ones, shifted so that the codes
    span [−1, 1) or [0, 1).
    """
    generator = GENERATORS.get(source)
    if generator is not None:
        return (
            generator.sample_bits if bits is None else bits,
            generator.sample_signed if signed is None else signed,
            generator.input_shift if shift is None else shift,
        )
    bits = TABLE_SAMPLE_BITS if bits is None else bits
    signed = not source.endswith(FOLDER) if signed is None else signed
    if shift is None:
        shift = min(max(ACT_FRAC - bits + int(signed), 0), ACT_FRAC)
    return bits, signed, shift


def prepare(
    data: DataSection, network: Network, folder: Path, origin: str, order_seed: int
) -> Prepared:
    """Read or make the samples, split, encode, and order them.

    `folder`: where relative paths start.  `origin`: the task file, for messages.
    `order_seed` permutes the training samples; the split depends on data.seed only.
    Raises UserError for anything that does not fit.
    """
    if data.source in GENERATORS:
        prepared = _built_in(data, network, origin)
    else:
        prepared = _from_path(data, network, folder)
    test = prepared.test if data.test_samples is None else _some(prepared.test, data, origin)
    order = permutation(len(prepared.train), order_seed, "order")
    train = _picked(prepared.train, order)
    return Prepared(train, test, prepared.class_names, prepared.scaling, prepared.notes)


def _some(test: Samples, data: DataSection, origin: str) -> Samples:
    """data.test_samples of the test set, in its order."""
    assert data.test_samples is not None
    if data.test_samples > len(test):
        raise UserError(
            f"{origin}: [data] test_samples = {data.test_samples}, but the test set has only "
            f"{len(test)}; lower it or leave it out"
        )
    return _picked(test, np.sort(permutation(len(test), data.seed, "split")[: data.test_samples]))


def _picked(samples: Samples, numbers: np.ndarray) -> Samples:
    if isinstance(samples, PackedSamples):
        return samples.ordered(numbers)
    return Samples(samples.codes[numbers], samples.labels[numbers])


def _kind(source: str) -> str:
    if source in GENERATORS:
        return source
    if source.endswith(FOLDER):
        return FOLDER
    suffix = Path(source).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(
            f"[data] source = {source!r}: unknown{near(source, SOURCES)}; it must be one of "
            f"{', '.join(SOURCES)}, the path of a .csv or .npz file, or a folder of IDX files with "
            "a / at its end"
        )
    return suffix


def _built_in(data: DataSection, network: Network, origin: str) -> Prepared:
    made = GENERATORS[data.source].make(data.variant, data.seed)
    inputs = made.codes.shape[1]
    if inputs != network.layers[0]:
        raise UserError(
            f"{origin}: [network] layers starts with {network.layers[0]}, but "
            f"source = {data.source!r} has {inputs} inputs; start layers with {inputs}"
        )
    if len(made.class_names) > network.classes:
        raise UserError(
            f"{origin}: [network] layers ends with {network.outputs}, but "
            f"source = {data.source!r} has {len(made.class_names)} classes; end layers with "
            f"{len(made.class_names)}"
        )
    low, high = int(made.codes.min()), int(made.codes.max())
    if low < network.code_min or high > network.code_max:
        raise UserError(
            f"{origin}: [numbers] sample_bits = {network.sample_bits}, "
            f"sample_signed = {str(network.sample_signed).lower()} hold {network.code_min} to "
            f"{network.code_max}, but source = {data.source!r} has codes {low} to {high}; "
            "remove both keys to get the source's own format"
        )
    everything = Samples(made.codes, made.labels)
    if not made.separate_test:
        return Prepared(everything, everything, made.class_names, None, ())
    train, test = split(len(made.labels), data.test_fraction, data.seed, origin)
    return Prepared(
        Samples(made.codes[train], made.labels[train]),
        Samples(made.codes[test], made.labels[test]),
        made.class_names,
        None,
        (),
    )


def source_digest(path: Path, source: str) -> str:
    """SHA-256 of the contents of a file, or of a folder's IDX files.

    path: where `source` is.  Raises OSError or UserError where it cannot be read.
    """
    if source.endswith(FOLDER):
        return idx.digest(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_path(data: DataSection, network: Network, folder: Path) -> Prepared:
    """From a file or a folder; converted once where that takes long."""
    path, read = folder / data.source, _from_file
    if _kind(data.source) == FOLDER:
        read = _from_folder
        size = sum(file.stat().st_size for file in idx.find(path).values())
    else:
        size = path.stat().st_size if path.is_file() else 0
    if size < LARGE:
        return read(data, network, folder)
    key = {**data.model_dump(exclude={"test_samples"}), "source": source_digest(path, data.source)}
    return converted(str(sorted(key.items())), network, lambda: read(data, network, folder))


def _from_folder(data: DataSection, network: Network, folder: Path) -> Prepared:
    """IDX images.  The code of a pixel is its sample_bits upper bits."""
    path = folder / data.source
    arrays = idx.read(path)
    inputs = arrays["images"].shape[1]
    if inputs != network.layers[0]:
        raise UserError(
            f"{path}: has images of {inputs} pixels, but [network] layers starts with "
            f"{network.layers[0]}; start layers with {inputs}"
        )
    if network.sample_bits > 8 or network.sample_signed:
        raise UserError(
            f"{path}: sample_bits = {network.sample_bits}, sample_signed = "
            f"{str(network.sample_signed).lower()}: a pixel has 8 bits and no sign; use "
            "sample_bits = 8 or less, sample_signed = false"
        )
    classes = int(max(arrays["labels"].max(), arrays["test labels"].max())) + 1
    if classes > network.classes:
        raise UserError(
            f"{path}: has labels up to {classes - 1}, but [network] layers ends with "
            f"{network.outputs}; end layers with {classes}"
        )
    shift = 8 - network.sample_bits
    train, test = (
        Samples(arrays[f"{name}images"] >> shift, arrays[f"{name}labels"].astype(np.int64))
        for name in ("", "test ")
    )
    return Prepared(train, test, tuple(map(str, range(classes))), None, ())


def _from_file(data: DataSection, network: Network, folder: Path) -> Prepared:
    path = folder / data.source
    if _kind(data.source) == ".csv":
        column = -1 if data.label_column is None else data.label_column
        table, test_table = read_csv(path, column), None
    else:
        table, test_table = read_npz(path)
    if table.x.shape[1] != network.layers[0]:
        raise UserError(
            f"{table.name}: has {table.x.shape[1]} input columns, but [network] layers starts with "
            f"{network.layers[0]}; start layers with {table.x.shape[1]} or mend the file"
        )
    names = class_order(table.labels)
    if len(names) < 2:
        raise UserError(
            f"{table.name}: every label is {names[0]!r}; training needs two classes at least"
        )
    labels = class_numbers(table, names, network)
    if test_table is None:
        train, test = split(len(labels), data.test_fraction, data.seed, table.name)
        train_x, train_y, test_x, test_y = (
            table.x[train],
            labels[train],
            table.x[test],
            labels[test],
        )
    else:
        if data.test_fraction is not None:
            raise UserError(
                f"{table.name}: has a test set of its own, so [data] test_fraction = "
                f"{data.test_fraction} has no meaning; remove it"
            )
        _check_test_labels(test_table, names)
        train_x, train_y = table.x, labels
        test_x, test_y = test_table.x, class_numbers(test_table, names, network)
    scaling = Scaling.of(train_x)
    wide = scaling.high / 2 - scaling.low / 2 > np.finfo(np.float64).max / 2
    if wide.any():
        column = int(np.argmax(wide))
        raise UserError(
            f"{table.name}: {table.columns[column]} spans {scaling.low[column]:g} to "
            f"{scaling.high[column]:g}, too wide for a double; scale the column"
        )
    train_codes, _ = scaling.encode(train_x, network)
    test_codes, outside = scaling.encode(test_x, network)
    return Prepared(
        Samples(train_codes, train_y),
        Samples(test_codes, test_y),
        tuple(names),
        scaling,
        _notes(table, scaling, names, network, outside),
    )


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


def _check_test_labels(test: Table, names: list[str]) -> None:
    unknown = [name for name in class_order(test.labels) if name not in names]
    if unknown:
        raise UserError(
            f"{test.name}: y_test has the label {unknown[0]!r}, y has not; train on every class "
            "that is tested"
        )


def _notes(
    table: Table, scaling: Scaling, names: list[str], network: Network, outside: int
) -> tuple[str, ...]:
    notes = []
    constant = [table.columns[n] for n in np.flatnonzero(scaling.constant)]
    if constant:
        shown = ", ".join(constant[:5]) + (", …" if len(constant) > 5 else "")
        notes.append(f"{len(constant)} of {len(table.columns)} columns never change: {shown}")
    if outside:
        notes.append(f"{outside} test values lie outside the training range and were limited to it")
    if len(names) < network.classes:
        notes.append(f"{len(names)} labels for {network.classes} classes: some outputs are unused")
    return tuple(notes)
