"""The simulated board with the synthesised netlist in the place of the design.

The same synthesis as a build's, on the same top level with the same options; around it the
program of boards.simulated.board, so that a host cannot tell the two apart.  Placing and routing
come after, and are not looked at here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth import Module
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mgd.boards.cache import digest, kept
from mgd.boards.devices import ECP5, ICE40
from mgd.boards.estimate.capacity import make_design
from mgd.boards.estimate.spatial_resources import spatial_config, spatial_design
from mgd.boards.flow import yosys
from mgd.boards.flow.board_top import is_gated
from mgd.boards.flow.build_report import read_cells
from mgd.boards.flow.commands import SYNTHESIS, Design
from mgd.boards.flow.ecp5 import netlist as ecp5_netlist
from mgd.boards.flow.yosys_checks import check_cells
from mgd.boards.netlist.cell_models import cell_models
from mgd.boards.netlist.text import powered_up
from mgd.boards.registry import find_board
from mgd.boards.simulated import board as simulated
from mgd.boards.simulated import verilator
from mgd.boards.tools import fpga_program, fpga_program_version, with_ports
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import PLAIN, BuildOptions
from mgd.protocol.fixed_settings import Fixed
from mgd.rtl.system.top import Top, probe_layout

FAMILIES = {ICE40: "icebreaker", ECP5: "ulx3s-25f"}
"""The families whose netlists can be simulated, and the board whose build is taken for them."""
POWER_UP_SEED = 1

_VERILOG, _CELLS, _JSON = "netlist.v", "cells.json", "netlist.json"


@dataclass(frozen=True)
class Netlist:
    """What synthesis made of a design.

    verilog: module `netlist` of the family's cells, with ports clk, rst (where the board has a
    reset), rx, tx and busy.
    cells: number of cells by type.
    """

    design: Design
    verilog: str
    cells: dict[str, int]

    @property
    def family(self) -> str:
        return self.design.board.family


class BoardPins(wiring.Component):
    """rtl.system.top.Top with what a board connects of it.

    Latency: none; there are only wires here.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        design = self.design
        options: dict[str, Any] = dict(design.top_options)
        m.submodules.top = top = Top(
            design.config,
            design.sample_memory,
            simulated.CLOCKS_PER_BIT,
            simulated.CLOCK_HZ,
            **options,
        )
        m.d.comb += [top.rx.eq(self.rx), self.tx.eq(top.tx), self.busy.eq(top.busy)]
        return m


def board_text(design: Design) -> str:
    """The RTLIL that is synthesised: with a reset where the board has one."""
    pins, ports = with_ports(BoardPins(design), reset=not is_gated(design.board))
    return rtlil.convert(pins, name="top", ports=ports, emit_src=False)


def design_for(
    family: str,
    network: Network,
    lanes: int,
    sample_words: int,
    fixed: Fixed = (),
    variant: BuildOptions = PLAIN,
) -> Design:
    """What `mgd build` would build for the family's board of FAMILIES.

    Raises UserError for another family, or where the board has not the room.
    """
    if family not in FAMILIES:
        raise UserError(f"netlist {family!r} is unknown: there are {', '.join(FAMILIES)}")
    board = find_board(FAMILIES[family])
    design = make_design(board, network, lanes, sample_words, None, fixed, variant)
    if design.sample_memory < sample_words:
        raise UserError(
            f"{sample_words:,} words of samples: {FAMILIES[family]} has room for "
            f"{design.sample_memory:,} beside {lanes} lanes; use fewer samples or lanes"
        )
    return design


def spatial_design_for(
    family: str, network: Network, settings: Settings, sample_words: int, fixed: Fixed = ()
) -> Design:
    """As design_for, with a spatial core for these settings."""
    board = find_board(FAMILIES[family])
    config = spatial_config(board, network, settings, fixed)
    return spatial_design(board, config, sample_words, None)


def synthesise(design: Design, notify: verilator.Notify) -> Netlist:
    """The netlist of a design; from the cache where this very one was synthesised before.

    Raises UserError where Yosys is missing, fails, or says what boards.flow.yosys_checks does not
    let pass, or where there is no room.
    """
    family = design.board.family
    # Bits instead of vectors, and wires with short names: much less C++.  No cell is changed.
    script = (
        f"read_rtlil top.il\n{SYNTHESIS[family]}\ncheck\nrename top netlist\n"
        f"tee -q -o {_CELLS} stat -json\nwrite_json {_JSON}\n"
    )
    finished = (
        f"read_json {_JSON}\nsplitnets\nopt_clean -purge\n"
        f"rename -hide */w:*\nwrite_verilog -noattr -noexpr {_VERILOG}\n"
    )
    text = board_text(design)
    parts = [
        text,
        script,
        finished,
        ecp5_netlist.sources(),
        fpga_program("yosys"),
        fpga_program_version("yosys"),
    ]

    def make(folder: Path, final: Path) -> Path:
        notify(f"synthesising for {family}, once; the netlist is kept in {final.parent}")
        (folder / "top.il").write_text(text)
        (folder / yosys.SCRIPT).write_text(script)
        yosys.run_yosys(folder, (_JSON, _CELLS))
        if family == ECP5:
            ecp5_netlist.finish(folder / _JSON, simulated=True)
        (folder / yosys.SCRIPT).write_text(finished)
        yosys.run_yosys(folder, (_VERILOG,))
        made = {"verilog": (folder / _VERILOG).read_text(), "cells": read_cells(folder / _CELLS)}
        (folder / "made.json").write_text(json.dumps(made))
        return folder / "made.json"

    found = kept("netlists", digest(parts), "netlists", make)
    netlist = Netlist(design, **json.loads(found.read_text()))
    check_cells(netlist.cells, design.config, design.sample_memory)
    return netlist


def compiled(
    netlist: Netlist,
    notify: verilator.Notify,
    change: Callable[[str], str] = lambda verilog: verilog,
    more_models: str = "",
) -> Path:
    """The board as a program: netlist, models of its cells, and what is around them.

    A reset stays low: a board whose flip-flops start as the bitstream says needs none.
    Memories that the design writes start with noise.  change: what a test does to the netlist's
    text.  more_models: Verilog of cells that this puts in.  Raises UserError where a tool is
    missing or fails, or for a cell without a model.
    """
    probe = probe_layout(netlist.design.config).size
    reset = "" if is_gated(netlist.design.board) else ", .rst(1'b0)"
    wrapper = f"""
module top(input clk, input rx, output tx, output busy, output [{probe - 1}:0] probe);
  assign probe = 0;
  netlist netlist(.clk(clk){reset}, .rx(rx), .tx(tx), .busy(busy));
endmodule
"""
    models = cell_models(netlist.family, netlist.cells) + more_models
    text = models + wrapper + powered_up(change(netlist.verilog), POWER_UP_SEED)
    header = simulated.board_header(netlist.design.config)
    return verilator.compiled(text, header, "simulated.cpp", notify, "-O0")
