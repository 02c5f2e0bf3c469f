"""Which registers go into a block RAM, on netlists of a few cells."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mgd.boards.families.ecp5_netlist.ram_registers import Packed, pack
from tests.boards.test_dsp_registers import CLOCK, TAKEN, register

A, B = 100, 200
"""Bits of the netlists: the outputs of both ports; a register shows bit n as n + TAKEN."""


def netlist(width: int = 4) -> dict[str, Any]:
    """A memory that is read at both ports, each bit in a register; ports of the module read them,
    but for the last of port A's, which nothing reads."""
    pins: dict[str, list] = {"CLKA": [CLOCK], "CLKB": [CLOCK], "RSTA": ["0"], "RSTB": ["0"]}
    pins |= {"OCEA": ["1"], "OCEB": ["1"]}
    cells = {}
    for side, first in (("A", A), ("B", B)):
        for k in range(width):
            pins[f"DO{side}{k}"] = [first + k]
            cells[f"{side}{k}"] = register(first + k, first + k + TAKEN)
    del cells[f"A{width - 1}"]
    cells["memory"] = {
        "type": "DP16KD",
        "parameters": {
            **{f"DATA_WIDTH_{side}": f"{width:032b}" for side in "AB"},
            **{f"REGMODE_{side}": "NOREG" for side in "AB"},
        },
        "port_directions": {pin: "output" if pin[:2] == "DO" else "input" for pin in pins},
        "connections": pins,
    }
    bits = [A + k + TAKEN for k in range(width - 1)] + [B + k + TAKEN for k in range(width)]
    return {"ports": {"out": {"direction": "output", "bits": bits}}, "cells": cells}


def test_both_ports_take_their_registers():
    module = netlist()
    assert pack(module) == Packed(ports=2, registers=7)
    (cell,) = module["cells"].values()
    assert {cell["parameters"][f"REGMODE_{side}"] for side in "AB"} == {"OUTREG"}
    at = cell["connections"]
    assert [at[f"DOA{k}"] for k in range(4)] == [*([A + k + TAKEN] for k in range(3)), [A + 3]]
    assert [at[f"DOB{k}"] for k in range(4)] == [[B + k + TAKEN] for k in range(4)]
    assert at["OCEA"] == at["OCEB"] == ["1"]
    again = copy.deepcopy(module)
    assert pack(again) == Packed(), "no second register"
    assert again == module


def pin(**connections):
    return lambda module: module["cells"]["memory"]["connections"].update(connections)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda module: module["cells"].update(B1=register(B + 1, B + 1 + TAKEN, CE=[50])),
        lambda module: module["cells"]["B1"]["connections"].update(LSR=[50]),
        lambda module: module["cells"]["B1"]["parameters"].update(REGSET="SET"),
        lambda module: module["cells"]["B1"]["parameters"].update(CLKMUX="INV"),
        lambda module: module["cells"]["B1"]["connections"].update(CLK=[51]),
        lambda module: module["cells"].update(other=register(B + 1, 60)),
        lambda module: module["ports"]["out"]["bits"].append(B + 1),
        pin(CLKB=[51]),
        pin(RSTB=[50]),
        lambda module: module["cells"]["memory"]["parameters"].update(CLKBMUX="INV"),
        lambda module: module["cells"]["memory"]["parameters"].update(REGMODE_B="OUTREG"),
    ],
    ids=[
        *("enable", "reset", "starts_high", "falling_edge", "clock", "reader", "port"),
        *("clock_of_the_memory", "reset_of_the_memory", "other_edge", "has_one"),
    ],
)
def test_a_port_with_one_that_is_not_plain_has_none(spoil):
    module = netlist()
    spoil(module)
    memory = copy.deepcopy(module["cells"]["memory"])
    assert pack(module) == Packed(ports=1, registers=3)
    cell = module["cells"]["memory"]
    assert cell["parameters"]["REGMODE_A"] == "OUTREG"
    assert cell["parameters"]["REGMODE_B"] == memory["parameters"]["REGMODE_B"]
    assert cell["connections"]["DOB1"] == memory["connections"]["DOB1"]
    assert {"B0", "B1", "B2", "B3"} <= set(module["cells"])


def test_words_of_both_ports_together_have_none():
    module = netlist()
    module["cells"]["memory"]["parameters"]["DATA_WIDTH_B"] = f"{36:032b}"
    assert pack(module) == Packed()
