"""Large data files are converted once: kept as records, which are mapped and not read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.host.data.packed import PackedSamples, RecordFormat
from mgd.host.data.preparation import Preparation
from mgd.host.data.prepared import Prepared
from mgd.protocol.record import Samples, sample_records

LARGE = 4 << 20
"""Bytes of a data file from which on it is worth it."""
VERSION = 2
"""Of what is kept; a new number where the conversion changes."""
ROWS = 4096
"""Converted at once."""


def data_folder() -> Path:
    """Where conversions are kept: data in $MGD_CACHE, or in mgd in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mgd"
    return Path(os.environ.get("MGD_CACHE") or default) / "data"


def converted(key: str, network: Network, make: Callable[[], Prepared]) -> Prepared:
    """What make() returns, with its samples in mapped files; from there where it was made before.

    key: of all that decides the result but the network's sample format.  Raises UserError where
    there is no room, and what make() raises.
    """
    form = RecordFormat.of(network)
    name = hashlib.sha256(f"{VERSION} {form} {network.classes} {key}".encode()).hexdigest()[:20]
    final = data_folder() / name
    if not final.exists():
        prepared = make()
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="working-", dir=final.parent) as folder:
                whole = Path(folder) / name
                whole.mkdir()
                _write(whole, prepared, network)
                try:
                    whole.rename(final)
                except OSError:
                    if not final.exists():  # another process may have been faster
                        raise
        except OSError as error:
            raise UserError(
                f"{final.parent}: {error.strerror or error}; converted data are kept there, make "
                "room or set MGD_CACHE to another folder"
            ) from None
    try:
        return _read(final, form)
    except (OSError, ValueError, KeyError) as error:
        shutil.rmtree(final, ignore_errors=True)
        raise UserError(
            f"{final}: the converted data could not be read ({error}) and were removed; start again"
        ) from None


def _write(folder: Path, prepared: Prepared, network: Network) -> None:
    sets = {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}
    for name, samples in sets.items():
        if samples is None:
            continue
        shape = len(samples), network.sample_words
        file = np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.uint16, shape=shape
        )
        for first in range(0, len(samples), ROWS):
            part = slice(first, first + ROWS)
            rows = Samples(samples.codes[part], samples.labels[part])
            file[part] = sample_records(rows, network)
        file.flush()
    preparation = prepared.preparation
    about = {
        "class_names": prepared.class_names,
        "notes": prepared.notes,
        "validation": prepared.validation is not None,
        "preparation": None if preparation is None else preparation.to_json(),
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _read(folder: Path, form: RecordFormat) -> Prepared:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    names = ("train", "test", "validation") if about["validation"] else ("train", "test")
    sets = {
        name: PackedSamples.of(np.load(folder / f"{name}.npy", mmap_mode="r"), form)
        for name in names
    }
    kept = about["preparation"]
    preparation = None if kept is None else Preparation.of(kept)
    return Prepared(
        sets["train"],
        sets["test"],
        tuple(about["class_names"]),
        None if preparation is None else preparation.scaling,
        tuple(about["notes"]),
        sets.get("validation"),
        preparation,
    )
