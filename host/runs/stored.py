"""Finding and reading the folder of a run that has ended."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.run_spec import CoreSpec, RunSpec
from mgd.golden_model.settings import Settings
from mgd.host.data.preparation import Preparation
from mgd.host.runs.folder import RUNS
from mgd.host.runs.live import live_path
from mgd.host.runs.progress import CurvePoint

KEYS = (
    "task", "backend", "method", "lanes", "seed", "steps", "accuracy", "target",
    "target_reached_at_step", "interrupted", "clocks", "train_clocks", "clocks_per_step",
    "saturations", "link_errors", "link_repeats", "board_losses", "wall_seconds",
    "config_digest", "version", "network", "settings", "class_names", "notes", "machine",
)  # fmt: skip
"""The keys of run.json that readers of a run need."""
SHOWN = 4
"""So many runs are named where one was not found."""


@dataclass(frozen=True)
class StoredRun:
    """A folder that host.runs.folder.write_run wrote."""

    folder: Path
    values: dict[str, Any]
    """run.json."""
    curve: list[CurvePoint]
    weights: list[np.ndarray]
    """Integers, per layer (nodes, fan_in + 1), the bias last."""

    @property
    def spec(self) -> RunSpec:
        """The network, the settings and the core of the run.  Raises UserError where this version
        has no such core."""
        network, settings = dict(self.values["network"]), dict(self.values["settings"])
        network["layers"] = tuple(network["layers"])
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        core = self.values.get("core", {"kind": "folded", "fixed": []})
        lanes = self.values["lanes"] or CoreSpec().lanes
        try:
            return RunSpec(
                Network(**network),
                Settings(**settings),
                CoreSpec(core["kind"], lanes, tuple(core["fixed"])),
                seed=self.values["seed"],
            )
        except TypeError as error:
            raise UserError(
                f"{self.folder}: was written by another version of this program ({error}); train "
                "again"
            ) from None

    @property
    def preparation(self) -> Preparation | None:
        """From the columns of a table to codes; None of a run whose data were no table."""
        values = self.values.get("preparation")
        return None if values is None else Preparation.of(values)


def find_run(name: str | Path) -> Path:
    """The folder of a run that has ended or is in progress: the given path, or that in runs/.

    Raises UserError, naming the latest runs, where there is none.
    """
    for folder in (Path(name), RUNS / name):
        if (folder / "run.json").exists() or live_path(folder).exists():
            return folder
    if Path(name).exists():
        raise UserError(
            f"{name}: is no run: it holds no run.json; give a folder that `mgd train` wrote"
        )
    try:
        runs = sorted(RUNS.glob("*/run.json"), key=lambda p: p.stat().st_mtime, reverse=True)
    except OSError:
        runs = []
    names = ", ".join(str(path.parent) for path in runs[:SHOWN])
    there = f"the latest are {names}" if names else f"there is none in {RUNS.absolute()}"
    raise UserError(f"{name}: no such run; `mgd train` writes runs, and {there}")


def read_run(folder: Path) -> StoredRun:
    """All of a run.  Raises UserError where a file is missing or damaged."""
    try:
        values = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        with (folder / "curve.csv").open(newline="", encoding="utf-8") as file:
            curve = [_point(row) for row in csv.DictReader(file)]
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            count = len(values["network"]["layers"]) - 1
            weights = [arrays[f"weights_{k}"].astype(np.int64) for k in range(1, count + 1)]
        if absent := [key for key in KEYS if key not in values]:
            raise ValueError(f"run.json has no {', '.join(absent)}")
        if not curve:
            raise ValueError("curve.csv holds no points")
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise UserError(
            f"{folder}: is no whole run: {missing} is missing; give a folder that `mgd train` wrote"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # NumPy raises what zlib, zipfile and struct raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{folder}: a file of the run is damaged ({type(error).__name__}: {reason}); "
            "train again"
        ) from None
    return StoredRun(folder, values, curve, weights)


def _point(row: dict[str, str]) -> CurvePoint:
    # Columns are named by the samples that were watched, and by accuracy or R².
    score = next(key for key in row if key.endswith(("_accuracy", "_r2")))
    cost = next(key for key in row if key.endswith("_cost") and key != "train_cost")
    return CurvePoint(
        step=int(row["step"]),
        train_cost=float(row["train_cost"]) if row["train_cost"] else None,
        test_accuracy=float(row[score]),
        test_cost=float(row[cost]),
        clocks=int(row["clocks"]),
    )
