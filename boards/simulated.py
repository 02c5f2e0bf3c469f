"""The simulated board: the top level compiled by Verilator, its UART on a pseudo-terminal."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from boards.cache import digest, kept
from boards.tools import to_verilog, verilator_environment
from golden_model.errors import UserError
from rtl.top import AnyConfig, Top, probe_layout

CLOCKS_PER_BIT = 4
"""The fewest the UART allows: the wire should not be what a simulation waits for."""
CLOCK_HZ = 12_000_000
"""Nominal; a simulation has no real clock."""
START_SECONDS = 20

Notify = Callable[[str], None]
"""Hears what is being done, a line each."""


def _silent(_line: str) -> None:
    pass


VERILATOR_FLAGS = (
    "--cc",
    "--exe",
    "--build",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "-Wno-fatal",
    "-Wno-lint",
)


@dataclass
class SimulatedBoard:
    """A running simulation.  port: a name that a serial library opens."""

    port: str
    process: subprocess.Popen

    def processor_seconds(self) -> float:
        """Processor time that the simulation has used so far (Linux)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        user, system = fields[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it.  May be called twice."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def build(config: AnyConfig, sample_words: int, notify: Notify = _silent) -> Path:
    """The board with this core as a program; compiled unless this very one was before.

    sample_words: 16-bit words of sample memory.  notify hears of the steps that take long.
    Raises UserError where a tool is missing or fails.
    """
    notify("making the simulated board's Verilog (the first time Yosys itself is compiled, too)")
    top = Top(config, sample_words + sample_words % 2, CLOCKS_PER_BIT, CLOCK_HZ)
    text = to_verilog(top, "top", reset=False)
    return compiled(text, board_header(config), "simulated.cpp", notify)


def board_header(config: AnyConfig) -> str:
    """The board.h of simulated.cpp."""
    places = {name: field.offset for name, field in probe_layout(config)}
    return (
        f"constexpr int CLOCKS_PER_BIT = {CLOCKS_PER_BIT};\n"
        f"constexpr int PROBE_WRITE = {places['write']};\n"
        f"constexpr int PROBE_COST = {places['cost_valid']};\n"
        f"constexpr int PROBE_DELTA = {places['delta_valid']};\n"
    )


def compiled(
    design: str,
    header: str,
    program: str | Path,
    notify: Notify = _silent,
    optimise: str = "-O3",
) -> Path:
    """A C++ program with a Verilog design called top, as an executable.

    program: a file of this folder or a path.  header: the text of board.h, which the program
    includes.  optimise: the C++ compiler's flag; -O0 where compiling would take longer than
    simulating.  Raises UserError where a tool is missing or fails, or where there is no room.
    """
    source = (files("boards") / program if isinstance(program, str) else program).read_text()
    parts = [design, header, source, version("verilator"), *VERILATOR_FLAGS, optimise]
    parts.append(os.uname().machine)

    def make(folder: Path, final: Path) -> Path:
        notify(f"compiling it with Verilator, once; it is kept in {final.parent}")
        for file, text in {"top.v": design, "board.h": header, "program.cpp": source}.items():
            (folder / file).write_text(text)
        return _compile(folder, final.with_suffix(".log"), optimise)

    return kept("boards", digest(parts), "compiled boards", make)


def _compile(folder: Path, kept_log: Path, optimise: str) -> Path:
    environment = verilator_environment(optimise)
    if optimise != "-O0":
        # All files in one compiler call: less work for two or three files.
        environment["MAKEFLAGS"] += " VM_PARALLEL_BUILDS=0"
    command = [
        "verilator",
        *VERILATOR_FLAGS,
        *("--top-module", "top", "--Mdir", "obj", "-o", "board", "-j", "2"),
        *("-CFLAGS", f"-I{folder} {optimise}"),
        "top.v",
        "program.cpp",
    ]
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
        shutil.copy(log, kept_log)
        lines = log.read_text(errors="replace").splitlines()
        first = next((line for line in lines if "rror:" in line), "no error line")
        raise UserError(
            f"verilator failed with exit code {code} ({first.strip()}); its output is in "
            f"{kept_log}, and `mgd doctor` checks the tools"
        )
    return folder / "obj" / "board"


def start(
    config: AnyConfig,
    sample_words: int,
    trace: Path | None = None,
    notify: Notify = _silent,
) -> SimulatedBoard:
    """Build and start a board.

    trace: a file for the probe's events, for mgd verify.  notify hears of the steps that take
    long.  Raises UserError where it cannot be built or does not start.
    """
    return run(build(config, sample_words, notify), *([str(trace)] if trace else []))


def run(program: Path, *arguments: str) -> SimulatedBoard:
    """Start a compiled board.  Raises UserError where it does not start."""
    process = subprocess.Popen(
        [str(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the host, which then closes the board
    )
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        port = process.stdout.readline().decode().strip() if selector.select(START_SECONDS) else ""
    board = SimulatedBoard(port, process)
    if not port:
        board.close()
        raise UserError(f"the simulated board did not start ({program}); remove it and try again")
    return board
