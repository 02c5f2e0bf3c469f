"""Builds Verilog with Verilator, once, and runs cocotb coroutines on it; batch.py is for tests.

Coroutines must not be named test_*, else pytest tries to collect them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cocotb_tools.config
from cocotb_tools.runner import get_runner

from mgd.boards.tools import verilator_environment

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "cocotb"
TOP = "top"
OPTIMISE = "-O0"
RUNTIME_OPTIMISE = "-O1"
"""For Verilator's runtime, which is compiled once for all designs."""
CLOCK_NS = 10
"""Clock period of every simulation."""


_row: tuple[dict[str, Any], int] = ({}, 1)


def use_row(parameters: dict[str, Any], seed: int) -> None:
    """Set what params() and rng() give, in the simulation."""
    global _row
    _row = parameters, seed


def params() -> dict[str, Any]:
    """The parameters of the row that runs, inside a coroutine."""
    return _row[0]


def rng() -> random.Random:
    """A generator started with the seed of the row that runs, inside a coroutine."""
    return random.Random(_row[1])


def build(text: str, *, waves: bool, optimise: str = OPTIMISE) -> Path:
    """Folder that holds the simulation of Verilog `text`, built if it is not there yet.

    `optimise` is the C++ flag; -O0 is the fastest in all up to about a million clocks.

    Safe where several processes ask for the same one: they wait for the first.
    """
    common = [sys.executable, *(metadata.version(p) for p in ("cocotb", "verilator"))]
    key = json.dumps([text, waves, optimise, *common])
    final = CACHE / hashlib.sha256(key.encode()).hexdigest()[:20]
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(final.with_suffix(".lock")):
        if final.exists():
            return final
        folder = Path(tempfile.mkdtemp(prefix="building-", dir=CACHE))
        source = folder / f"{TOP}.v"
        source.write_text(text)
        log = folder / "build.log"
        environment = verilator_environment(optimise)
        # All files of the design in one compiler call, as in boards/simulated/verilator.py.
        environment["MAKEFLAGS"] += (
            f" OPT_SLOW={optimise} OPT_GLOBAL={RUNTIME_OPTIMISE} VM_PARALLEL_BUILDS=0"
        )
        # Verilator's runtime is the same for every design and takes most of a build's time.
        runtime = CACHE / hashlib.sha256(json.dumps([waves, *common]).encode()).hexdigest()[:20]
        if runtime.exists():
            for path in runtime.iterdir():
                shutil.copy(path, folder)
                # make leaves them only if they are newer than the make file to be written.
                os.utime(folder / path.name, (time.time() + 3600,) * 2)
        share, libraries = cocotb_tools.config.share_dir, cocotb_tools.config.libs_dir
        command = [
            *("verilator", "--cc", "--exe", "--build", "--vpi", "-Wno-fatal", "-Wno-lint"),
            # cocotb's own runner makes every signal public, also those that no test can name: then
            # nothing is optimised away, and the compiler has three times as much to do.
            *("--public-depth", "1", *(["--trace"] if waves else [])),
            *("--top-module", TOP, "--prefix", "Vtop", "-o", TOP, "--Mdir", str(folder)),
            *("--timescale", "1ns/1ps"),
            *("-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"),
            *(str(share / "lib" / "verilator" / "verilator.cpp"), str(source)),
        ]
        with log.open("w") as output:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if done.returncode:
            raise AssertionError(f"the build failed\n{_tail(log)}")
        if not runtime.exists():
            _keep(folder.glob("verilated*.o"), runtime)
        # Objects and precompiled headers are a hundred times larger than what is needed.
        for path in folder.iterdir():
            if path.name not in (TOP, source.name, log.name):
                path.unlink()
        folder.rename(final)
    return final


def _keep(paths: Iterable[Path], final: Path) -> None:
    """Copy files to the new folder `final`, which others see whole or not at all."""
    folder = Path(tempfile.mkdtemp(prefix="keeping-", dir=CACHE))
    for path in paths:
        shutil.copy(path, folder)
    try:
        folder.rename(final)
    except OSError:  # another process was first
        shutil.rmtree(folder)


def run_built(
    build_dir: Path,
    run_dir: Path,
    module: str,
    variables: Mapping[str, str],
    limit_s: int,
    waves: bool,
) -> tuple[ElementTree.Element | None, str]:
    """Run all of cocotb's tests of a module: their results, if there are any, and the log's end.

    `variables` are added to the environment.  `limit_s` is the wall clock limit.
    """
    results, log = run_dir / "results.xml", run_dir / "log.txt"
    added = dict(os.environ)
    if shutil.which("timeout"):
        added["SIM_CMD_PREFIX"] = f"timeout -k 5 {limit_s}"
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # becomes the simulation's PYTHONPATH
    try:
        with _environment(added):
            get_runner("verilator").test(
                test_module=module,
                hdl_toplevel=TOP,
                hdl_toplevel_lang="verilog",
                build_dir=build_dir,
                test_dir=run_dir,
                extra_env=variables,
                results_xml=str(results),
                log_file=log,
                waves=waves,
            )
    except SystemExit:
        pass  # judged by the results
    found = ElementTree.parse(results).getroot() if results.exists() else None
    return found, _tail(log)


def _tail(path: Path, lines: int = 60) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """cocotb's runner takes PATH and the rest from os.environ only."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
