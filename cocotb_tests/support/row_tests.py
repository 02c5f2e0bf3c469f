"""The rows of a batch (batch.py) as tests of cocotb's, in the simulation."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import cocotb
from cocotb.regression import TestGenerator
from cocotb.simtime import get_sim_time
from cocotb.triggers import Timer

from cocotb_tests.support.runner import CLOCK_NS, use_row

STEPS_PER_CLOCK = CLOCK_NS * 1000
"""The time step is a picosecond."""


class Slot:
    """A component's pins by the names of its ports, its clock and its reset."""

    def __init__(self, dut, name: str) -> None:
        self._dut, self._name = dut, name
        self._log = dut._log

    def __getattr__(self, port: str):
        return getattr(self._dut, f"{self._name}__{port}")


def as_test(number: int, row: dict[str, Any]) -> TestGenerator:
    coroutine = getattr(import_module(row["module"]), row["coroutine"])

    async def run(dut) -> None:
        use_row(row["parameters"], row["seed"])
        part = Slot(dut, row["slot"])
        for pin in row["inputs"]:
            getattr(part, pin).value = 0
        # cocotb lets a time step pass between two tests; clocks are counted in whole periods.
        await Timer(STEPS_PER_CLOCK - int(get_sim_time("step")) % STEPS_PER_CLOCK, "step")
        await coroutine.func(part)

    made = cocotb.test(run)
    made.name, made.timeout = f"row{number}", coroutine.timeout
    return made


for _number, _row in enumerate(json.loads(Path(os.environ["MGD_ROWS"]).read_text())):
    globals()[f"row{_number}"] = as_test(_number, _row)
