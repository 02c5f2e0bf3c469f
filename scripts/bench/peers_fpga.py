"""The FPGA's steps per second: clocks per step × the clock of a recorded build.  Nothing here
runs on hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mgd.golden_model.settings import SEQUENTIAL
from mgd.host.task.task import Task
from mgd.rtl.folded.config import CoreConfig
from mgd.scripts.bench.boards import case_of
from mgd.scripts.common.clocks import measured_clocks
from mgd.scripts.common.recorded import RECORDED, recorded_builds, serves

REMEDY = f"mgd bench boards --json benchmarks/{RECORDED.name}"


def fpga_rows(path: Path, task: Task) -> list[dict[str, Any]]:
    """One row per recorded build of `task`'s folded core.

    Clocks that the record lacks, or has of another method, are measured in the simulation.
    """
    folded = task.with_overrides(core="folded", schedule=SEQUENTIAL)
    rows = []
    for build in recorded_builds(path):
        if not serves(build, folded):
            continue
        lanes, clocks = build["lanes"], build.get("clocks_per_step")
        if clocks is None or case_of(build).loaded().spec.method != task.spec.method:
            clocks = measured_clocks(folded, CoreConfig(folded.spec.network, lanes))
        rows.append(
            {
                "peer": f"{build['board']}, {lanes} lanes",
                "source": "clocks per step × fmax of the recorded build, not run on hardware",
                "core_hz": build["core_hz"],
                "clocks_per_step": clocks,
                "steps_per_second": build["core_hz"] / clocks,
            }
        )
    return rows
