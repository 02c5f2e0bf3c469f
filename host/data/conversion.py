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
from mgd.host.data.encoding import Scaling
from mgd.host.data.packed import PackedSamples, RecordFormat
from mgd.host.data.prepared import Prepared
from mgd.protocol.record import Samples, sample_records

LARGE = 4 << 20
"""Bytes of a data file from which on it is worth it."""
VERSION = 1
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
    for name, samples in (("train", prepared.train), ("test", prepared.test)):
        shape = len(samples), network.sample_words
        file = np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.uint16, shape=shape
        )
        for first in range(0, len(samples), ROWS):
            part = slice(first, first + ROWS)
            rows = Samples(samples.codes[part], samples.labels[part])
            file[part] = sample_records(rows, network)
        file.flush()
    scaling = prepared.scaling
    about = {
        "class_names": prepared.class_names,
        "notes": prepared.notes,
        "low": None if scaling is None else [float(x) for x in scaling.low],
        "high": None if scaling is None else [float(x) for x in scaling.high],
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _read(folder: Path, form: RecordFormat) -> Prepared:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    train, test = (
        PackedSamples.of(np.load(folder / f"{name}.npy", mmap_mode="r"), form)
        for name in ("train", "test")
    )
    scaling = None
    if about["low"] is not None:
        scaling = Scaling(np.array(about["low"]), np.array(about["high"]))
    return Prepared(train, test, tuple(about["class_names"]), scaling, tuple(about["notes"]))
