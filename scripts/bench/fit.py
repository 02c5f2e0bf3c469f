"""`mgd bench fit`: the estimate of logic cells, calibrated on cores that it synthesises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from mgd.api.backends import sample_words
from mgd.boards.estimate import logic_cells as estimate
from mgd.boards.estimate.area import measure
from mgd.boards.estimate.folded import FoldedResources
from mgd.boards.estimate.logic_cells import FEATURES, apply, features
from mgd.boards.families.registry import COUNTED, netlist_cells
from mgd.boards.flow import commands as flow
from mgd.boards.registry import find_board
from mgd.golden_model.network import Network
from mgd.host.runs.folder import check_json, write_json
from mgd.host.task.task import Task
from mgd.protocol.fixed_settings import Fixed, fixed_settings
from mgd.rtl.folded.config import CoreConfig
from mgd.scripts.bench.group import json_option, record


@dataclass(frozen=True)
class Case:
    """A task's network, changed, on a number of lanes.

    shared_dsps: as in rtl.folded.config.CoreConfig; None: as many as the lanes leave.
    """

    task: str
    lanes: int
    changes: dict[str, Any] = field(default_factory=dict)
    held_out: bool = False
    shared_dsps: int | None = None
    fixed: tuple[str, ...] = ()
    """Settings that are constants."""

    def network(self) -> Network:
        return replace(Task.load(self.task).spec.network, **self.changes)

    def fixed_values(self) -> Fixed:
        """The fixed settings with the task's values."""
        return fixed_settings(Task.load(self.task).spec.settings, self.fixed)


FIXED = ("method", "difference")
ACCUMULATORS = {"accumulators": True, "tau_theta_max": 100}
CASES = (
    Case("xor", 2),
    Case("parity4", 4, ACCUMULATORS),
    Case("parity4", 8, shared_dsps=0),
    Case("moons", 8, shared_dsps=0),
    Case("nist7x7", 4),
    Case("nist7x7", 2, ACCUMULATORS),
    Case("digits", 1),
    Case("digits", 2),
    Case("digits", 4, {"layers": (64, 16, 10), "cost": "mse", **ACCUMULATORS}),
    Case("digits", 8),
    Case("digits", 8, fixed=FIXED),
    Case("nist7x7", 4, fixed=FIXED),
    Case("parity4", 2, {"layers": (4, 8, 6, 1)}, held_out=True),
    Case("moons", 4, held_out=True),
    Case("nist7x7", 3, {"layers": (49, 12, 8, 4), **ACCUMULATORS}, held_out=True),
    Case("digits", 6, held_out=True),
    Case("digits", 7, fixed=FIXED, held_out=True),
)


def placed(case: Case, family: str) -> FoldedResources:
    """The core of a case on the reference board of an FPGA family."""
    board = find_board(netlist_cells(family).reference_board)
    core = FoldedResources.fitted(
        board, CoreConfig(case.network(), case.lanes, fixed=case.fixed_values())
    )
    if case.shared_dsps is None:
        return core
    return FoldedResources(board, replace(core.config, shared_dsps=case.shared_dsps))


def synthesised(case: Case, family: str) -> dict[str, Any]:
    """A row of the record: a case's cells as counted, and the features of its estimate."""
    core = placed(case, family)
    board = core.board
    design = core.unchecked_design(sample_words(Task.load(case.task)), None)
    clock_plan = board.fpga_family.pll.search(board.clock_hz, board.device.start_hz)
    files = dict(flow.elaborate(design, clock_plan).files)
    area = measure(files[flow.DESIGN], family)
    return {
        "family": family,
        "task": case.task,
        "lanes": case.lanes,
        "changes": case.changes,
        "held_out": case.held_out,
        "shared_dsps": core.config.shared_dsps,
        "fixed": list(case.fixed),
        "sample_memory": design.sample_memory,
        "features": features(board.device, core.config, design.sample_memory),
        "logic_cells": area.logic_cells,
        "rams": area.rams,
        "rams_estimate": core.blocks(design.sample_memory),
        "dsps": area.dsps,
        "dsps_estimate": core.dsps(),
    }


def fitted(rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Coefficients, none negative, with the least sum of squared relative errors.

    rows: of one family; held-out ones are not used.
    """
    from sklearn.linear_model import LinearRegression

    used = [row for row in rows if not row["held_out"]]
    sizes = np.array([[row["features"][name] for name in FEATURES] for row in used])
    counted = np.array([row["logic_cells"] for row in used], dtype=float)
    model = LinearRegression(positive=True, fit_intercept=False)
    model.fit(sizes, counted, sample_weight=counted**-2)
    # Rounded before they are used, so that the file holds exactly the values in use.
    return {name: round(float(c), 4) for name, c in zip(FEATURES, model.coef_, strict=True)}


def measured(families: Iterable[str], seen: Callable[[str], None]) -> list[dict[str, Any]]:
    """Rows of all cases; `seen` is called with each as soon as it is there, in order."""
    wanted = [(case, family) for family in families for case in CASES]
    rows = []
    # Each thread runs its own Yosys.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row in pool.map(lambda pair: synthesised(*pair), wanted):
            rows.append(row)
            seen(f"{row['family']:<6} {title(row):<44} {row['logic_cells']:>6,} cells")
    return rows


def title(row: dict[str, Any]) -> str:
    """A case as text: digits, 4 lanes, 64-16-10."""
    parts = [row["task"], f"{row['lanes']} lanes"]
    changes = row["changes"]
    if "layers" in changes:
        parts.append("-".join(map(str, changes["layers"])))
    if "cost" in changes:
        parts.append(changes["cost"])
    if changes.get("accumulators"):
        parts.append("accumulators")
    if row.get("fixed"):
        parts.append(f"fixed {' '.join(row['fixed'])}")
    return ", ".join(parts)


@click.command()
@json_option
def fit(json_file: Path | None) -> None:
    """Synthesise cores, fit the estimate of `mgd fit` to some, and compare it with all.

    Ten minutes where nothing is cached.  Nothing is placed or routed.  With --json the
    coefficients go into boards/estimate/logic_cells.json, too.
    """
    if json_file is not None:
        check_json(json_file)
    rows = measured(COUNTED, click.echo)
    models = {family: fitted(row for row in rows if row["family"] == family) for family in COUNTED}
    for row in rows:
        row["estimate"] = round(apply(models[row["family"]], row["features"]))
        row["error"] = round(row["estimate"] / row["logic_cells"] - 1, 4)
    for family, model in models.items():
        click.echo(f"\n{family}: " + ", ".join(f"{name} {c:g}" for name, c in model.items()))
        for held_out, name in ((False, "calibrated on"), (True, "held out")):
            click.echo(f"{name:<45} estimate  actual   error   RAM  DSP")
            for row in rows:
                if (row["family"], row["held_out"]) == (family, held_out):
                    click.echo(line(row))
    record(json_file, "fit", rows)
    if json_file is not None:
        write_json(estimate.COEFFICIENTS, models)
        click.echo(f"written: {estimate.COEFFICIENTS}")


def line(row: dict[str, Any]) -> str:
    """Estimate, actual count and error of one case, for people."""
    blocks = [
        str(row[kind])
        if row[kind] == row[f"{kind}_estimate"]
        else f"{row[f'{kind}_estimate']}≠{row[kind]}"
        for kind in ("rams", "dsps")
    ]
    return (
        f"{title(row):<44} {row['estimate']:>9,} {row['logic_cells']:>7,} {row['error']:>+7.1%}"
        f" {blocks[0]:>5} {blocks[1]:>4}"
    )
