"""Dependencies run one way: the contracts of pyproject.toml, and that they can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The package with its links followed, as import-linter must see it, to be broken."""
    folder = tmp_path_factory.mktemp("layers")
    ignored = shutil.ignore_patterns("__pycache__", "*.json", "*.csv")
    shutil.copytree(ROOT / "mgd", folder / "mgd", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_dependencies_run_one_way():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("place", "imported", "broken"),
    [
        ("host/link/ports.py", "mgd.rtl.interface", "The host needs no gateware BROKEN"),
        ("golden_model/errors.py", "mgd.protocol.registers", "run one way BROKEN"),
        ("protocol/record.py", "mgd.rtl.lib.delay", "run one way BROKEN"),
        ("rtl/interface.py", "mgd.boards.board", "run one way BROKEN"),
    ],
)
def test_another_way_is_seen(copy: Path, place: str, imported: str, broken: str):
    module = copy / "mgd" / place
    before = module.read_text(encoding="utf-8")
    try:
        # Also where it stands in a function.
        module.write_text(f"{before}\n\ndef late():\n    import {imported}\n", encoding="utf-8")
        done = lint(copy)
    finally:
        module.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert broken in done.stdout
    assert imported in done.stdout
