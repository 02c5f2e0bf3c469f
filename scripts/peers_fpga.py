"""The FPGA's steps per second: clocks per step × the clock of a recorded build.  Nothing here
runs on hardware."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from host.task import Task
from rtl.config import CoreConfig
from scripts.clocks import measured_clocks

RECORDED = Path(__file__).parents[1] / "benchmarks" / "boards.json"
REMEDY = f"mgd bench boards --json benchmarks/{RECORDED.name}"


class Build(NamedTuple):
    """A recorded build of a task's core."""

    board: str
    lanes: int
    core_hz: float
    clocks_per_step: float | None
    """None where the record has none, or one of another method."""


def recorded_builds(path: Path, task: Task) -> list[Build]:
    """Builds of `task` in the record at `path`; none where there is no record that can be read.

    Rows that lack board, task, lanes or clock are passed over, and so are those whose tools
    cannot tell how fast they are (fmax_holds false).  Clocks without a method are of the task
    file's own.
    """
    try:
        rows = json.loads(path.read_text())["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    found = []
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict) or row.get("task") != task.name:
            continue
        if "error" in row or row.get("fmax_holds") is False or row.get("lanes", 0) is None:
            continue
        try:
            hertz = float(row["core_hz"]) if "core_hz" in row else float(row["fmax_mhz"]) * 1e6
            method = row.get("method", task.file.training.method)
            clocks = row.get("clocks_per_step") if method == task.method else None
            build = Build(str(row["board"]), int(row["lanes"]), hertz, clocks and float(clocks))
        except (KeyError, TypeError, ValueError):
            continue
        found.append(build)
    return found


def fpga_rows(path: Path, task: Task) -> list[dict[str, Any]]:
    """One row per recorded build; clocks that the record lacks are measured in the simulation."""
    rows = []
    for build in recorded_builds(path, task):
        clocks = build.clocks_per_step or measured_clocks(
            task, CoreConfig(task.network(), build.lanes)
        )
        rows.append(
            {
                "peer": f"{build.board}, {build.lanes} lanes",
                "source": "clocks per step × fmax of the recorded build, not run on hardware",
                "core_hz": build.core_hz,
                "clocks_per_step": clocks,
                "steps_per_second": build.core_hz / clocks,
            }
        )
    return rows
