"""Checkpoints: a run on disk, which any backend can continue."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.host.runs.atomic import write_file
from mgd.host.runs.progress import Best, CurvePoint, Progress
from mgd.host.session.state import State
from mgd.host.task.names import find_task, read_task
from mgd.host.task.task import Task

NAME = "checkpoint"
"""Of the file in a run folder."""
VERSION = 1
_MAGIC = b"mgd-checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """The data to continue a run: its task and its progress."""

    task_text: str
    """The task file."""
    task_origin: str
    task_folder: str
    """Where relative data paths start."""
    overrides: dict[str, Any]
    config_digest: str
    """Task.config_digest() when the run began."""
    backend: str
    every: int | None
    """Steps between checkpoints; None where only Ctrl-C makes one."""
    progress: Progress | None
    """None before anything was done; such a checkpoint is not saved."""

    @classmethod
    def of(
        cls, task: Task, backend: str, every: int | None, progress: Progress | None
    ) -> Checkpoint:
        """The checkpoint of a run in progress.  Raises UserError where the task file is gone."""
        path = find_task(task.origin)
        return cls(
            task_text=read_task(path),
            task_origin=task.origin,
            task_folder=str(task.folder.resolve()),
            overrides=task.overrides.model_dump(exclude_none=True),
            config_digest=task.config_digest(),
            backend=backend,
            every=every,
            progress=progress,
        )

    def at(self, progress: Progress) -> Checkpoint:
        """The same run further on."""
        return replace(self, progress=progress)

    def task(self) -> Task:
        """The run's task.  Raises UserError where it would not be the same run: other data."""
        folder = Path(self.task_folder)
        task = Task.parse(self.task_text, self.task_origin, folder).with_overrides(**self.overrides)
        if task.config_digest() != self.config_digest:
            raise UserError(
                f"{self.task_origin}: the data or the program's defaults are no longer those that "
                f"the run began with (digest {task.config_digest()[:12]}, not "
                f"{self.config_digest[:12]}); bring back the data in {folder}, or start a new run"
            )
        return task


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file, completely or not at all.  Raises UserError."""
    progress = checkpoint.progress
    assert progress is not None
    state = progress.state
    fields: dict[str, Any] = {
        "checkpoint": {**vars(checkpoint)},
        "progress": {**vars(progress)},
        "weights_layers": len(state.weights),
        "accumulators_layers": len(state.accumulators),
    }
    del fields["checkpoint"]["progress"]
    best = fields["progress"].pop("best")
    if best is not None:
        fields["best"] = {"step": best.step, "accuracy": best.accuracy, "cost": best.cost}
    fields["progress"]["curve"] = [asdict(point) for point in progress.curve]
    fields["progress"]["state"] = {
        name: value for name, value in vars(state).items() if not isinstance(value, list)
    }
    arrays = {
        f"{name}_{number}": np.asarray(array, dtype=np.int64)
        for name in ("weights", "accumulators")
        for number, array in enumerate(getattr(state, name), start=1)
    }
    for number, array in enumerate(best.weights if best else (), start=1):
        arrays[f"best_{number}"] = np.asarray(array, dtype=np.int64)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, fields=np.array(json.dumps(fields)), **arrays)
    body = buffer.getvalue()
    digest = hashlib.sha256(body).hexdigest()
    try:
        write_file(path, b"%s %d %s\n" % (_MAGIC, VERSION, digest.encode()) + body)
    except OSError as error:
        raise UserError(
            f"{path}: the checkpoint of step {state.step} cannot be written: "
            f"{error.strerror or error}; free space there, and continue with `mgd resume "
            f"{path.parent}` from the one before"
        ) from None


def load(path: Path) -> Checkpoint:
    """Read a file of save().  Raises UserError where it is damaged or of another version."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror}; name the folder of a run that was "
            "interrupted, or that was started with --checkpoint-every"
        ) from None
    head, _, body = content.partition(b"\n")
    words = head.split(b" ")
    if words[0] != _MAGIC or len(words) != 3:
        raise UserError(f"{path}: is no checkpoint; name the folder that `mgd train` made")
    if words[1] != str(VERSION).encode():
        raise UserError(
            f"{path}: is a checkpoint of version {words[1].decode(errors='replace')}, this program "
            f"reads version {VERSION}: continue with the program that wrote it"
        )
    if hashlib.sha256(body).hexdigest().encode() != words[2]:
        raise UserError(
            f"{path}: the checkpoint is damaged, its checksum is wrong: bring it back from a copy, "
            "or start the run again"
        )
    with np.load(io.BytesIO(body), allow_pickle=False) as saved:
        fields = json.loads(str(saved["fields"]))
        weights, accumulators = (
            [saved[f"{name}_{k}"] for k in range(1, 1 + fields[f"{name}_layers"])]
            for name in ("weights", "accumulators")
        )
        best = None
        if "best" in fields:
            numbers = range(1, 1 + fields["weights_layers"])
            best = Best(**fields["best"], weights=[saved[f"best_{k}"] for k in numbers])
    progress = fields.pop("progress")
    curve = tuple(CurvePoint(**point) for point in progress.pop("curve"))
    state = State(weights=weights, accumulators=accumulators, **progress.pop("state"))
    whole = Progress(state=state, curve=curve, best=best, **progress)
    return Checkpoint(**fields["checkpoint"], progress=whole)
