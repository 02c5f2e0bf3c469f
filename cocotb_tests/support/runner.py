"""Builds a component with Verilator, once, and runs cocotb coroutines on it from pytest.

    def test_thing():
        simulate(Thing(width=8), __name__, "counts", {"width": 8})

    @cocotb.test(timeout_time=1, timeout_unit="ms")
    async def counts(dut):
        width = params()["width"]

Coroutines must not be named test_*, else pytest tries to collect them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cocotb_tools.runner import get_runner

from mgd.boards.tools import to_verilog, verilator_environment

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "cocotb"
TOP = "top"
RUNTIME_OPTIMISE = "-O1"
"""For Verilator's runtime, which is compiled once for all designs."""
CLOCK_NS = 10
"""Clock period of every simulation."""


def params() -> dict[str, Any]:
    """The parameters that the pytest function gave to simulate(), inside a coroutine."""
    return json.loads(os.environ.get("MGD_PARAMS", "{}"))


def rng() -> random.Random:
    """A generator started with the seed that simulate() was given, inside a coroutine."""
    return random.Random(int(os.environ["COCOTB_RANDOM_SEED"]))


def simulate(
    component,
    module: str,
    testcase: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    seed: int = 1,
    environment: Mapping[str, str] | None = None,
    limit_s: int = 300,
    optimise: str = "-O0",
    cells: str = "",
) -> None:
    """Run coroutine `testcase` of `module` (all of them for None) on an Amaranth component.

    `parameters` must survive JSON; the coroutine reads them with params().  `environment` is
    added to the simulation's environment.  `limit_s` is the wall clock limit, a net under the
    coroutine's own `timeout_time`.  `optimise` is the C++ flag; -O0 is the fastest in all up to
    about a million clocks.  `cells` is Verilog of the cells that the component instantiates.

    A build is kept under build/cocotb by the digest of its Verilog.  A failing simulation is run
    again with waves; then AssertionError names the seed, the wave file and the log.
    """
    given = json.dumps(dict(parameters or {}))
    print(f"{module}:{testcase or 'all'} seed={seed} parameters={given}")
    variables = {"MGD_PARAMS": given, **(environment or {})}
    text = to_verilog(component, TOP) + cells
    (CACHE / "runs").mkdir(parents=True, exist_ok=True)
    run_dir = Path(tempfile.mkdtemp(prefix=f"{testcase or 'all'}-", dir=CACHE / "runs"))
    build_dir = build(text, waves=False, optimise=optimise)
    failure = _run(build_dir, run_dir, module, testcase, seed, variables, limit_s, waves=False)
    if not failure:
        shutil.rmtree(run_dir)
        return
    traced = build(text, waves=True, optimise=optimise)
    again = _run(traced, run_dir, module, testcase, seed, variables, limit_s, waves=True)
    raise AssertionError(
        f"{module}:{testcase or 'all'} failed with seed {seed}, parameters {given}: {failure}\n"
        f"waves: {run_dir / 'dump.vcd'}\nlog: {run_dir / 'log.txt'}"
        + ("" if again else "\n(it passed when it was run again with waves)")
    )


def build(text: str, *, waves: bool, optimise: str) -> Path:
    """Folder that holds the simulation of Verilog `text`, built if it is not there yet.

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
        try:
            with _environment(environment):
                get_runner("verilator").build(
                    sources=[source],
                    hdl_toplevel=TOP,
                    build_dir=folder,
                    build_args=["-Wno-fatal"],
                    timescale=("1ns", "1ps"),
                    waves=waves,
                    log_file=log,
                )
        except RuntimeError as error:
            raise AssertionError(f"the build failed: {error}\n{_tail(log)}") from error
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


def _run(
    build_dir: Path,
    run_dir: Path,
    module: str,
    testcase: str | None,
    seed: int,
    variables: Mapping[str, str],
    limit_s: int,
    waves: bool,
) -> str:
    """Run once.  Returns what failed, or an empty string."""
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
                # cocotb's own `testcase` would match every name that ends in this one.
                test_filter=rf"\.{testcase}$" if testcase else None,
                seed=seed,
                extra_env=variables,
                results_xml=str(results),
                log_file=log,
                waves=waves,
            )
    except SystemExit:
        pass  # judged by the results below
    if not results.exists():
        return f"the simulation ended without results\n{_tail(log)}"
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    if not cases:
        return f"no coroutine named {testcase!r} in {module}"
    bad = [case for case in cases if _failed(case)]
    if bad:
        return f"{', '.join(str(case.get('name')) for case in bad)}\n{_tail(log)}"
    return ""


def _failed(case: ElementTree.Element) -> bool:
    return case.find("failure") is not None or case.find("error") is not None


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
