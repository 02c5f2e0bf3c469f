"""What nextpnr says of a build, and the report that people and programs get."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgd.boards.devices import ECP5, GOWIN, ICE40
from mgd.golden_model.errors import UserError
from mgd.golden_model.settings import PIPELINED

_KINDS: dict[str, dict[str, tuple[str, ...]]] = {
    ICE40: {
        "lut": ("ICESTORM_LC",),
        "dsp": ("ICESTORM_DSP",),
        "ram": ("ICESTORM_RAM",),
        "spram": ("ICESTORM_SPRAM",),
    },
    ECP5: {
        "lut": ("TRELLIS_COMB",),
        "ff": ("TRELLIS_FF",),
        "dsp": ("MULT18X18D",),
        "ram": ("DP16KD",),
    },
    GOWIN: {
        "lut": ("LUT4", "ALU", "MUX2_LUT5"),
        "ff": ("DFF",),
        "dsp": ("MULT18X18", "MULT9X9"),
        "ram": ("BSRAM",),
    },
}
_NAMES = {
    "ICESTORM_LC": "logic cells",
    "ICESTORM_DSP": "DSP blocks",
    "ICESTORM_RAM": "block RAMs",
    "ICESTORM_SPRAM": "SPRAMs",
    "TRELLIS_COMB": "LUTs",
    "TRELLIS_FF": "flip-flops",
    "MULT18X18D": "DSP blocks",
    "DP16KD": "block RAMs",
}
_FLIP_FLOP = re.compile(r"^(SB_DFF|TRELLIS_FF|DFF)")
_USED = re.compile(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%", re.MULTILINE)


@dataclass(frozen=True)
class Routed:
    """What nextpnr reports of one run."""

    fmax_mhz: float
    """Fastest clock at which the slowest path closes."""
    constraint_mhz: float
    resources: dict[str, dict[str, int]]
    """lut, ff, dsp, ram, spram: {'used', 'available'}."""

    @property
    def met(self) -> bool:
        return self.fmax_mhz >= self.constraint_mhz


def read_report(path: Path, family: str, cells: Mapping[str, int]) -> Routed:
    """Read nextpnr's JSON report.

    cells: number of cells by type after synthesis; where nextpnr does not count flip-flops
    (iCE40: they share a cell with a LUT) it tells them.  Raises UserError where the report is
    cut off or holds no clock.
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
    for kind, names in _KINDS[family].items():
        there = [counts[name] for name in names if name in counts]
        if there:
            resources[kind] = {
                "used": sum(entry["used"] for entry in there),
                "available": max(entry["available"] for entry in there),
            }
    if "ff" not in resources:
        used = sum(n for name, n in cells.items() if _FLIP_FLOP.match(name))
        resources["ff"] = {"used": used, "available": resources["lut"]["available"]}
    return Routed(slowest["achieved"], slowest["constraint"], resources)


def read_cells(path: Path) -> dict[str, int]:
    """Number of cells by type, of the whole design, from Yosys' `stat -json`."""
    statistics = json.loads(path.read_text(encoding="utf-8"))
    return statistics["design"]["num_cells_by_type"]


def over_full(log: str) -> list[tuple[str, int, int]]:
    """(kind, used, available) of what a nextpnr log says there is too much of."""
    found = [(kind, int(used), int(there)) for kind, used, there in _USED.findall(log)]
    return [(_NAMES.get(k, k), used, there) for k, used, there in found if used > there]


def with_speed(report: dict[str, Any], clocks_per_step: float | None) -> dict[str, Any]:
    """A report with the training speed at a number of clocks per step; None: it is not known."""
    full = dict(report)
    full["clocks_per_step"] = clocks_per_step
    for key, hertz in (
        ("steps_per_second", report["core_hz"]),
        ("steps_per_second_at_fmax", report["fmax_mhz"] * 1e6),
    ):
        full[key] = None if clocks_per_step is None else round(hertz / clocks_per_step, 1)
    return full


def summary(report: Mapping[str, Any]) -> str:
    """A report as people read it."""
    megahertz = report["core_hz"] / 1e6
    timing = "met" if report["timing_met"] else "FAILED, and allowed to fail"
    schedule = f", {PIPELINED}" if report.get("schedule") == PIPELINED else ""
    lines = [
        f"{report['network']} on {report['lanes']} lanes{schedule}, {report['board']} "
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
