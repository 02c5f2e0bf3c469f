"""The simulated board: the top level compiled by Verilator, its UART on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import hashlib
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from boards.tools import to_verilog, verilator_environment
from golden_model.errors import UserError
from golden_model.network import Network
from rtl.config import CoreConfig
from rtl.core import probe_layout
from rtl.top import Top

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

    def reset(self) -> None:
        """Power off and on again: what was in it is lost, the port stays."""
        self.process.send_signal(signal.SIGUSR1)

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


def cache_folder() -> Path:
    """Where compiled boards are kept: $MGD_CACHE, or mgd in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mgd"
    return Path(os.environ.get("MGD_CACHE") or default)


def build(network: Network, lanes: int, sample_words: int, notify: Notify = _silent) -> Path:
    """The board as a program; compiled unless this very one was before.

    sample_words: 16-bit words of sample memory.  notify hears of the steps that take long.
    Raises UserError where a tool is missing or fails.
    """
    notify("making the simulated board's Verilog (the first time Yosys itself is compiled, too)")
    config = CoreConfig(network, lanes)
    top = Top(config, sample_words + sample_words % 2, CLOCKS_PER_BIT, CLOCK_HZ)
    text = to_verilog(top, "top", reset=False)
    return compiled(text, board_header(config), "simulated.cpp", notify)


def board_header(config: CoreConfig) -> str:
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
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    final = cache_folder() / "boards" / digest
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with final.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not final.exists():
                notify(f"compiling it with Verilator, once; it is kept in {final.parent}")
                sources = {"top.v": design, "board.h": header, "program.cpp": source}
                _compile(final, sources, optimise)
    except OSError as error:
        raise UserError(
            f"{final.parent}: {error.strerror}; compiled boards are kept there, make room or set "
            "MGD_CACHE to another folder"
        ) from None
    return final


def _compile(final: Path, sources: dict[str, str], optimise: str) -> None:
    environment = verilator_environment(optimise)
    if optimise != "-O0":
        # All files in one compiler call: less work for two or three files.
        environment["MAKEFLAGS"] += " VM_PARALLEL_BUILDS=0"
    with tempfile.TemporaryDirectory(prefix="building-", dir=final.parent) as name:
        folder = Path(name)
        for file, text in sources.items():
            (folder / file).write_text(text)
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
            kept = final.with_suffix(".log")
            shutil.copy(log, kept)
            lines = log.read_text(errors="replace").splitlines()
            first = next((line for line in lines if "rror:" in line), "no error line")
            raise UserError(
                f"verilator failed with exit code {code} ({first.strip()}); its output is in "
                f"{kept}, and `mgd doctor` checks the tools"
            )
        # Only a whole program ever gets the final name.
        (folder / "obj" / "board").rename(final)


def start(
    network: Network,
    lanes: int,
    sample_words: int,
    trace: Path | None = None,
    notify: Notify = _silent,
) -> SimulatedBoard:
    """Build and start a board.

    trace: a file for the probe's events, for mgd verify.  notify hears of the steps that take
    long.  Raises UserError where it cannot be built or does not start.
    """
    return run(build(network, lanes, sample_words, notify), *([str(trace)] if trace else []))


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
