"""nextpnr's report of a build, and our report for people and programs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgd.boards.families.family import FpgaFamily
from mgd.golden_model.errors import UserError
from mgd.golden_model.settings import PIPELINED

_USED = re.compile(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%", re.MULTILINE)


@dataclass(frozen=True)
class Routed:
    """nextpnr's report of one run."""

    fmax_mhz: float
    """Fastest clock at which the slowest path meets timing."""
    constraint_mhz: float
    resources: dict[str, dict[str, int]]
    """lut, ff, dsp, ram, spram: {'used', 'available'}."""

    @property
    def met(self) -> bool:
        return self.fmax_mhz >= self.constraint_mhz


def read_report(path: Path, family: FpgaFamily, cells: Mapping[str, int]) -> Routed:
    """Read nextpnr's JSON report.

    cells: number of cells by type after synthesis; flip-flops are counted there where nextpnr
    does not count them (iCE40: they share a cell with a LUT).  Raises UserError where the report
    is cut off or holds no clock.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        clocks = report["fmax"].values()
        slowest = min(clocks, key=lambda c: c["achieved"] / c["constraint"])
        counts = report["utilization"]
    except (ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: nextpnr's report has no clock or is cut off ({error}); build again"
        ) from None
    resources = {}
    for kind, names in family.report_cells.items():
        entries = [counts[name] for name in names if name in counts]
        if entries:
            resources[kind] = {
                "used": sum(entry["used"] for entry in entries),
                "available": max(entry["available"] for entry in entries),
            }
    if "ff" not in resources:
        used = sum(n for name, n in cells.items() if family.flip_flop.match(name))
        resources["ff"] = {"used": used, "available": resources["lut"]["available"]}
    return Routed(slowest["achieved"], slowest["constraint"], resources)


def read_cells(path: Path) -> dict[str, int]:
    """Number of cells by type, of the whole design, from Yosys' `stat -json`."""
    statistics = json.loads(path.read_text(encoding="utf-8"))
    return statistics["design"]["num_cells_by_type"]


def over_full(log: str, family: FpgaFamily) -> list[tuple[str, int, int]]:
    """(resource, used, available) of each resource that a nextpnr log says is exceeded."""
    found = [(kind, int(used), int(available)) for kind, used, available in _USED.findall(log)]
    names = family.cell_titles
    return [(names.get(k, k), used, limit) for k, used, limit in found if used > limit]


def with_speed(report: dict[str, Any], clocks_per_step: float | None) -> dict[str, Any]:
    """A report with the training speed at a number of clocks per step; None: not measured."""
    full = dict(report)
    full["clocks_per_step"] = clocks_per_step
    for key, hertz in (
        ("steps_per_second", report["core_hz"]),
        ("steps_per_second_at_fmax", report["fmax_mhz"] * 1e6),
    ):
        full[key] = None if clocks_per_step is None else round(hertz / clocks_per_step, 1)
    return full


def summary(report: Mapping[str, Any]) -> str:
    """A report as text for people."""
    megahertz = report["core_hz"] / 1e6
    timing = "met" if report["timing_met"] else "FAILED, and allowed to fail"
    pipelining = f", {PIPELINED}" if report.get("schedule") == PIPELINED else ""
    lines = [
        f"{report['network']} on {report['lanes']} lanes{pipelining}, {report['board']} "
        f"({report['device']})",
        f"  clock      {megahertz:.2f} MHz; the slowest path allows {report['fmax_mhz']:.2f} MHz, "
        f"timing {timing} (seed {report['seed']})",
    ]
    if not report["fmax_holds"]:
        lines.append(
            "             nextpnr knows no delays of this device's multipliers: the figure says "
            "nothing about the lanes, try lower clocks on the board"
        )
    used = [
        f"{kind.upper()} {count['used']:,} of {count['available']:,}"
        for kind, count in report["resources"].items()
    ]
    lines.append(f"  takes      {', '.join(used)}")
    if report.get("clocks_per_step"):
        lines.append(
            f"  speed      {report['clocks_per_step']:.1f} clocks per step, "
            f"{report['steps_per_second']:,.0f} steps/s"
        )
    lines += [
        f"  link       {report['baud']:,} baud, {report['serial']}",
        f"  samples    {report['sample_memory']:,} words of 16 bits",
        f"  bitstream  {report['bitstream_bytes']:,} bytes, build {report['digest'][:16]}",
        f"  flash      {report['flash']}",
    ]
    return "\n".join(lines)
