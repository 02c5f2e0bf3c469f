"""The builds that `mgd bench boards` recorded, for commands that use their clocks."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from mgd.golden_model.settings import SEQUENTIAL
from mgd.host.task.task import Task
from mgd.protocol.core_kinds import KINDS
from mgd.scripts.bench.boards import case_of

RECORDED = Path(str(files("mgd.benchmarks"))) / "boards.json"


def recorded_builds(path: Path) -> list[dict[str, Any]]:
    """Rows with board, task, lanes (None: spatial) and a clock that nextpnr's timing covers; none
    where no record can be read."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [row for row in rows if _is_build(row)] if isinstance(rows, list) else []


def _is_build(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("core_hz"), int | float)
        and isinstance(row.get("lanes", ""), int | None)
        and {"board", "task"} <= row.keys()
        and row.get("fmax_holds") is not False
    )


def serves(row: dict[str, Any], task: Task) -> bool:
    """Whether the core of a recorded build is of this task's kind and can take its settings.

    A spatial core is built for one schedule, method and difference; either core may have more
    settings fixed.
    """
    if row["task"] != task.name or (row["lanes"] is not None) != KINDS[task.spec.core.kind].folds:
        return False
    if (row.get("schedule") or SEQUENTIAL) != task.spec.schedule:
        return False
    names = row["fixed"].split(",") if row.get("fixed") else []
    if row["lanes"] is None:
        names += ["method", "difference"]
    built, wanted = case_of(row).loaded().spec.settings, task.spec.settings
    return all(getattr(built, name) == getattr(wanted, name) for name in names)
