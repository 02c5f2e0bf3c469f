"""FPGA families: the command lines of their tools; no code outside asks for one by name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mgd.boards.estimate.kinds import make_design
from mgd.boards.families.registry import COUNTED, FAMILIES, netlist_cells
from mgd.boards.flow import commands as flow
from mgd.boards.registry import boards, find_board
from mgd.golden_model.errors import UserError
from tests.support.paths import ROOT
from tests.support.simulation import XOR

COMMANDS = {
    "icebreaker": [
        "nextpnr-ice40 --up5k --package sg48 --json top.json --report nextpnr.json --seed 1 "
        "--timing-allow-fail --freq 39.7500 --pcf top.pcf --asc top.asc --placer static",
        "nextpnr-ice40 --up5k --package sg48 --json top.json --report nextpnr.json --seed 2 "
        "--timing-allow-fail --freq 39.7500 --pcf top.pcf --asc top.asc --placer heap "
        "--placer-heap-timingweight 30",
        "icepack top.asc top.bin",
    ],
    "ulx3s-25f": [
        "nextpnr-ecp5 --25k --package CABGA381 --speed 6 --json top.json --report nextpnr.json "
        "--seed 1 --timing-allow-fail --freq 40.0000 --lpf top.lpf --textcfg top.config --router "
        "router2 --placer static",
        "nextpnr-ecp5 --25k --package CABGA381 --speed 6 --json top.json --report nextpnr.json "
        "--seed 2 --timing-allow-fail --freq 40.0000 --lpf top.lpf --textcfg top.config --router "
        "router2 --placer heap --placer-heap-timingweight 30",
        "ecppack --compress --input top.config --bit top.bit",
    ],
    "tang-nano-9k": [
        "nextpnr-himbaechel-gowin --device GW1NR-LV9QN88PC6/I5 --vopt family=GW1N-9C --vopt "
        "cst=top.cst --json top.json --report nextpnr.json --seed 1 --timing-allow-fail --freq "
        "39.0000 --write routed.json",
        "nextpnr-himbaechel-gowin --device GW1NR-LV9QN88PC6/I5 --vopt family=GW1N-9C --vopt "
        "cst=top.cst --json top.json --report nextpnr.json --seed 2 --timing-allow-fail --freq "
        "39.0000 --write routed.json",
        "gowin_pack -d GW1N-9C -o top.fs routed.json",
    ],
}
"""Board: two runs of nextpnr and one of the packer."""


@pytest.mark.parametrize("name", COMMANDS)
def test_command_lines(name, tmp_path, monkeypatch):
    board = find_board(name)
    sources = flow.elaborate(
        make_design(board, XOR.core_layout(), 16),
        board.fpga_family.pll.search(board.clock_hz, 40_000_000),
    )
    commands: list[str] = []

    def run_tool(tool, command, folder, products, *_options):
        commands.append(" ".join(command))
        for product in products:
            (folder / product).write_text("made")

    monkeypatch.setattr(flow, "run_tool", run_tool)
    monkeypatch.setattr(flow, "fpga_program", lambda tool: tool)
    for seed in (1, 2):
        flow.place_and_route(sources, tmp_path, seed)
    assert flow.pack(sources, tmp_path).read_text() == "made"
    assert commands == COMMANDS[name]


def test_every_family_has_a_board():
    assert {board.fpga_family.name for board in boards().values()} == set(FAMILIES)
    assert len({family.sources() for family in FAMILIES.values()}) == len(FAMILIES)
    for name in COUNTED:
        assert find_board(netlist_cells(name).reference_board).fpga_family is FAMILIES[name]
    with pytest.raises(UserError, match="family 'gowin' is unknown: there are ice40, ecp5"):
        netlist_cells("gowin")


def test_a_bitstream_is_of_one_family():
    heads = {"ice40": b"\xff\x00made\x00\xff\x7e\xaa\x99\x7e", "gowin": b"0101\n1"}
    heads["ecp5"] = b"\xff\x00made\x00\xff\xff\xff\xbd\xb3"
    for of, head in heads.items():
        assert [name for name, family in FAMILIES.items() if family.is_bitstream(head)] == [of]


@pytest.mark.parametrize("folder", ["boards", "scripts"])
def test_no_code_outside_a_family_asks_for_it(folder):
    """No comparison with a family's name or object: a family brings its own parts."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        if "families" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare | ast.Dict | ast.Match):
                assert not _names(node) & {*FAMILIES, *(n.upper() for n in FAMILIES)}, (
                    f"{path.relative_to(Path(ROOT))}:{node.lineno}"
                )


def _names(tree: ast.AST) -> set[str]:
    """Identifiers and whole strings below a node."""
    nodes = list(ast.walk(tree))
    strings = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return strings | {n.id for n in nodes if isinstance(n, ast.Name)}
