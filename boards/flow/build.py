"""Building a bitstream: a cache by digest, a report, and no partial results."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mgd.boards import cache
from mgd.boards.design import Design
from mgd.boards.families import family as families
from mgd.boards.families import pll
from mgd.boards.flow import board_top, timing_closure
from mgd.boards.flow import commands as flow
from mgd.boards.flow.commands import Sources
from mgd.boards.flow.steps import Progress, check_room, timed
from mgd.boards.flow.timing_closure import Attempt, Options, fastest
from mgd.boards.tools import fpga_program, fpga_program_version
from mgd.golden_model.errors import UserError

REPORT_FILE = "report.json"
COPIED = (flow.NETLIST, flow.DESIGN, flow.YOSYS_LOG, flow.NEXTPNR_LOG, flow.REPORT)


@dataclass(frozen=True)
class Built:
    """A finished build.

    folder: in the cache, with bitstream, report.json, netlist (top.json), design and logs.
    cached: it was built before.
    """

    folder: Path
    report: dict[str, Any]
    cached: bool

    @property
    def bitstream(self) -> Path:
        return self.folder / self.report["bitstream"]


def build(design: Design, options: Options, progress: Progress) -> Built:
    """Build, unless the same design was built before with the same tools and options.

    progress is called for every step, with its time and its result.  Raises UserError where the
    design does not fit, no clock meets timing, a tool is missing, fails or is killed, Yosys' log
    shows a broken netlist, or there is no room; nothing is left then.
    """
    check_baud(design)
    board, family = design.board, design.board.fpga_family
    programs = ["yosys", *(program.name for program in family.programs)]
    for program in programs:
        fpga_program(program)
    clock_plan = family.pll.search(board.clock_hz, options.clock_hz or board.device.start_hz)
    with timed(progress, "elaborate", str(clock_plan)) as result:
        sources = flow.elaborate(design, clock_plan)
        result.append(f"{len(sources.files[0][1]):,} bytes of RTLIL")
    tools = {program: fpga_program_version(program) for program in programs}
    digest = _digest(sources, options, tools)
    cached = True

    def make(folder: Path, final: Path) -> Path:
        nonlocal cached
        cached = False
        with _log_saved(folder, final):
            return _build(folder, sources, options, tools, digest, progress)

    final = cache.cached("builds", digest, "builds", make)
    return Built(final, json.loads((final / REPORT_FILE).read_text(encoding="utf-8")), cached)


def check_baud(design: Design) -> None:
    """Raise UserError where the board's converter cannot do the baud rate."""
    board = design.board
    if not 9600 <= design.baud <= board.baud_max:
        raise UserError(
            f"baud = {design.baud}: must be 9,600 to {board.baud_max:,} on {board.name} "
            f"({board.serial}); its default is {board.baud:,}"
        )


def _build(
    place: Path,
    sources: Sources,
    options: Options,
    tools: dict[str, str],
    digest: str,
    progress: Progress,
) -> Path:
    attempts: list[Attempt] = []
    best = fastest(sources, place, options, attempts, progress)
    with timed(progress, "pack") as result:
        bitstream = flow.pack(best.sources, best.folder)
        result.append(f"{bitstream.stat().st_size:,} bytes")
    folder = place / "final"
    folder.mkdir()
    for file in (bitstream.name, *COPIED):
        shutil.copy(best.folder / file, folder / file)
    report = _report(best, bitstream, attempts, options, tools, digest)
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (folder / REPORT_FILE).write_text(text, encoding="utf-8")
    check_room("build", folder)
    return folder


@contextmanager
def _log_saved(folder: Path, final: Path) -> Iterator[None]:
    """Where a build fails, keep its last log beside the path that the build would have had."""
    try:
        yield
    except UserError as error:
        logs = sorted(folder.rglob("*.log*"), key=lambda path: path.stat().st_mtime)
        if not logs:
            raise
        log = final.with_suffix(".log")
        try:
            shutil.copy(logs[-1], log)
        except OSError:
            raise error from None
        raise UserError(f"{error} (log: {log})") from None


def _report(
    best: Attempt,
    bitstream: Path,
    attempts: list[Attempt],
    options: Options,
    tools: dict[str, str],
    digest: str,
) -> dict[str, Any]:
    design, board = best.sources.design, best.sources.design.board
    data = bitstream.read_bytes()
    return {
        "board": board.name,
        "device": board.device_name,
        "network": design.config.network.describe(),
        "network_digest": design.config.network.digest(),
        "lanes": design.config.lanes,
        "sample_memory": design.sample_memory,
        "baud": design.baud,
        "serial": board.serial,
        "core_hz": round(best.hertz),
        "fmax_mhz": round(best.routed.fmax_mhz, 3),
        "constraint_mhz": round(best.routed.constraint_mhz, 3),
        "timing_met": best.closes,
        "fmax_holds": board.fpga_family.knows_dsp_delays,
        "allow_timing_fail": options.allow_timing_fail,
        "seed": best.seed,
        "seeds": list(options.seeds),
        "attempts": [
            {
                "core_hz": round(attempt.hertz),
                "seed": attempt.seed,
                "fmax_mhz": round(attempt.routed.fmax_mhz, 3),
                "timing_met": attempt.closes,
            }
            for attempt in attempts
        ],
        "pll": {"family": board.fpga_family.name, **asdict(best.sources.clock_plan)},
        "resources": best.routed.resources,
        "tools": tools,
        "digest": digest,
        "bitstream": bitstream.name,
        "bitstream_bytes": len(data),
        "bitstream_sha256": hashlib.sha256(data).hexdigest(),
        "flash": board.flash,
    }


def _digest(sources: Sources, options: Options, tools: dict[str, str]) -> str:
    """The key of a build in the cache: a digest of everything that decides its bitstream."""
    parts = [text for pair in sources.files for text in pair]
    parts += [repr(sources.device_arguments), repr(sources.design.board), repr(options)]
    parts += [f"{name} {version}" for name, version in sorted(tools.items())]
    # The clock and the tools' command lines decide as well.
    modules = (flow, families, pll, board_top, timing_closure)
    parts += [inspect.getsource(module) for module in modules]
    parts.append(sources.fpga_family.sources())
    return cache.digest(parts)
