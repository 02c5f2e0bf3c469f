"""From a design to a bitstream: the scripts and command lines of each family's tools."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mgd.boards.board import Board
from mgd.boards.devices import ECP5, GOWIN, ICE40
from mgd.boards.flash import dfu
from mgd.boards.flow import pll, yosys
from mgd.boards.flow.board_top import BoardTop
from mgd.boards.flow.ecp5 import netlist as ecp5_netlist
from mgd.boards.flow.steps import HopelessError, run_tool
from mgd.boards.tools import changed_environment, fpga_program
from mgd.golden_model.errors import UserError
from mgd.rtl.core_kinds import AnyConfig

DESIGN, NETLIST, CELLS, REPORT = "top.il", "top.json", "cells.json", "nextpnr.json"
YOSYS_LOG, NEXTPNR_LOG, PACK_LOG = yosys.LOG, "nextpnr.log", "pack.log"
ROUTED = {ICE40: "top.asc", ECP5: "top.config", GOWIN: "routed.json"}
BITSTREAM = {ICE40: "top.bin", ECP5: "top.bit", GOWIN: "top.fs"}
ROUTER = {ICE40: "nextpnr-ice40", ECP5: "nextpnr-ecp5", GOWIN: "nextpnr-himbaechel-gowin"}
PACKER = {ICE40: "icepack", ECP5: "ecppack", GOWIN: "gowin_pack"}
_STATIC = ("--placer", "static")
_HEAP = ("--placer", "heap", "--placer-heap-timingweight", "30")
PLACERS = {ICE40: (_STATIC, _HEAP), ECP5: (_STATIC, _HEAP), GOWIN: ((),)}
"""They take turns, seed after seed.  The static one spreads cells evenly.  The other one, the
default, crowds what belongs together, all the more where timing has this weight, and is faster
until nets must take detours around each other; in a full device some may find no way at all."""
ROUNDS_PER_ARC = 40
"""Of the default router, which counts every way it looks for; designs that it routed took ten."""
ITERATIONS_MAX = 300
"""Of router2, which looks for ways for all nets at once."""
CONSTRAINTS = {ICE40: "top.pcf", ECP5: "top.lpf", GOWIN: "top.cst"}

# Yosys guards memories that are read and written in one clock against a read of the very word
# that is written; no memory of ours is (docs/architecture.md), so it may leave that away. A port
# without a clock has no such guard.
_CLOCKED = "*/r:CLK_ENABLE=1"
_NO_COLLISIONS = f"setparam -set COLLISION_X_MASK 1'1 */t:$memrd_v2 {_CLOCKED} %i; "
# Registers with the attribute keep are copies on purpose, each for a part of what would be too
# much for one; of equal cells synthesis would keep the first.
_COPIES = "setattr -set keep 1 a:keep=1 w:* %i %ci1 t:$dff %i; "
SYNTHESIS = {
    ICE40: (
        f"{_NO_COLLISIONS}setattr -mod -set blackbox 1 *.mac16; "
        "setattr -mod -set keep_hierarchy 1 *.apart*; synth_ice40 -dsp -top top; "
        "setattr -mod -unset blackbox =*.mac16; setattr -mod -unset keep_hierarchy *.apart*; "
        "flatten; opt_clean"
    ),
    ECP5: f"{_NO_COLLISIONS}{_COPIES}synth_ecp5 -top top",
    GOWIN: "synth_gowin -top top",
}
"""Family: the Yosys commands, in one line, that make its netlist of the module `top`."""


@dataclass(frozen=True)
class Design:
    """What is built, but for the clock.

    sample_memory: 16-bit words, even.  baud: bits per second.  top_options: (name, value) pairs,
    more arguments of rtl.system.top.Top.
    """

    board: Board
    config: AnyConfig
    sample_memory: int
    baud: int
    top_options: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Sources:
    """A design at one clock, as files, and the arguments that name the device to nextpnr."""

    design: Design
    setting: pll.Setting
    files: tuple[tuple[str, str], ...]
    device_arguments: tuple[str, ...]
    chip: str = ""
    """The device as Gowin's packer calls it."""

    @property
    def family(self) -> str:
        return self.design.board.family


def elaborate(design: Design, setting: pll.Setting) -> Sources:
    """RTLIL and constraints of a design at one clock.

    The texts hold no names of files and no times: equal designs give equal bytes.
    """
    board = design.board
    platform = board.platform_class()()
    top = BoardTop(
        board,
        design.config,
        design.sample_memory,
        setting,
        design.baud,
        **dict(design.top_options),
    )
    # Amaranth asks some boards for their programmer, though nothing is to be programmed.
    with changed_environment(OPENFPGALOADER="true", DFU_SUFFIX="true"):
        plan = platform.prepare(top, "top", emit_src=False)
    constraints = CONSTRAINTS[board.family]
    files = [
        (DESIGN, plan.files["top.il"]),
        (constraints, plan.files[constraints]),
        (yosys.SCRIPT, _script(board.family)),
    ]
    sources = Sources(design, setting, (), _device_arguments(board.family, platform))
    if board.family == GOWIN:
        sources = replace(sources, chip=platform._chipdb_device)
    texts = [(n, t if isinstance(t, str) else t.decode()) for n, t in files]
    return replace(sources, files=tuple(texts))


def _script(family: str) -> str:
    return (
        f"read_rtlil {DESIGN}\n{SYNTHESIS[family]}\ncheck\n"
        f"tee -q -o {CELLS} stat -json\nwrite_json {NETLIST}\n"
    )


def _device_arguments(family: str, platform) -> tuple[str, ...]:
    """As Amaranth's own command lines have it; its tables are no public interface, but the
    only place where they are."""
    if family == ICE40:
        suffix = platform._nextpnr_package_options.get(platform.device, "")
        return (
            platform._nextpnr_device_options[platform.device],
            *("--package", platform.package.lower() + suffix),
        )
    if family == ECP5:
        package = platform._nextpnr_package_options[platform.package].upper()
        return (
            platform._nextpnr_device_options[platform.device],
            *("--package", package, "--speed", platform.speed),
        )
    return (
        *("--device", platform.part),
        *("--vopt", f"family={platform._chipdb_device}", "--vopt", f"cst={CONSTRAINTS[GOWIN]}"),
    )


def write_sources(sources: Sources, folder: Path) -> None:
    """Write the files.  Raises OSError."""
    for name, text in sources.files:
        (folder / name).write_text(text, encoding="utf-8")


def synthesise(folder: Path, family: str) -> None:
    """Yosys.  Leaves the netlist, the count of its cells and a log without a bad word."""
    yosys.run_yosys(folder, (NETLIST, CELLS))
    if family == ECP5:
        ecp5_netlist.finish(folder / NETLIST)


def place_and_route(sources: Sources, folder: Path, seed: int) -> None:
    """nextpnr with one seed, and the placer whose turn it is; the other one where nets find no
    way.  Leaves the routed design and the report; failing timing is not an error here, the report
    says it."""
    family = sources.family
    command = [fpga_program(ROUTER[family]), *sources.device_arguments]
    command += ["--json", NETLIST, "--report", REPORT, "--seed", str(seed), "--timing-allow-fail"]
    command += ["--freq", f"{float(sources.setting.output_hz) / 1e6:.4f}"]
    routed = ROUTED[family]
    if family == ICE40:
        command += ["--pcf", CONSTRAINTS[family], "--asc", routed]
    elif family == ECP5:
        # The other router takes hours where three quarters of the device are in use.
        command += ["--lpf", CONSTRAINTS[family], "--textcfg", routed, "--router", "router2"]
    else:
        command += ["--write", routed]
    products = REPORT, routed
    choices = PLACERS[family]
    first = (seed - 1) % len(choices)
    try:
        for placer in choices[first:] + choices[:first]:
            run = [*command, *placer]
            # What another run has left must never be taken for this one's.
            for name in products:
                (folder / name).unlink(missing_ok=True)
            with suppress(HopelessError):
                run_tool(ROUTER[family], run, folder, products, NEXTPNR_LOG, never_routed)
                return
    except UserError as error:
        raise _too_large(sources, folder) or error from None
    raise UserError(
        f"{ROUTER[family]} finds no way for some nets (seed {seed}) and would look for ever; use "
        "fewer lanes or a larger board"
    )


def never_routed(log: str) -> bool:
    """Whether nextpnr's router goes on for ever, as it does where cells are placed so that some
    nets have no way."""
    arcs, rounds = _last(r"^Info: Routing (\d+) arcs", log), _last(r"^Info: +(\d+) \|", log)
    return rounds > ROUNDS_PER_ARC * arcs > 0 or _last(r" iter=(\d+) wires=", log) > ITERATIONS_MAX


def _last(pattern: str, text: str) -> int:
    """The number in the last match; 0 without one."""
    found = re.findall(pattern, text, re.MULTILINE)
    return int(found[-1]) if found else 0


def pack(sources: Sources, folder: Path) -> Path:
    """The bitstream's path in `folder`."""
    family, board = sources.family, sources.design.board
    routed, bitstream = ROUTED[family], BITSTREAM[family]
    command = [fpga_program(PACKER[family])]
    if family == ICE40:
        command += [*board.pack_options, routed, bitstream]
    elif family == ECP5:
        command += [*board.pack_options, "--input", routed, "--bit", bitstream]
    else:
        command += ["-d", sources.chip, "-o", bitstream, *board.pack_options, routed]
    run_tool(PACKER[family], command, folder, (bitstream,), PACK_LOG)
    path = folder / bitstream
    if board.dfu:
        path.write_bytes(dfu.with_suffix(path.read_bytes(), *board.dfu))
    return path


def _too_large(sources: Sources, folder: Path) -> UserError | None:
    """What nextpnr's log says of a design that has no room, in our words."""
    from mgd.boards.flow.build_report import over_full

    design = sources.design
    text = (folder / NEXTPNR_LOG).read_text(encoding="utf-8", errors="replace")
    found = over_full(text)
    if not found:
        return None
    wants = ", ".join(f"{used:,} of {there:,} {kind}" for kind, used, there in found)
    network = design.config.network.describe()
    return UserError(
        f"{network} on {design.config.lanes} lanes does not fit {design.board.name}: it takes "
        f"{wants}; use fewer lanes, a smaller network or a larger board "
        "(`mgd fit TASK` shows what fits where)"
    )
