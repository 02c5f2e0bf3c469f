"""No folder of the user's own hides a part of the package, in a checkout and from a wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FOLDERS = ("boards", "examples", "golden_model", "host", "mgd", "protocol", "rtl", "scripts")
SCRIPT = """
import sys
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import mgd
from mgd import Task

home = Path(sys.argv[1])
for name in sys.argv[2:]:
    module = import_module(name)
    assert home in Path(module.__file__).parents, (name, module.__file__)
for package, pattern, least in (
    ("examples", "*.toml", 8),
    ("benchmarks", "*.json", 5),
    ("examples", "*.csv", 1),
    ("boards.estimate", "*.json", 1),
    ("boards.netlist", "cells/*.v", 2),
    ("boards.simulated", "*.cpp", 2),
    ("boards.flash", "udev/*.rules", 1),
    ("host.report", "*.css", 1),
    ("scripts.bench", "*.cpp", 1),
):
    found = list(Path(str(files(f"mgd.{package}"))).glob(pattern))
    assert len(found) >= least, (package, pattern, found)
    assert all(path.stat().st_size for path in found), found

from mgd.boards.registry import boards
from mgd.scripts.common.recorded import RECORDED, recorded_builds

assert {"icebreaker", "ulx3s-25f"} <= set(boards())
assert recorded_builds(RECORDED)
print(Task.load("xor").spec.network.layers)
"""
MODULES = (
    *("mgd.boards.registry", "mgd.golden_model.trainer", "mgd.host.task.task"),
    *("mgd.protocol.registers", "mgd.rtl.interface", "mgd.scripts.cli"),
)


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A script with folders of our names beside it, plain and as packages."""
    folder = tmp_path / "mine"
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
        (folder / name / "notes.py").write_text("raise ImportError('mine')\n")
    for name in FOLDERS:
        if name != "mgd":  # a package called mgd would be another project of this name
            (folder / name / "__init__.py").write_text("raise ImportError('mine')\n")
    (folder / "examples" / "xor.toml").write_text("no task\n")
    (folder / "script.py").write_text(SCRIPT)
    return folder


def run(folder: Path, path: Path) -> None:
    """The user's script, in its folder, with the package found at `path`."""
    done = subprocess.run(
        [sys.executable, "script.py", str(path / "mgd"), *MODULES],
        cwd=folder,
        env={"PYTHONPATH": str(path), "PATH": "", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "(2, 2, 1)\n"), done.stderr


def test_from_an_editable_install(users_folder: Path):
    run(users_folder, ROOT / "src")  # the folder that `pip install -e` puts on Python's path


def test_from_a_wheel(users_folder: Path, tmp_path: Path):
    made, source = tmp_path / "wheel", tmp_path / "source"
    # Of a copy: in the checkout the build would leave its files, and find those of the one before.
    linked = [path.name for path in (ROOT / "mgd").iterdir() if path.is_symlink()]
    for name in ("mgd", "src", *linked):
        shutil.copytree(
            ROOT / name,
            source / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ("--no-deps", "--no-build-isolation", "--no-cache-dir", "--quiet")
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", str(source), *options, "--wheel-dir", str(made)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = made.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    names = {path.name for path in unpacked.iterdir() if path.suffix != ".dist-info"}
    assert names == {"mgd"}, "the only name that is installed"
    run(users_folder, unpacked)
