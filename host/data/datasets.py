"""The training and the test samples of a task, encoded for the core's sample memory."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ACT_FRAC, Network
from mgd.golden_model.seeds import permutation
from mgd.host.data import idx
from mgd.host.data.content import CSV, NPZ, PARQUET, TEXT_SUFFIXES, format_of
from mgd.host.data.conversion import LARGE, converted
from mgd.host.data.generators import GENERATORS
from mgd.host.data.packed import PackedSamples
from mgd.host.data.prepared import Prepared
from mgd.host.data.splits import parts_of, split
from mgd.host.task.errors import near
from mgd.host.task.file import DataSection
from mgd.protocol.record import Samples

SOURCES = tuple(GENERATORS)
"""Names of the built-in sources."""
FOLDER = "/"
"""What the path of a folder with IDX files ends with."""
TABLES = (CSV, NPZ, PARQUET)
TABLE_SAMPLE_BITS = 8
"""Of tables and of pixels."""


def check_options(data: DataSection) -> None:
    """Raise UserError for an unknown source or an option that this source does not have."""
    kind = _kind(data.source)
    table, named = kind in TABLES, kind in (CSV, PARQUET)
    fixed = kind in ("xor", "parity4")
    for name, allowed in (
        ("variant", kind == "nist7x7"),
        ("label_column", named),
        ("test_fraction", not fixed and kind != FOLDER),
        ("validation_fraction", not fixed),
        ("categorical", named),
        *((name, table) for name in ("task", "test_source", "stratify", "ignore", "scaling")),
        ("missing", table),
        *((name, kind == CSV) for name in ("decimal", "thousands", "encoding")),
    ):
        value = getattr(data, name)
        if value is not None and not allowed:
            raise UserError(
                f"[data] {name} = {value!r}: source = {data.source!r} has no such option; remove it"
            )
    if data.decimal is not None and data.decimal == data.thousands:
        raise UserError(
            f"[data] decimal = {data.decimal!r} and thousands = {data.thousands!r}: one sign "
            "cannot be both; correct one"
        )
    if data.test_source is not None and format_of(data.test_source) is None:
        raise UserError(
            f"[data] test_source = {data.test_source!r}: is no table's name; it must be the path "
            f"of a {', '.join((*TEXT_SUFFIXES, '.npz'))} or .parquet file"
        )


def default_format(
    source: str, bits: int | None, signed: bool | None, shift: int | None
) -> tuple[int, bool, int]:
    """(sample_bits, sample_signed, input_shift) with the source's own where None is given.

    Tables default to 8-bit signed codes that span [−2, 2): with the default scaling most values
    are within −1 to 1 then.  Images default to 8-bit unsigned codes that span [0, 1).
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
        span = ACT_FRAC + int(not source.endswith(FOLDER))
        shift = min(max(span - bits + int(signed), 0), ACT_FRAC)
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
    if data.test_samples is not None:
        prepared = _with_some(prepared, data, origin)
    if prepared.validation is None and data.validation_fraction:
        prepared = _with_validation(prepared, data, origin)
    order = permutation(len(prepared.train), order_seed, "order")
    return replace(prepared, train=_picked(prepared.train, order))


def _with_validation(prepared: Prepared, data: DataSection, origin: str) -> Prepared:
    """A validation part of the training samples, where the source makes none."""
    train = prepared.train
    parts = parts_of(
        len(train), np.asarray(train.labels), 0.0, data.validation_fraction, data.seed, origin
    )
    return replace(
        prepared, train=_picked(train, parts.train), validation=_picked(train, parts.validation)
    )


def _with_some(prepared: Prepared, data: DataSection, origin: str) -> Prepared:
    """data.test_samples of the test set, in its order."""
    assert data.test_samples is not None
    test = prepared.test
    if data.test_samples > len(test):
        raise UserError(
            f"{origin}: [data] test_samples = {data.test_samples}, but the test set has only "
            f"{len(test)}; lower it or leave it out"
        )
    rows = np.sort(permutation(len(test), data.seed, "split")[: data.test_samples])
    targets = prepared.targets and {**prepared.targets, "test": prepared.targets["test"][rows]}
    return replace(prepared, test=_picked(test, rows), targets=targets)


def _picked(samples: Samples, numbers: np.ndarray) -> Samples:
    if isinstance(samples, PackedSamples):
        return samples.ordered(numbers)
    return Samples(samples.codes[numbers], samples.labels[numbers])


def _kind(source: str) -> str:
    if source in GENERATORS:
        return source
    if source.endswith(FOLDER):
        return FOLDER
    found = format_of(source)
    if found is None:
        raise UserError(
            f"[data] source = {source!r}: unknown{near(source, SOURCES)}; it must be one of "
            f"{', '.join(SOURCES)}, the path of a .csv, .npz or .parquet file, or a folder of IDX "
            "files with a / at its end"
        )
    return found


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
    path, read = folder / data.source, _from_table
    if _kind(data.source) == FOLDER:
        read = _from_folder
        size = sum(file.stat().st_size for file in idx.find(path).values())
    else:
        size = path.stat().st_size if path.is_file() else 0
    if size < LARGE or network.regression:
        return read(data, network, folder)
    key = {**data.model_dump(exclude={"test_samples"}), "source": source_digest(path, data.source)}
    if data.test_source is not None:
        key["test_source"] = source_digest(folder / data.test_source, data.test_source)
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
    both = [arrays[name] for name in ("labels", "test labels")]
    first = int(min(labels.min() for labels in both))
    names = [str(label) for label in range(first, int(max(labels.max() for labels in both)) + 1)]
    notes: tuple[str, ...] = ()
    if first:
        notes = (f"labels begin with {first}, which is class number 0, as there is no label 0",)
    classes = len(names)
    if classes > network.classes:
        raise UserError(
            f"{path}: has labels up to {names[-1]}, but [network] layers ends with "
            f"{network.outputs}; end layers with {classes}"
        )
    shift = 8 - network.sample_bits
    train, test = (
        Samples(arrays[f"{name}images"] >> shift, arrays[f"{name}labels"].astype(np.int64) - first)
        for name in ("", "test ")
    )
    return Prepared(train, test, tuple(names), None, notes)


def _from_table(data: DataSection, network: Network, folder: Path) -> Prepared:
    from mgd.host.data.table_samples import table_samples  # pandas is slow to import

    return table_samples(data, network, folder)
