"""What a file really is, whatever its name says: the first bytes decide."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

from mgd.golden_model.errors import UserError

CSV, NPZ, PARQUET = "csv", "npz", "parquet"
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data")
SUFFIXES = {**dict.fromkeys(TEXT_SUFFIXES, CSV), ".npz": NPZ, ".parquet": PARQUET}
"""Names that a table may have, with .gz behind them, too, and the format each promises."""
SIGNATURES = {
    b"\x93NUMPY": "a single NumPy array (.npy)",
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"7z\xbc\xaf": "a 7z archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of the old kind (.xls)",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"ARROW1": "an Arrow file (Feather)",
    b"Obj\x01": "an Avro file",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML file",
    b"@relation": "an ARFF file",
}
"""First bytes, in lower case where they are letters of a text, of what is no table here."""
CURES = {
    "a Parquet file": "name it .parquet",
    "a single NumPy array (.npy)": "save inputs and labels with numpy.savez(path, x=inputs, "
    "y=labels)",
    "an HTML page": "the download failed, get the file again",
    "a pointer of Git LFS, not the file itself": "get it with `git lfs pull`",
}


def format_of(source: str) -> str | None:
    """CSV, NPZ or PARQUET, as the name says; None for a name of no table."""
    name = source.lower().removesuffix(".gz")
    return SUFFIXES.get(Path(name).suffix)


def read_content(path: Path) -> bytes:
    """The bytes of a table, unpacked where they are gzip.

    Raises UserError for a file that cannot be read, and for one that is something else than its
    name says.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is no gzip file or is damaged ({error}); bring it back") from None
    except OSError as error:
        raise unreadable(path, error) from None
    _check(path, content)
    return content


def unreadable(path: Path, error: OSError) -> UserError:
    """The line for a file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return UserError(
            f"{path}: no such file; [data] source is looked up beside the task file, correct it"
        )
    return UserError(f"{path}: cannot be read: {error.strerror or error}; check the file")


def _check(path: Path, content: bytes) -> None:
    promised = format_of(path.name)
    if content[:4] == b"PK\x03\x04":
        if promised != NPZ:
            raise _archive(path, content)
        return
    start = content[:32].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for signature, what in SIGNATURES.items():
        if start.startswith(signature.lower()):
            if promised == PARQUET and signature == b"PAR1":
                return
            cure = CURES.get(what, "save the table as CSV text (UTF-8)")
            raise UserError(f"{path}: is {what}, whatever its name says; {cure}")
    if promised == CSV and start[:1] in (b"{", b"["):
        raise UserError(f"{path}: is JSON, whatever its name says; save the table as CSV text")
    if promised == PARQUET:
        raise UserError(f"{path}: is no Parquet file; bring it back, or name a text table .csv")


def _archive(path: Path, content: bytes) -> UserError:
    try:
        names = zipfile.ZipFile(BytesIO(content)).namelist()
    except zipfile.BadZipFile as error:
        return UserError(f"{path}: is a damaged ZIP archive ({error}); bring it back")
    if any(name.startswith("xl/") for name in names):
        return UserError(f"{path}: is an Excel workbook, whatever its name says; save it as CSV")
    if names and all(name.endswith(".npy") for name in names):
        return UserError(f"{path}: is an NPZ file, whatever its name says; name it .npz")
    shown = ", ".join(names[:3])
    return UserError(f"{path}: is a ZIP archive (of {shown}); unpack it and name the file inside")
