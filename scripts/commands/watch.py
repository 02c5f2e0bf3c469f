"""`mgd watch`: follow a run from another terminal."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from mgd.host.runs.checkpoint import NAME as CHECKPOINT
from mgd.host.runs.live import LiveReader
from mgd.host.runs.stored import find_run, read_run
from mgd.scripts.common.run_view import RunView

POLL_SECONDS = 0.25


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def watch(run: Path) -> int:
    """Follow RUN, a run's folder or its name in runs/, until it ends.

    A run that has ended is shown at once.  Exit code 1 where the run ended with an error or was
    killed.  Ctrl-C ends the watching, not the run.
    """
    folder = find_run(run)
    console = Console()
    view = RunView()
    try:
        reader = LiveReader(folder)
    except OSError:
        return _ended(console, folder)
    with reader:
        # A log without a writer beside a complete run is left from an earlier run that was killed.
        if not reader.writer_lives() and (folder / "run.json").exists():
            return _ended(console, folder)
        try:
            lives = _follow(reader, view, console)
        except KeyboardInterrupt:
            console.print("the run continues")
            return 0
    if not lives and (folder / CHECKPOINT).exists():
        _print(console, f"`mgd resume {folder}` continues from its last checkpoint")
    return _close(console, view, lives)


def _ended(console: Console, folder: Path) -> int:
    view = RunView.of(read_run(folder))
    if console.is_terminal:
        console.print(view.panel())
    else:
        _print(console, view.title(), view.line())
    return _close(console, view, lives=True)


def _follow(reader: LiveReader, view: RunView, console: Console) -> bool:
    """Show a run until it ends; False where its process went without saying so."""
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    title = line = ""
    if live is not None:
        live.start()
    try:
        while True:
            lives = reader.writer_lives()  # asked first, so that its last lines are read
            events = reader.events()
            for event in events:
                view.hear(event)
            if not view.what:
                if not lives:
                    return False
            elif live is not None:
                live.update(view.panel(), refresh=True)
            else:
                if title != (title := view.title()):
                    _print(console, title)
                # Not at the end: nothing but the speed could differ then.
                if not view.ended and line != (line := view.line()):
                    _print(console, line)
            if view.ended or not lives:
                return lives or view.ended
            time.sleep(POLL_SECONDS)
    finally:
        if live is not None:
            live.stop()


def _close(console: Console, view: RunView, lives: bool) -> int:
    """The last line, and the exit code."""
    if not lives:
        at = f" at step {view.step:,}" if view.what else ""
        _print(console, f"the run's process is gone{at}: it was killed")
        return 1
    if view.error is not None:
        _print(console, f"the run ended with an error: {view.error}")
        return 1
    if view.folder is not None:
        _print(console, f"written    {view.folder}")
    return 0


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
