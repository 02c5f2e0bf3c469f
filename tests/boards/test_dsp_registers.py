"""Which registers go into a multiplier, on netlists of a few cells."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mgd.boards.families.ecp5_netlist.dsp_registers import Packed, pack

CLOCK, A, B, P = 2, 100, 200, 300
"""Bits of the netlists: the clock, the operands, the product."""
TAKEN = 1000
"""A register that shows bit n takes bit n + TAKEN, and one that takes it shows n + TAKEN."""


def register(taken, shown, **connections) -> dict[str, Any]:
    """As Yosys leaves a register without enable and reset, but for the `connections`."""
    pins = {"CLK": [CLOCK], "DI": [taken], "LSR": ["0"], "Q": [shown], **connections}
    return {
        "type": "TRELLIS_FF",
        "parameters": {
            "CEMUX": "CE" if "CE" in connections else "1 ",
            "CLKMUX": "CLK",
            "GSR": "DISABLED",
            "LSRMUX": "LSR",
            "REGSET": "RESET",
        },
        "port_directions": {pin: "output" if pin == "Q" else "input" for pin in pins},
        "connections": pins,
    }


def netlist(width: int = 3) -> dict[str, Any]:
    """A product of two operands of `width` bits, all of them in registers; a port reads it."""
    pins: dict[str, list] = {f"{name}{k}": ["0"] for name in "AB" for k in range(18)}
    cells = {}
    for k in range(width):
        for name, bit in (("A", A + k), ("B", B + k)):
            pins[f"{name}{k}"] = [bit]
            cells[f"{name}{k}"] = register(bit + TAKEN, bit)
    for k in range(2 * width):
        cells[f"P{k}"] = register(P + k, P + k + TAKEN)
    pins |= {f"P{k}": [P + k] for k in range(36)}
    cells["product"] = {
        "type": "MULT18X18D",
        "parameters": {},
        "port_directions": {pin: "output" if pin[0] == "P" else "input" for pin in pins},
        "connections": pins,
    }
    ports = {
        "in": {"direction": "input", "bits": [bit + k + TAKEN for bit in (A, B) for k in range(3)]},
        "out": {"direction": "output", "bits": [P + k + TAKEN for k in range(2 * width)]},
    }
    return {"ports": ports, "cells": cells}


def test_all_registers_go_in():
    module = netlist()
    assert pack(module) == Packed(operands=1, products=1, registers=12)
    assert list(module["cells"]) == ["product"]
    cell = module["cells"]["product"]
    at = cell["connections"]
    assert [at[f"A{k}"] for k in range(4)] == [[A + TAKEN], [A + 1 + TAKEN], [A + 2 + TAKEN], ["0"]]
    assert [at[f"B{k}"] for k in range(3)] == [[B + TAKEN], [B + 1 + TAKEN], [B + 2 + TAKEN]]
    assert [at[f"P{k}"] for k in range(6)] == [[P + k + TAKEN] for k in range(6)]
    assert at["P6"] == [P + 6], "what nothing reads stays"
    assert (at["CLK0"], at["CE0"], at["RST0"]) == ([CLOCK], ["1"], ["0"])
    for stage in ("INPUTA", "INPUTB", "OUTPUT"):
        assert cell["parameters"][f"REG_{stage}_CLK"] == "CLK0"
    again = copy.deepcopy(module)
    assert pack(again) == Packed()
    assert again == module


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cells: cells.update(P1=register(P + 1, P + 1 + TAKEN, CE=[50])),
        lambda cells: cells["P1"]["connections"].update(LSR=[50]),
        lambda cells: cells["P1"]["parameters"].update(REGSET="SET"),
        lambda cells: cells["P1"]["parameters"].update(CLKMUX="INV"),
        lambda cells: cells["P1"]["connections"].update(CLK=[51]),
        lambda cells: cells.update(other=register(P + 1, 60)),
    ],
    ids=["enable", "reset", "starts_high", "falling_edge", "clock", "reader"],
)
def test_product_that_is_not_plain_stays(spoil):
    module = netlist()
    spoil(module["cells"])
    assert pack(module) == Packed(operands=1, registers=6)
    cell = module["cells"]["product"]
    assert "REG_OUTPUT_CLK" not in cell["parameters"]
    assert cell["connections"]["P1"] == [P + 1]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cells: cells["B0"]["connections"].update(LSR=[50]),
        lambda cells: cells["product"]["connections"].update(B0=["1"]),
        lambda cells: cells.pop("B0"),
        lambda cells: cells["B0"]["connections"].update(CLK=[51]),
    ],
    ids=["reset", "constant", "no_register", "clock"],
)
def test_one_operand_alone_stays(spoil):
    module = netlist()
    spoil(module["cells"])
    packed = pack(module)
    assert (packed.operands, packed.products) == (0, 1)
    cell = module["cells"]["product"]
    assert not {"REG_INPUTA_CLK", "REG_INPUTB_CLK"} & set(cell["parameters"])
    assert cell["connections"]["A0"] == [A]
    assert "A0" in module["cells"]


def test_register_with_another_reader_stays_too():
    module = netlist()
    module["ports"]["in_between"] = {"direction": "output", "bits": [A]}
    assert pack(module) == Packed(operands=1, products=1, registers=11)
    assert module["cells"]["product"]["connections"]["A0"] == [A + TAKEN]
    assert module["cells"]["A0"]["connections"]["Q"] == [A]


def test_register_for_several_bits_and_with_a_constant():
    """A sign for all the bits above, and one that is never 0 after the first clock."""
    module = netlist()
    at = module["cells"]["product"]["connections"]
    at["A17"] = at["A16"] = at["A2"]
    module["cells"]["B2"]["connections"]["DI"] = ["1"]
    assert pack(module) == Packed(operands=1, products=1, registers=12)
    assert at["A17"] == at["A2"] == [A + 2 + TAKEN]
    assert at["B2"] == ["1"]


def test_between_two_multipliers_the_first_has_it():
    module = netlist()
    second = copy.deepcopy(module["cells"]["product"])
    for k in range(3):
        second["connections"][f"A{k}"] = [P + k + TAKEN]
        second["connections"][f"B{k}"] = [P + 3 + k + TAKEN]
    for k in range(36):
        second["connections"][f"P{k}"] = [P + 50 + k]
    module["cells"]["second"] = second
    module["ports"]["out"]["bits"] = [P + 50]
    assert pack(module) == Packed(operands=1, products=1, registers=12)
    assert second["connections"]["A0"] == [P + TAKEN]
    assert not second["parameters"]
