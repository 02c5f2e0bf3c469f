"""A cache of files and folders that are slow to make, by the digest of their inputs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from mgd.golden_model.errors import UserError


def cache_folder() -> Path:
    """$MGD_CACHE, or mgd in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mgd"
    return Path(os.environ.get("MGD_CACHE") or default)


def digest(parts: Iterable[str]) -> str:
    """SHA-256 of texts in their order."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def cached(kind: str, digest: str, contents: str, make: Callable[[Path, Path], Path]) -> Path:
    """The path in the cache that belongs to a digest; made if it does not exist yet.

    kind: the folder within the cache.  contents: its name in messages, in the plural.  make gets
    an empty folder to work in and the path that will be returned, beside which it may leave a
    log; the path that it returns is moved there, so that only a complete result ever has that
    name.  Several processes and threads may ask for one digest at once.  Raises UserError where
    there is no room or the folder cannot be written.
    """
    final = cache_folder() / kind / digest[:20]
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with final.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not final.exists():
                with tempfile.TemporaryDirectory(prefix="working-", dir=final.parent) as name:
                    make(Path(name), final).rename(final)
    except OSError as error:
        raise UserError(
            f"{final.parent}: {error.strerror or error}; {contents} are cached there, make room or "
            "set MGD_CACHE to another folder"
        ) from None
    return final
