"""The sources that decide a recorded result, as a digest.

Comments, docstrings and layout do not count: a Python file contributes its syntax tree without
docstrings, a TOML file its values.
"""

from __future__ import annotations

import ast
import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mgd.boards.families.family import FpgaFamily
from mgd.boards.families.registry import FAMILIES
from mgd.scripts.common.checkout import ROOT

SUFFIXES = (".py", ".toml", ".cpp", ".v")
PROVENANCE = ("made_of", "earlier")
"""Keys of a recorded row about its sources, which are no result."""


@dataclass(frozen=True)
class Sources:
    """Files and folders of the repository.  without: those below them that do not count."""

    paths: tuple[str, ...]
    without: tuple[str, ...] = ()

    def __add__(self, other: Sources) -> Sources:
        return Sources(self.paths + other.paths, self.without + other.without)

    def files(self, root: Path = ROOT) -> Iterator[tuple[str, Path]]:
        """(name within the repository, file), sorted by name."""
        found = {}
        for path in (root / name for name in self.paths):
            files = [path] if path.is_file() else path.rglob("*")
            found.update({file.relative_to(root).as_posix(): file for file in files})
        for name, file in sorted(found.items()):
            skipped = any(name == part or name.startswith(f"{part}/") for part in self.without)
            if not skipped and (file.suffix in SUFFIXES or name in self.paths) and file.is_file():
                yield name, file

    def digest(self, root: Path = ROOT) -> str:
        """SHA-256, in hexadecimal."""
        parts = [f"{name} {_digest(file)}" for name, file in self.files(root)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sources(*paths: str, without: tuple[str, ...] = ()) -> Sources:
    return Sources(paths, without)


def _scripts(folder: str, *names: str) -> Sources:
    return Sources(tuple(f"scripts/{folder}/{name}" for name in names))


_NO_HARDWARE = ("rtl/imperfect", "rtl/lockstep.py")
CORES = {
    "folded": _sources(
        *("golden_model", "protocol", "rtl"), without=("rtl/spatial", *_NO_HARDWARE)
    ),
    # It shares units with the folded core.
    "spatial": _sources("golden_model", "protocol", "rtl", without=_NO_HARDWARE),
}
"""Kind of core: the sources of its gates and clocks."""

_TASKS = _sources("examples", "host/task", "host/data")
_SIMULATION = CORES["folded"] + _TASKS + _sources("boards/simulated", "host/link", "host/session")
_STUDY = _sources("golden_model", "scripts/study/runs.py") + _TASKS
_CLOCKS = CORES["folded"] + _sources("boards/estimate/clocks.py", "scripts/common/clocks.py")
_PEERS = _scripts("bench", "peer_programs.py", "peers_native.py", "peers_native.cpp")
_BUILDS = _sources("benchmarks/boards.json", "scripts/common/recorded.py")

RECORDS = {
    "core": CORES["folded"] + _sources("boards/simulated", "scripts/bench/core.py"),
    "sim": _SIMULATION + _scripts("bench", "sim.py"),
    "link": _SIMULATION + _scripts("bench", "link.py"),
    "peers": _sources("golden_model")
    + _TASKS
    + _PEERS
    + _BUILDS
    + _scripts("bench", "peers.py", "peers_torch.py", "peers_fpga.py"),
    "time-to-train": CORES["spatial"]
    + _TASKS
    + _PEERS
    + _BUILDS
    + _scripts("bench", "time_to_train.py")
    + _sources("boards/estimate/clocks.py", "scripts/common/clocks.py"),
    "area": CORES["folded"]
    + _TASKS
    + _sources("boards/families", "boards/estimate/area.py", "scripts/bench/area.py"),
    "fit": CORES["folded"]
    + _TASKS
    + _sources(
        *("boards/families", "boards/flow", "boards/estimate", "boards/devices.py"),
        "scripts/bench/fit.py",
        without=("boards/estimate/spatial.py", "boards/estimate/spatial_cells.py"),
    ),
    "tables": _sources("golden_model", "host/task", "host/data", "host/runs")
    + _scripts("bench", "tables.py"),
    "study angle": _STUDY + _scripts("study", "angle.py"),
    "study noise": _STUDY + _scripts("study", "noise.py"),
    "study steps": _STUDY + _CLOCKS + _scripts("study", "steps.py"),
    "study stream": _STUDY + _CLOCKS + _scripts("study", "stream.py"),
}
"""Name of a bench or study, as in its record: its sources.  `mgd bench boards` has its own in
every row."""


def build_sources(kind: str, family: FpgaFamily) -> Sources:
    """The sources of a build of a core of this kind for an FPGA family."""
    others = [
        module for other in FAMILIES.values() if other is not family for module in _own(other)
    ]
    return CORES[kind] + Sources(
        ("boards",),
        (
            *("boards/known", "boards/registry.py", "boards/flash", "boards/netlist"),
            *("boards/simulated", "boards/estimate/area.py", "boards/families/ice40_cells.py"),
            *others,
        ),
    )


def _own(family: FpgaFamily) -> list[str]:
    """The files that a family alone uses."""
    modules = [type(family).__module__, *(module.__name__ for module in family.helpers)]
    return [module.removeprefix("mgd.").replace(".", "/") + ".py" for module in modules]


def _digest(file: Path) -> str:
    return _digest_of(file, file.stat().st_mtime_ns)


@cache
def _digest_of(file: Path, _changed: int) -> str:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        text = repr(_plain(ast.parse(text)))
    elif file.suffix == ".toml":
        text = json.dumps(tomllib.loads(text), sort_keys=True)
    elif file.suffix == ".json":
        rows = json.loads(text)["rows"]
        results = [{k: v for k, v in row.items() if k not in PROVENANCE} for row in rows]
        text = json.dumps(results, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(node: Any) -> Any:
    """A syntax tree as nested lists, without positions and strings that are only documentation.

    Empty fields are left out: a newer Python has more of them.
    """
    if isinstance(node, list):
        return [_plain(item) for item in node if not _is_documentation(item)]
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return [type(node).__name__, *([name, _plain(value)] for name, value in fields)]


def _is_documentation(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
