"""Files that are complete or absent, even after a loss of power."""

from __future__ import annotations

import os
from pathlib import Path

from mgd.golden_model.errors import UserError


def write_result(path: Path, content: bytes) -> None:
    """As write_file, for a file that a user named.  Raises UserError where it cannot be written."""
    try:
        write_file(path, content)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror or error}; choose another place"
        ) from None


def write_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content`.  Raises OSError; the old file is then unchanged."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else the new name may be lost, though not the file
    except OSError:
        pass  # some file systems cannot
    finally:
        os.close(folder)
