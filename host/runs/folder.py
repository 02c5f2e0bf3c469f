"""The folder a run leaves behind: run.json, curve.csv, curve.png and weights.npz.

It is written beside its place and renamed at the end, so it is whole or not there.  A run that
keeps checkpoints has its folder from the beginning, with nothing but the last checkpoint in it; the
files are then put in, run.json last.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import shutil
import tempfile
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.host.report.curve_plot import draw_curve
from mgd.host.runs.atomic import write_result
from mgd.host.runs.checkpoint import NAME as CHECKPOINT
from mgd.host.runs.checkpoint import Checkpoint, save
from mgd.host.runs.training import RunResult

RUNS = Path("runs")


def default_folder(task: str, method: str, backend: str, seed: int, root: Path = RUNS) -> Path:
    """runs/<task>-<method>-<backend>-seed<seed>-<n>, n the first that is free."""
    port = re.sub(r"[^A-Za-z0-9_.]+", "_", backend).strip("_")
    stem = f"{task}-{method}-{port}-seed{seed}"
    number = 1
    while (root / f"{stem}-{number}").exists():
        number += 1
    return root / f"{stem}-{number}"


def check_folder(out: Path) -> None:
    """Raise UserError where write_run(out) would fail later: call it before the training."""
    if out.is_dir():
        try:
            if any(out.iterdir()):
                raise UserError(
                    f"--out {out}: the folder is not empty, and runs are never overwritten; "
                    "choose another name or remove it"
                )
        except OSError as error:
            raise _cannot(out, error) from None
    elif out.exists() or out.is_symlink():
        raise UserError(f"--out {out}: is a file; choose the name of a new folder")
    ancestor = out.absolute().parent
    while not ancestor.exists() and ancestor != ancestor.parent:
        ancestor = ancestor.parent
    if not ancestor.is_dir():
        raise UserError(f"--out {out}: {ancestor} is no folder; choose another place")
    if not os.access(ancestor, os.W_OK | os.X_OK):
        raise UserError(
            f"--out {out}: no permission to write in {ancestor}; choose a folder of yours"
        )


def make_folder(out: Path) -> Path:
    """Make the folder of a run that will keep checkpoints.  Raises UserError as check_folder."""
    check_folder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot(out, error) from None
    return out


def write_run(
    out: Path, result: RunResult, checkpoint: Checkpoint | None = None, *, own: bool = False
) -> Path:
    """Write the run to `out` and return it.  Raises UserError, and leaves nothing, if it fails.

    checkpoint: the state of an interrupted run; it becomes a file of the folder.
    own: the folder is this run's already, and its earlier files are replaced.
    """
    if not own:
        check_folder(out)
    temporary = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        _write_json(temporary / "run.json", summary(result))
        _write_csv(temporary / "curve.csv", result)
        draw_curve(result, temporary / "curve.png")
        np.savez(temporary / "weights.npz", allow_pickle=False, **weight_arrays(result))
        if checkpoint is not None:
            save(temporary / CHECKPOINT, checkpoint)
        if own:
            for path in sorted(temporary.iterdir(), key=lambda path: path.name == "run.json"):
                path.replace(out / path.name)
            if checkpoint is None:
                (out / CHECKPOINT).unlink(missing_ok=True)
        else:
            temporary.chmod(0o777 & ~_umask())
            temporary.rename(out)
    except OSError as error:
        raise _cannot(out, error) from None
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)
    return out


def summary(result: RunResult) -> dict[str, Any]:
    """The contents of run.json; the field names are fixed, since other programs read them."""
    counters = result.counters
    return {
        "task": result.task,
        "backend": result.backend,
        "method": result.method,
        "lanes": result.lanes,
        "seed": result.seed,
        "steps": result.steps,
        "accuracy": result.accuracy,
        "cost": result.cost,
        "score": result.score,
        "rmse": None if result.fit is None else list(result.fit.rmse),
        "watched": result.watched,
        "kept_step": result.kept_step,
        "samples": {name: dict(counts) for name, counts in result.samples.items()},
        "target": result.target,
        "target_reached_at_step": result.target_reached_at_step,
        "interrupted": result.interrupted,
        "clocks": counters.clocks,
        "train_clocks": counters.train_clocks,
        "clocks_per_step": result.clocks_per_step,
        "wait_clocks": counters.wait_clocks,
        "wait_share": result.wait_share,
        "bound_by": result.bound_by,
        "saturations": {
            "weights": counters.weight_saturations,
            "activations": counters.activation_saturations,
        },
        "link_errors": counters.link_errors,
        "link_repeats": counters.link_repeats,
        "board_losses": result.board_losses,
        "wall_seconds": round(result.wall_seconds, 3),
        "config_digest": result.config_digest,
        "version": package_version(),
        "core": {"kind": result.core.kind, "fixed": list(result.core.fixed)},
        "network": asdict(result.network),
        "settings": asdict(result.settings),
        "class_names": list(result.class_names),
        "notes": list(result.notes),
        "preparation": None if result.preparation is None else result.preparation.to_json(),
        "machine": machine(),
    }


def weight_arrays(result: RunResult) -> dict[str, np.ndarray]:
    """The contents of weights.npz.

    weights_<k> and values_<k>: layer k = 1, 2, … as integers and as numbers (integer /
    2^weight_frac), (nodes, fan_in + 1), the bias last.  layers, weight_bits, weight_frac: the
    format.  input_low, input_high, of tables: for each input the values of the lowest and the
    highest input code; input_names.  target_middle, target_unit, of a regression: the target is
    middle + unit·output.
    """
    network = result.network
    arrays = {
        "layers": np.array(network.layers),
        "weight_bits": np.array(network.weight_bits),
        "weight_frac": np.array(network.weight_frac),
        "class_names": np.array(result.class_names),
    }
    for number, weights in enumerate(result.weights, start=1):
        arrays[f"weights_{number}"] = np.asarray(weights, dtype=np.int32)
        arrays[f"values_{number}"] = np.asarray(weights) / float(1 << network.weight_frac)
    if result.scaling is not None:
        arrays["input_low"] = result.scaling.low
        arrays["input_high"] = result.scaling.high
    if result.preparation is not None:
        arrays["input_names"] = np.array(result.preparation.inputs)
        if result.preparation.targets is not None:
            arrays["target_middle"] = result.preparation.targets.middle
            arrays["target_unit"] = result.preparation.targets.unit
    return arrays


def package_version() -> str:
    """The installed version, or 'unknown' where the folders are used without installing."""
    try:
        return version("mgd-fpga")
    except PackageNotFoundError:
        return "unknown"


def machine() -> dict[str, Any]:
    """The machine, as far as wall time depends on it; no names of hosts or people."""
    cpu = platform.processor() or "unknown"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((s.split(":", 1)[1].strip() for s in lines if s.startswith("model name")), cpu)
    except OSError:
        pass
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def check_json(path: Path) -> None:
    """Raise UserError where write_json(path) would fail later: call it before the work."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(f"{path}: {folder} is no folder; make it or choose another place")
    if path.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{path}: cannot be written there; choose another file or folder")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file, completely or not at all.  Raises UserError where it cannot be written."""
    write_result(path, _json(values))


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_bytes(_json(values))


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def _write_csv(path: Path, result: RunResult) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        watched = [f"{result.watched}_{name}" for name in (result.score, "cost")]
        writer.writerow(["step", "train_cost", *watched, "clocks"])
        for p in result.curve:
            cost = "" if p.train_cost is None else f"{p.train_cost:.6g}"
            writer.writerow(
                [p.step, cost, f"{p.test_accuracy:.6g}", f"{p.test_cost:.6g}", p.clocks]
            )


def _umask() -> int:
    # There is no other way to read it than to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _cannot(out: Path, error: OSError) -> UserError:
    return UserError(
        f"--out {out}: cannot write the run: {error.strerror or error}; free space there or choose "
        "another folder"
    )
