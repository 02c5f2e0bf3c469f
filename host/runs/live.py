"""The log of a run in progress: lines of JSON beside its future folder, which `mgd watch` follows.

The first line describes the run, the others its events: {"event": "started" | "from" |
"point" | "progress" | "ended", …}; "from" is the checkpoint from which it continues.  The writer
holds a lock on the file, so a reader sees whether it still runs, however it ended.  The log is
removed when the run ends; a reader that has it open still gets its last lines.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from mgd.host.runs.progress import CurvePoint, Progress
from mgd.host.runs.training import Reporter
from mgd.host.session.base import BoardLostError, Session
from mgd.host.task.task import Task

PROGRESS_SECONDS = 1.0
"""Progress between evaluations is noted no more often than this."""


def live_path(run: Path) -> Path:
    """The log of the run that will be in the folder `run`."""
    whole = Path(os.path.abspath(run))  # "." has no name
    return whole.parent / f".{whole.name}.live"


class LiveLog(Reporter):
    """Logs its events as a Reporter; use as a context manager around the whole run.

    run: the run's future folder.  what: JSON values that describe the run.
    It is only for watching: if it cannot be written, the run continues without it.
    """

    def __init__(self, run: Path, what: dict[str, Any]) -> None:
        self._path = live_path(run)
        self._what = what
        self._file: TextIO | None = None
        self._made: list[Path] = []
        self._begin = time.monotonic()
        self._next = 0.0
        self.folder: Path | None = None
        """Set it to where the run was written."""

    def __enter__(self) -> LiveLog:
        try:
            parent = self._path.parent
            self._made = [p for p in (parent, *parent.parents) if not p.exists()]
            parent.mkdir(parents=True, exist_ok=True)
            # The log of a killed run is overwritten, that of a running one is not.
            self._file = self._path.open("a+", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.truncate(0)
        except OSError:
            self._give_up()
        self._write(self._what)
        return self

    def __exit__(
        self, _kind: type | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        text = None if error is None else " ".join(str(error).split()) or type(error).__name__
        self._note("ended", error=text, folder=None if self.folder is None else str(self.folder))
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._give_up()
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:
                return  # the run is in it

    def started(self, task: Task, session: Session) -> None:
        self._begin = time.monotonic()
        self._note("started", lanes=session.lanes)

    def resumed(self, progress: Progress) -> None:
        self._goes_on(progress)

    def lost(self, error: BoardLostError, progress: Progress) -> None:
        self._goes_on(progress)

    def _goes_on(self, progress: Progress) -> None:
        self._begin = time.monotonic()
        curve = [asdict(point) for point in progress.curve]
        self._note("from", step=progress.state.step, curve=curve)

    def evaluated(self, point: CurvePoint) -> None:
        self._note("point", **asdict(point))

    def progress(self, step: int) -> None:
        if time.monotonic() >= self._next:
            self._note("progress", step=step)

    def stopping(self) -> None:
        # Inside a signal handler, which may have interrupted a write to this very file.
        pass

    def _note(self, event: str, **values: Any) -> None:
        now = time.monotonic()
        self._next = now + PROGRESS_SECONDS
        self._write({"event": event, "seconds": round(now - self._begin, 3), **values})

    def _write(self, values: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(values, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass
            self._file = None


class LiveReader:
    """Reads the log of a run; a context manager.  Raises OSError where there is none."""

    def __init__(self, run: Path) -> None:
        self._file = live_path(run).open("rb")
        self._rest = b""

    def events(self) -> list[dict[str, Any]]:
        """The lines since the last call, whole lines only."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        events = []
        for line in lines:
            try:
                events.append(json.loads(line))
            except ValueError:
                pass  # cut off by a disk that was full for a while
        return events

    def writer_lives(self) -> bool:
        """Whether the run's process still has the log open."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return False

    def __enter__(self) -> LiveReader:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()


class Tee(Reporter):
    """Passes every event on to several reporters."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters


def _forward(name: str) -> Callable[..., None]:
    def forward(self: Tee, *arguments: Any, **named: Any) -> None:
        for reporter in self._reporters:
            getattr(reporter, name)(*arguments, **named)

    return forward


# Whatever Reporter has, so that none is forgotten when it gets another method.
for _name in [name for name in vars(Reporter) if not name.startswith("_")]:
    setattr(Tee, _name, _forward(_name))
