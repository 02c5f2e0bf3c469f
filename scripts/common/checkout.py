"""The checkout that the code runs from, for commands that write into it."""

from __future__ import annotations

from pathlib import Path

from mgd.golden_model.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
"""The repository in an editable install; in an installed wheel the package's own folder."""


def in_checkout(*parts: str) -> Path:
    """A file of the repository that no wheel contains, such as docs/boards.md.

    Raises UserError where it is not there.
    """
    path = ROOT.joinpath(*parts)
    if not path.exists():
        raise UserError(
            f"{'/'.join(parts)}: not found in {ROOT}; it is part of the repository, not of an "
            "installed package: clone the project, run `pip install -e .` there, and try again"
        )
    return path
