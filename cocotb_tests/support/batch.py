"""Many simulations as one: rows of a test module, each a component and a coroutine on it.

A build and the start of a simulation take seconds, and what they hold hardly matters.  So the
components of all rows are compiled side by side, each with a clock of its own, and one run of
the simulator goes through the rows, one after the other, each a test of cocotb's with its own
parameters, seed, time limit and result.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from amaranth import ClockDomain, DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.regression import TestGenerator

from cocotb_tests.support.runner import CACHE, TOP, build, run_built
from mgd.boards.tools import to_verilog

ROWS_MODULE = "cocotb_tests.support.row_tests"
RUN_SECONDS = 300
"""Limit of a run, a net under the coroutines' own, and RUN_SECONDS_EACH more for each row."""
RUN_SECONDS_EACH = 60
WITH_WAVES = 3
"""Failing rows of a batch that are run again with waves: a mistake in a unit fails all of its."""
NO_WAVES = f"waves: of the first {WITH_WAVES} rows that fail; run this one alone for them"


@dataclass
class Row:
    """A coroutine, from cocotb.test, to run on a component with these parameters.

    Rows that hold the same component, not only an equal one, run on one copy of it; the inputs
    are 0 and the reset is given before each.  parameters must survive JSON; the coroutine reads
    them with params().  cells: Verilog of the cells that the component instantiates.
    """

    component: wiring.Component
    coroutine: TestGenerator
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1
    cells: str = ""

    def __str__(self) -> str:
        return f"{self.coroutine.name}, seed {self.seed}, parameters {json.dumps(self.parameters)}"


class Rack(wiring.Component):
    """Components side by side; port p of number n is pin n<n>__p, its clock n<n>__clk."""

    def __init__(self, components: Sequence[wiring.Component]) -> None:
        self.components = list(components)
        members: dict[str, wiring.Member] = {}
        for number, one in enumerate(self.components):
            members |= {
                slot(number): Out(one.signature),
                f"{slot(number)}__clk": In(1),
                f"{slot(number)}__rst": In(1),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        for number, component in enumerate(self.components):
            name = slot(number)
            domain = ClockDomain(name)
            m.domains += domain
            m.d.comb += [
                domain.clk.eq(getattr(self, f"{name}__clk")),
                domain.rst.eq(getattr(self, f"{name}__rst")),
            ]
            m.submodules[name] = DomainRenamer(name)(component)
            connect(m, component, flipped(getattr(self, name)))
        return m


def slot(number: int) -> str:
    return f"n{number}"


def input_pins(component: wiring.Component) -> list[str]:
    """The names of the pins that drive a component."""
    return [
        "__".join(map(str, path))
        for path, member, _ in component.signature.flatten(component)
        if member.flow == In
    ]


class Batch:
    """Rows that are simulated together.  verdicts(): None of a row that passed, else why not."""

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        self.name, self.rows = name, list(rows)

    def verdicts(self) -> list[str | None]:
        """The first rows that fail are simulated once more, each alone and with waves."""
        found: list[str | None] = []
        failed = 0
        for row, verdict in zip(self.rows, self._simulate(self.rows, waves=False), strict=True):
            if verdict is None:  # the run of all was not built, or ended before this row
                (verdict,) = self._simulate([row], waves=False)
            if verdict == "":
                found.append(None)
                continue
            failed += 1
            waves = self._with_waves(row) if failed <= WITH_WAVES else NO_WAVES
            found.append(f"{row}: {verdict or 'the simulation ended without results'}\n{waves}")
        return found

    def _with_waves(self, row: Row) -> str:
        folder = self._folder()
        (again,) = self._simulate([row], waves=True, folder=folder)
        passed = "\n(it passed when it was run again, alone and with waves)" if again == "" else ""
        return f"waves: {folder / 'dump.vcd'}\nlog: {folder / 'log.txt'}{passed}"

    def _folder(self) -> Path:
        (CACHE / "runs").mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=CACHE / "runs"))

    def _simulate(
        self, rows: Sequence[Row], *, waves: bool, folder: Path | None = None
    ) -> list[str | None]:
        """Of each row an empty string where it passed, or what failed; None where it has no result.

        folder: where waves and log are to stay.
        """
        parts: dict[int, int] = {}
        components: list[wiring.Component] = []
        for row in rows:
            if id(row.component) not in parts:
                parts[id(row.component)] = len(components)
                components.append(row.component)
        cells = "".join(dict.fromkeys(row.cells for row in rows))
        given = [
            {
                "slot": slot(parts[id(row.component)]),
                "inputs": input_pins(row.component),
                "module": row.coroutine.module,
                "coroutine": row.coroutine.name,
                "parameters": dict(row.parameters),
                "seed": row.seed,
            }
            for row in rows
        ]
        run_folder = folder or self._folder()
        rows_file = run_folder / "rows.json"
        rows_file.write_text(json.dumps(given))
        try:
            built = build(to_verilog(Rack(components), TOP, reset=False) + cells, waves=waves)
        except Exception as error:
            if len(rows) == 1:
                return [f"{type(error).__name__}: {error}"]
            return [None] * len(rows)  # which of them it is shows where each is built alone
        limit = RUN_SECONDS + RUN_SECONDS_EACH * len(rows)
        environment = {"MGD_ROWS": str(rows_file)}
        results, tail = run_built(built, run_folder, ROWS_MODULE, environment, limit, waves=waves)
        found: dict[str, str] = {}
        if results is not None:
            found = {str(case.get("name")): _problem(case) for case in results.iter("testcase")}
        if folder is None:
            shutil.rmtree(run_folder)
        verdicts: list[str | None] = [found.get(f"row{number}") for number in range(len(rows))]
        return [tail if verdict is None and len(rows) == 1 else verdict for verdict in verdicts]


def _problem(case: ElementTree.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        mark = case.find(kind)
        if mark is not None:
            return (
                f"{kind}: {mark.get('error_msg') or mark.get('message') or ''}\n{mark.text or ''}"
            )
    return ""
