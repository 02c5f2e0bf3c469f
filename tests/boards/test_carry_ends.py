"""Which carry outputs of a netlist are left open."""

from __future__ import annotations

import copy

from mgd.boards.families.ecp5_netlist.carry_ends import leave_open


def carry(cin, cout) -> dict:
    return {"type": "CCU2C", "connections": {"A0": [2], "CIN": [cin], "COUT": [cout]}}


def test_only_what_nothing_reads():
    cells = {
        "first": carry("0", 10),
        "last": carry(10, 11),
        "to_lut": carry("0", 12),
        "lut": {"type": "LUT4", "connections": {"A": [12], "Z": [13]}},
        "to_port": carry("1", 14),
        "open": carry("0", "x"),
    }
    module = {"ports": {"out": {"direction": "output", "bits": [14]}}, "cells": cells}
    wanted = copy.deepcopy(module)
    wanted["cells"]["last"]["connections"]["COUT"] = ["x"]
    assert leave_open(module) == 1
    assert module == wanted
    assert leave_open(module) == 0, "a second time changes nothing"
    assert module == wanted


def test_other_cells_stay_as_they_are():
    cells = {"ff": {"type": "TRELLIS_FF", "connections": {"Q": [20], "DI": [21]}}}
    module = {"cells": copy.deepcopy(cells)}
    assert leave_open(module) == 0
    assert module == {"cells": cells}
