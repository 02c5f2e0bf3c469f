"""From the name of a task to the text of its file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from mgd.golden_model.errors import UserError
from mgd.host.task.errors import near


def builtin_names() -> list[str]:
    """The tasks that come with the package."""
    return sorted(p.name[:-5] for p in files("mgd.examples").iterdir() if p.name.endswith(".toml"))


def find_task(name_or_path: str | Path) -> Path:
    """Path of the built-in task of that name, or the path itself.

    Raises UserError for a word that is neither a built-in task nor looks like a path.
    """
    name = str(name_or_path)
    names = builtin_names()
    if name in names:
        return Path(str(files("mgd.examples"))) / f"{name}.toml"
    path = Path(name)
    if path.suffix == ".toml" or path.is_file() or len(path.parts) > 1:
        return path
    raise UserError(
        f"task {name!r} is unknown{near(name, names)}: give the path of a .toml file or a built-in "
        f"task: {', '.join(names)}"
    )


def read_task(path: Path) -> str:
    """The text of a task file.  Raises UserError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows editors put a mark first
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; give a .toml file or one of {', '.join(builtin_names())}"
        ) from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the .toml file in it") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: byte {error.start} is no UTF-8; a task file is text, save it as UTF-8"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the file") from None
