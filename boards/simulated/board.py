"""The simulated board: the top level compiled by Verilator, its UART on a pseudo-terminal."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mgd.boards.simulated.verilator import Notify, compiled, silent
from mgd.boards.tools import to_verilog
from mgd.golden_model.errors import UserError
from mgd.rtl.core_kinds import AnyConfig
from mgd.rtl.system.top import Top, probe_layout

CLOCKS_PER_BIT = 4
"""The fewest that the UART allows, so that a simulation hardly waits for the wire."""
CLOCK_HZ = 12_000_000
"""Nominal; a simulation has no real clock."""
START_SECONDS = 20


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
        """Power off and on again: its memories are lost, the port stays."""
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


def build(config: AnyConfig, sample_words: int, notify: Notify = silent) -> Path:
    """The board with this core as a program; compiled unless this very one was before.

    sample_words: 16-bit words of sample memory.  notify is called for steps that take long.
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


def start(
    config: AnyConfig,
    sample_words: int,
    trace: Path | None = None,
    notify: Notify = silent,
) -> SimulatedBoard:
    """Build and start a board.

    trace: a file for the probe's events, for mgd verify.  notify is called for steps that
    take long.  Raises UserError where it cannot be built or does not start.
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
