"""The simulated board with the synthesised netlist in place of the design.

The same synthesis as a build's, on the same top level with the same options; around it the
program of boards.simulated.board, so that a host sees no difference.  Placing and routing
are not covered.
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

from mgd.boards.cache import cached, digest
from mgd.boards.design import Design
from mgd.boards.estimate.kinds import make_design
from mgd.boards.families.registry import netlist_cells
from mgd.boards.flow import yosys
from mgd.boards.flow.board_top import is_gated
from mgd.boards.flow.build_report import read_cells
from mgd.boards.flow.yosys_checks import check_cells
from mgd.boards.netlist.cell_models import cell_models
from mgd.boards.netlist.text import powered_up
from mgd.boards.registry import find_board
from mgd.boards.simulated import board as simulated
from mgd.boards.simulated import verilator
from mgd.boards.tools import fpga_program, fpga_program_version, with_ports
from mgd.golden_model.errors import UserError
from mgd.protocol.layout.base import CoreLayout
from mgd.rtl.system.top import Top, probe_layout

POWER_UP_SEED = 1

_VERILOG, _CELLS, _JSON = "netlist.v", "cells.json", "netlist.json"


@dataclass(frozen=True)
class Netlist:
    """The synthesised netlist of a design.

    verilog: module `netlist` of the family's cells, with ports clk, rst (where the board has a
    reset), rx, tx and busy.
    cells: number of cells by type.
    """

    design: Design
    verilog: str
    cells: dict[str, int]


class BoardPins(wiring.Component):
    """rtl.system.top.Top with the ports that a board connects.

    Latency: 0 clocks, wires alone.
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


def design_for(family: str, core: CoreLayout, sample_words: int) -> Design:
    """The design that `mgd build` would build for the family's reference board.

    family: one of boards.families.registry.COUNTED.  core: as for
    boards.estimate.kinds.make_design.  Raises UserError for another family, or where the board
    has too little room.
    """
    board = find_board(netlist_cells(family, "netlist").reference_board)
    design = make_design(board, core, sample_words)
    if design.sample_memory < sample_words:
        raise UserError(
            f"{sample_words:,} words of samples: {board.name} has room for "
            f"{design.sample_memory:,} beside {core.lanes} lanes; use fewer samples or lanes"
        )
    return design


def synthesise(design: Design, notify: verilator.Notify) -> Netlist:
    """The netlist of a design; from the cache where the same one was synthesised before.

    Raises UserError where Yosys is missing, fails, or logs a line that boards.flow.yosys_checks
    refuses, or where there is no room.
    """
    family = design.board.fpga_family
    # Bits instead of vectors, and wires with short names: much less C++.  No cell is changed.
    script = (
        f"read_rtlil top.il\n{family.synthesis}\ncheck\nrename top netlist\n"
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
        family.sources(),
        fpga_program("yosys"),
        fpga_program_version("yosys"),
    ]

    def make(folder: Path, final: Path) -> Path:
        notify(f"synthesising for {family.name}, once; the netlist is cached in {final.parent}")
        (folder / "top.il").write_text(text)
        (folder / yosys.SCRIPT).write_text(script)
        yosys.run_yosys(folder, (_JSON, _CELLS))
        family.finish_netlist(folder / _JSON, simulated=True)
        (folder / yosys.SCRIPT).write_text(finished)
        yosys.run_yosys(folder, (_VERILOG,))
        made = {"verilog": (folder / _VERILOG).read_text(), "cells": read_cells(folder / _CELLS)}
        (folder / "made.json").write_text(json.dumps(made))
        return folder / "made.json"

    found = cached("netlists", digest(parts), "netlists", make)
    netlist = Netlist(design, **json.loads(found.read_text()))
    check_cells(netlist.cells, design)
    return netlist


def compiled(
    netlist: Netlist,
    notify: verilator.Notify,
    change: Callable[[str], str] = lambda verilog: verilog,
    more_models: str = "",
) -> Path:
    """The board as a program: netlist, models of its cells, and the simulated board around them.

    A reset stays low, because flip-flops start with the bitstream's values.
    Memories that the design writes start with noise.  change: a test's change of the netlist's
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
    family = netlist.design.board.fpga_family.name
    models = cell_models(family, netlist.cells) + more_models
    verilog = powered_up(change(netlist.verilog), netlist_cells(family).models, POWER_UP_SEED)
    text = models + wrapper + verilog
    header = simulated.board_header(netlist.design.config)
    return verilator.compiled(text, header, "simulated.cpp", notify, "-O0")
