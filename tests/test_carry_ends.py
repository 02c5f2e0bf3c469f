"""Which carry outputs of a netlist are left open."""

from __future__ import annotations

import json

from boards.carry_ends import leave_open


def carry(cin, cout) -> dict:
    return {"type": "CCU2C", "connections": {"A0": [2], "CIN": [cin], "COUT": [cout]}}


def netlist(folder, cells, ports=()):
    path = folder / "top.json"
    module = {
        "ports": {f"p{bit}": {"direction": "output", "bits": [bit]} for bit in ports},
        "cells": cells,
        "netnames": {"sum": {"bits": [11], "attributes": {}}},
    }
    path.write_text(json.dumps({"modules": {"top": module}}))
    return path


def ends(path) -> dict[str, list]:
    cells = json.loads(path.read_text())["modules"]["top"]["cells"]
    return {name: cell["connections"]["COUT"] for name, cell in cells.items() if "CIN" in str(cell)}


def test_only_what_nothing_reads(tmp_path):
    cells = {
        "first": carry("0", 10),
        "last": carry(10, 11),
        "to_lut": carry("0", 12),
        "lut": {"type": "LUT4", "connections": {"A": [12], "Z": [13]}},
        "to_port": carry("1", 14),
        "open": carry("0", "x"),
    }
    path = netlist(tmp_path, cells, ports=(14,))
    assert leave_open(path) == 1
    wanted = {"first": [10], "last": ["x"], "to_lut": [12], "to_port": [14], "open": ["x"]}
    assert ends(path) == wanted
    assert leave_open(path) == 0, "a second time changes nothing"
    assert ends(path) == wanted


def test_other_cells_stay_as_they_are(tmp_path):
    cells = {"ff": {"type": "TRELLIS_FF", "connections": {"Q": [20], "DI": [21]}}}
    path = netlist(tmp_path, cells)
    before = json.loads(path.read_text())
    assert leave_open(path) == 0
    assert json.loads(path.read_text()) == before
