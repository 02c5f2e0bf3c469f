"""Image sets as IDX files: what MNIST, Fashion-MNIST and their kin are distributed as."""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import zlib
from pathlib import Path

import numpy as np

from mgd.golden_model.errors import UserError

FILES = {
    "images": "train-images-idx3-ubyte",
    "labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}
"""What a folder holds, as they are or as .gz.  Published sets also write train-images.idx3-ubyte,
test for t10k, and a name before it all, as emnist-letters-train-images-idx3-ubyte."""
BYTES = 8
"""The format's number for unsigned bytes, the only type that is read here."""


def find(folder: Path) -> dict[str, Path]:
    """The four files in a folder, by their names in FILES.  Raises UserError for one missing."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; [data] source is looked up beside the task file, correct it"
        )
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    found: dict[str, Path] = {}
    for name, usual in FILES.items():
        words = usual.replace("t10k", "(t10k|test)").replace("-", "[-._]")
        pattern = re.compile(rf"(.*[-_])?{words}(\.gz)?")
        matches = [other for other in names if pattern.fullmatch(other)]
        # The same file packed and unpacked is one; the unpacked one is read.
        sets = sorted({other.removesuffix(".gz") for other in matches})
        if not sets:
            raise UserError(
                f"{folder}: has neither {usual} nor {usual}.gz; put the set's four IDX files there"
            )
        if len(sets) > 1 and usual not in sets:
            raise UserError(
                f"{folder}: {sets[0]} and {sets[1]} are of two sets; keep one set in the folder"
            )
        stem = usual if usual in sets else sets[0]
        found[name] = folder / (stem if stem in matches else f"{stem}.gz")
    return found


def digest(folder: Path) -> str:
    """SHA-256 of the four files' contents, in the order of FILES."""
    whole = hashlib.sha256()
    for path in find(folder).values():
        whole.update(_read(path, raw=True))
    return whole.hexdigest()


def read(folder: Path) -> dict[str, np.ndarray]:
    """Images (samples, pixels) and labels (samples,), uint8, by their names in FILES.

    Raises UserError for files that cannot be read, are damaged or do not belong together.
    """
    paths = find(folder)
    arrays = {name: _array(path, 1 if "labels" in name else 3) for name, path in paths.items()}
    for images, labels in (("images", "labels"), ("test images", "test labels")):
        if len(arrays[images]) != len(arrays[labels]):
            raise UserError(
                f"{paths[images]}: has {len(arrays[images])} images, {paths[labels].name} "
                f"{len(arrays[labels])} labels; take both from one set"
            )
    pixels = {name: math.prod(arrays[name].shape[1:]) for name in ("images", "test images")}
    if len(set(pixels.values())) > 1:
        raise UserError(
            f"{paths['test images']}: has {pixels['test images']} pixels in an image, the training "
            f"images have {pixels['images']}; take both from one set"
        )
    return {name: array.reshape(len(array), -1) if array.ndim > 1 else array
            for name, array in arrays.items()}  # fmt: skip


def _array(path: Path, dimensions: int) -> np.ndarray:
    content = _read(path)
    if content[:4] != bytes([0, 0, BYTES, dimensions]):
        raise UserError(
            f"{path}: begins with {content[:4].hex(' ') or 'nothing'}, not with "
            f"00 00 08 {dimensions:02x} as an IDX file of bytes with {dimensions} dimension"
            f"{'s' if dimensions > 1 else ''} does; bring back the file"
        )
    head = 4 + 4 * dimensions
    shape = [int.from_bytes(content[k : k + 4], "big") for k in range(4, head, 4)]
    size = math.prod(shape)
    if len(content) != head + size or not size:
        raise UserError(
            f"{path}: holds {max(len(content) - head, 0)} values, its head says {size}; bring back "
            "the file"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=head).reshape(shape)


def _read(path: Path, raw: bool = False) -> bytes:
    """raw: as it is on the disk."""
    try:
        content = path.read_bytes()
        packed = path.suffix == ".gz" or content[:2] == b"\x1f\x8b"  # whatever its name says
        return gzip.decompress(content) if packed and not raw else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is no gzip file or is damaged ({error}); bring it back") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the file") from None
