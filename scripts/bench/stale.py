"""Records in benchmarks/ whose sources have changed since; docs/boards.md marks such rows by †."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from mgd.golden_model.errors import UserError
from mgd.scripts.bench.boards import Case, case_of, core_text, made_of
from mgd.scripts.common.checkout import ROOT
from mgd.scripts.common.sources import RECORDS


class Stale(NamedTuple):
    """A record, or a row of one, and the command that makes it again."""

    record: str
    command: str

    def __str__(self) -> str:
        return f"{self.record}: {self.command}"


def stale_records(folder: Path, root: Path = ROOT) -> list[Stale]:
    """The stale records of a folder such as benchmarks/; rows of boards.json each by itself.

    root: of the sources.  A record without a digest of its sources is stale.  Raises
    UserError where a file is no record, or README.md beside it has no command for it.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            name, rows = table["bench"], table["rows"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: cannot be read as a record ({error}); make it again, README.md beside it "
                "has the commands"
            ) from None
        if name == "boards":
            found += _stale_rows(path, rows, root)
        elif name not in RECORDS or table.get("made_of") != RECORDS[name].digest(root):
            found.append(Stale(f"benchmarks/{path.name}", _command(path)))
    return found


def _stale_rows(path: Path, rows: list[dict[str, Any]], root: Path) -> list[Stale]:
    found = []
    for row in rows:
        case = case_of(row)
        if row.get("earlier") or row.get("made_of") != made_of(case, root):
            label = f"benchmarks/{path.name}, {case.task} on {case.board}, {core_text(row)}"
            found.append(Stale(label, build_command(case, f"benchmarks/{path.name}")))
    return found


def build_command(case: Case, file: str) -> str:
    """The command that builds a case, and any other case with the same options."""
    options = {"task": case.task, "board": case.board, "lanes": case.lanes}
    if case.lanes is None:
        options |= {"method": case.method, "schedule": case.schedule or "sequential"}
    given = [part for name, value in options.items() if value for part in (f"--{name}", str(value))]
    return shlex.join(["mgd", "bench", "boards", *given, "--json", file])


def _command(path: Path) -> str:
    """The command in the README.md beside a record that writes it."""
    readme = path.with_name("README.md")
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    found = re.search(rf"`(mgd [^`]*--json benchmarks/{re.escape(path.name)}\b[^`]*)`", text)
    if found is None:
        raise UserError(f"{readme}: has no command that writes {path.name}; add it to the table")
    return found[1]
