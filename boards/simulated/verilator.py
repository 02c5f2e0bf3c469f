"""A Verilog design and the C++ program around it, compiled by Verilator, once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from mgd.boards.cache import cached, digest
from mgd.boards.tools import compiler_version, verilator_environment
from mgd.golden_model.errors import UserError

FLAGS = (
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "-Wno-fatal",
    "-Wno-lint",
)
RUNTIME = ("verilated.o", "verilated_threads.o")
"""Verilator's own part of each program, the same in all of them."""
LARGE = 4_000_000
"""Bytes of Verilog from which files are compiled one by one: no call has to hold them all."""

Notify = Callable[[str], None]
"""Called with a line before each step."""


def silent(_line: str) -> None:
    pass


def compiled(
    design: str,
    header: str,
    program: str | Path,
    notify: Notify = silent,
    optimise: str = "-O3",
) -> Path:
    """A C++ program with a Verilog design called top, as an executable.

    program: a file of this folder or a path.  header: the text of board.h, which the program
    includes.  optimise: the C++ compiler's flag; -O0 where compiling would take longer than
    simulating.  Raises UserError where a tool is missing or fails, or where there is no room.
    """
    source = (
        files("mgd.boards.simulated") / program if isinstance(program, str) else program
    ).read_text()
    parts = [design, header, source, version("verilator"), *FLAGS, optimise, os.uname().machine]

    def make(folder: Path, final: Path) -> Path:
        notify(f"compiling it with Verilator, once; it is cached in {final.parent}")
        for file, text in {"top.v": design, "board.h": header, "program.cpp": source}.items():
            (folder / file).write_text(text)
        return _compile(folder, final.with_suffix(".log"), optimise)

    return cached("boards", digest(parts), "compiled boards", make)


def _compile(folder: Path, saved_log: Path, optimise: str) -> Path:
    environment = verilator_environment(optimise)
    objects = runtime()
    environment["MAKEFLAGS"] += " VM_GLOBAL_FAST="  # they are already compiled
    if (folder / "top.v").stat().st_size < LARGE:
        # All files in one compiler call: their includes, most of the work, are read once.
        environment["MAKEFLAGS"] += " VM_PARALLEL_BUILDS=0"
    command = [
        *("verilator", *FLAGS, "--cc", "--exe", "--build", "-j", "2"),
        *("--top-module", "top", "--Mdir", "obj", "-o", "board"),
        *("-CFLAGS", f"-I{folder} {optimise}"),
        *("-LDFLAGS", " ".join(str(objects / name) for name in RUNTIME)),
        *("top.v", "program.cpp"),
    ]
    _run(command, folder, environment, saved_log)
    return folder / "obj" / "board"


def runtime() -> Path:
    """The folder of RUNTIME, compiled if it does not exist yet.

    It takes longer than a small design.  Raises UserError as compiled().
    """
    environment = verilator_environment()
    parts = [version("verilator"), compiler_version(), *RUNTIME, os.uname().machine]

    def make(folder: Path, final: Path) -> Path:
        (folder / "top.v").write_text("module top; endmodule\n")
        log = final.with_suffix(".log")
        _run(["verilator", "--cc", "--Mdir", "obj", "top.v"], folder, environment, log)
        targets = ["make", "-C", "obj", "-f", "Vtop.mk", "-j", "2", *RUNTIME]
        _run(targets, folder, environment, log)
        objects = folder / "objects"
        objects.mkdir()
        for name in RUNTIME:
            (folder / "obj" / name).rename(objects / name)
        return objects

    return cached("verilator", digest(parts), "compiled boards", make)


def _run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], saved_log: Path
) -> None:
    """Raises UserError where a command fails, whose output is then in saved_log."""
    log = folder / "log.txt"
    with log.open("w") as output:
        code = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ).returncode
    if code:
        shutil.copy(log, saved_log)
        lines = log.read_text(errors="replace").splitlines()
        first = next((line for line in lines if "rror:" in line), "no error line")
        raise UserError(
            f"{command[0]} failed with exit code {code} ({first.strip()}); its output is in "
            f"{saved_log}, and `mgd doctor` checks the tools"
        )
