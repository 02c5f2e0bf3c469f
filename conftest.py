"""The order of all tests, and the long tail, of which a run may choose a third."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
SEED = "MGD_SLOW_SEED"
ORDER = (
    "tests/golden_model",
    "tests/protocol",
    "tests/host",
    "tests/docs",
    "tests/api",
    "cocotb_tests",
    "tests/scripts",
    "tests/boards",
    "tests/rtl",
)
"""Folders, the fast ones first; last the one with many tests of a few seconds, so that no worker
has long to wait for another at the end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow",
        choices=("all", "third"),
        default="all",
        help="of every test that is marked slow: all its rows, or a third of them, drawn by "
        f"${SEED}, which is the commit where it is not set",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("slow") == "third" and SEED not in os.environ:
        os.environ[SEED] = commit()  # xdist's workers have it from here


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.getoption("slow") == "third":
        return f"slow tests: a third of their rows, drawn by {SEED}={os.environ[SEED]}"
    return None


def commit() -> str:
    """The short name of the commit that is checked out; 0 outside a checkout."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "0"
    return done.stdout.strip()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=folder_number)
    if config.getoption("slow") == "third":
        chosen = third(items, os.environ[SEED])
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = [item for item in items if item in chosen]


def folder_number(item: pytest.Item) -> int:
    folder = item.path.relative_to(ROOT).as_posix()
    return next((k for k, name in enumerate(ORDER) if folder.startswith(name)), len(ORDER))


def third(items: list[pytest.Item], seed: str) -> set[pytest.Item]:
    """All that are not slow, and of each slow function a third of the rows, one at least."""
    chosen = {item for item in items if item.get_closest_marker("slow") is None}
    rows: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item not in chosen:
            rows[item.nodeid.partition("[")[0]].append(item)
    for found in rows.values():
        found.sort(key=lambda item: hashlib.sha256(f"{seed} {item.nodeid}".encode()).digest())
        chosen.update(found[: -(-len(found) // 3)])
    return chosen
