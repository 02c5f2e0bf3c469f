"""From a design to a bitstream: scripts and command lines, completed by the FPGA family."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mgd.boards.design import Design
from mgd.boards.families.family import FpgaFamily
from mgd.boards.families.pll import MHZ, ClockPlan
from mgd.boards.flash import dfu
from mgd.boards.flow import yosys
from mgd.boards.flow.board_top import BoardTop
from mgd.boards.flow.steps import HopelessError, run_tool
from mgd.boards.tools import changed_environment, fpga_program
from mgd.golden_model.errors import UserError

DESIGN, NETLIST, CELLS, REPORT = "top.il", "top.json", "cells.json", "nextpnr.json"
YOSYS_LOG, NEXTPNR_LOG, PACK_LOG = yosys.LOG, "nextpnr.log", "pack.log"
ROUNDS_PER_ARC = 40
"""Limit of the default router, which counts every search; designs that it routed took ten."""
ITERATIONS_MAX = 300
"""Limit of router2, which routes all nets at once."""


@dataclass(frozen=True)
class Sources:
    """A design at one clock, as files; the arguments and the name by which nextpnr and the packer
    know the device."""

    design: Design
    clock_plan: ClockPlan
    files: tuple[tuple[str, str], ...]
    device_arguments: tuple[str, ...]
    packer_device: str = ""

    @property
    def fpga_family(self) -> FpgaFamily:
        return self.design.board.fpga_family


def elaborate(design: Design, clock_plan: ClockPlan) -> Sources:
    """RTLIL and constraints of a design at one clock.

    The texts hold no names of files and no times: equal designs give equal bytes.
    """
    board, family = design.board, design.board.fpga_family
    platform = board.platform_class()()
    top = BoardTop(
        board,
        design.config,
        design.sample_memory,
        clock_plan,
        design.baud,
        **dict(design.top_options),
    )
    # Amaranth looks for the programmer of some boards although nothing is to be programmed.
    with changed_environment(OPENFPGALOADER="true", DFU_SUFFIX="true"):
        plan = platform.prepare(top, "top", emit_src=False)
    files = [
        (DESIGN, plan.files["top.il"]),
        (family.constraints_file, plan.files[family.constraints_file]),
        (yosys.SCRIPT, _script(family)),
    ]
    texts = [(n, t if isinstance(t, str) else t.decode()) for n, t in files]
    return Sources(
        design,
        clock_plan,
        tuple(texts),
        family.device_arguments(platform),
        family.packer_device(platform),
    )


def _script(family: FpgaFamily) -> str:
    return (
        f"read_rtlil {DESIGN}\n{family.synthesis}\ncheck\n"
        f"tee -q -o {CELLS} stat -json\nwrite_json {NETLIST}\n"
    )


def write_sources(sources: Sources, folder: Path) -> None:
    """Write the files.  Raises OSError."""
    for name, text in sources.files:
        (folder / name).write_text(text, encoding="utf-8")


def synthesise(folder: Path, family: FpgaFamily) -> None:
    """Yosys.  Leaves the finished netlist, the count of its cells and a log without a finding."""
    yosys.run_yosys(folder, (NETLIST, CELLS))
    family.finish_netlist(folder / NETLIST)


def place_and_route(sources: Sources, folder: Path, seed: int) -> None:
    """nextpnr with one seed and the placer that the seed selects; another placer where some nets
    cannot be routed.  Leaves the routed design and the report; failing timing is in the report
    and not an error."""
    family = sources.fpga_family
    router = family.router.name
    command = [fpga_program(router), *sources.device_arguments]
    command += ["--json", NETLIST, "--report", REPORT, "--seed", str(seed), "--timing-allow-fail"]
    command += ["--freq", f"{float(sources.clock_plan.output_hz) / MHZ:.4f}"]
    command += family.file_arguments()
    products = REPORT, family.routed_file
    first = (seed - 1) % len(family.placers)
    try:
        for placer in family.placers[first:] + family.placers[:first]:
            run = [*command, *placer]
            # Files of an earlier run must not pass for this one's.
            for name in products:
                (folder / name).unlink(missing_ok=True)
            with suppress(HopelessError):
                run_tool(router, run, folder, products, NEXTPNR_LOG, never_routed)
                return
    except UserError as error:
        raise _too_large(sources, folder) or error from None
    raise UserError(
        f"{router} cannot route some nets (seed {seed}) and would run for ever; use fewer lanes or "
        "a larger board"
    )


def never_routed(log: str) -> bool:
    """Whether nextpnr's router runs for ever, as it does where some nets cannot be routed between
    the placed cells."""
    arcs, rounds = _last(r"^Info: Routing (\d+) arcs", log), _last(r"^Info: +(\d+) \|", log)
    return rounds > ROUNDS_PER_ARC * arcs > 0 or _last(r" iter=(\d+) wires=", log) > ITERATIONS_MAX


def _last(pattern: str, text: str) -> int:
    """The number in the last match; 0 without one."""
    found = re.findall(pattern, text, re.MULTILINE)
    return int(found[-1]) if found else 0


def pack(sources: Sources, folder: Path) -> Path:
    """The bitstream's path in `folder`."""
    family, board = sources.fpga_family, sources.design.board
    name, bitstream = family.packer.name, family.bitstream_file
    arguments = family.pack_arguments(board.pack_options, sources.packer_device)
    run_tool(name, [fpga_program(name), *arguments], folder, (bitstream,), PACK_LOG)
    path = folder / bitstream
    if board.dfu:
        path.write_bytes(dfu.with_suffix(path.read_bytes(), *board.dfu))
    return path


def _too_large(sources: Sources, folder: Path) -> UserError | None:
    """The error for a design that nextpnr's log says is too large; None for any other log."""
    from mgd.boards.flow.build_report import over_full

    design = sources.design
    text = (folder / NEXTPNR_LOG).read_text(encoding="utf-8", errors="replace")
    found = over_full(text, sources.fpga_family)
    if not found:
        return None
    wants = ", ".join(f"{used:,} of {limit:,} {kind}" for kind, used, limit in found)
    network = design.config.network.describe()
    return UserError(
        f"{network} on {design.config.lanes} lanes does not fit {design.board.name}: it takes "
        f"{wants}; use fewer lanes, a smaller network or a larger board "
        "(`mgd fit TASK` shows what fits where)"
    )
