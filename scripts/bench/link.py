"""`mgd bench link`: bulk transfers through the real UART, against the rate of its wire."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from mgd.api.backends import sample_words, say
from mgd.boards.simulated import board as simulated
from mgd.golden_model.seeds import words
from mgd.host.link.board_link import Link
from mgd.host.session.board import BoardSession
from mgd.host.task.task import Task
from mgd.protocol.framing import Space
from mgd.protocol.registers import Register
from mgd.rtl.core_kinds import config_for
from mgd.scripts.bench.group import json_option, record

BITS_PER_BYTE = 10
"""On the wire: start bit, eight data bits, stop bit."""
REPEATS = 5
"""The best one counts: in the others the simulation ran on while the host did something else."""
SEED = 1


def measure(link: Link, transfer: Callable[[], object]) -> int:
    """Clocks of the board from before `transfer` to after it."""

    def clocks() -> int:
        return link.read_register64(Register.CLOCKS)

    reading, whole = [], []
    for _ in range(REPEATS):
        first, begin = clocks(), clocks()
        transfer()
        # The first two readings measure the time of a reading itself.
        reading.append(begin - first)
        whole.append(clocks() - begin)
    # Each by itself: a busy machine makes either longer, never shorter.
    return min(whole) - min(reading)


def transfers(session: BoardSession) -> list[tuple[str, Callable[[], object], int]]:
    """Name, what to do and its words: samples and weights both ways, with random bits."""
    link, config = session.link, session.layout
    random = (words(session.identity.sample_memory // 2, SEED, "data") >> np.uint64(32)).tolist()
    lanes = [
        (lane << 16, [word & 0x7FFF for word in random[: config.lane_words]])
        for lane in range(config.lanes)
    ]
    places = [(address, len(row)) for address, row in lanes]
    weights = config.lanes * config.lane_words
    return [
        ("samples written", lambda: link.write(Space.SAMPLES, 0, random), len(random)),
        ("samples read", lambda: link.read(Space.SAMPLES, 0, len(random)), len(random)),
        ("weights written", lambda: link.write_blocks(Space.WEIGHTS, lanes), weights),
        ("weights read", lambda: link.read_blocks(Space.WEIGHTS, places), weights),
        ("one register read", lambda: link.read_register(Register.STEP), 1),
    ]


@click.command()
@click.option("--task", "task_name", default="digits", show_default=True, metavar="TASK_OR_TOML")
@json_option
def link(task_name: str, json_file: Path | None) -> None:
    """Bulk transfers over the simulated board's UART, at the fewest clocks per bit it allows.

    Time is counted by the board's own clock, in bit times of the wire. The rate is the part of them
    that carried the words' own bits, start and stop bits included: the rest is frame headers,
    checksums, escapes, and pauses.
    """
    task = Task.load(task_name)
    network = task.spec.network
    board = simulated.start(config_for(task.core_layout()), sample_words(task), notify=say)
    rows: list[dict[str, Any]] = []
    try:
        with BoardSession(board.port, network, backend="sim") as session:
            for name, transfer, count in transfers(session):
                bit_times = measure(session.link, transfer) / simulated.CLOCKS_PER_BIT
                rate = 4 * BITS_PER_BYTE * count / bit_times
                rows.append(
                    {
                        "task": task.name,
                        "lanes": task.spec.core.lanes,
                        "transfer": name,
                        "words": count,
                        "clocks_per_bit": simulated.CLOCKS_PER_BIT,
                        "bit_times": bit_times,
                        "rate": rate,
                        "link_repeats": session.link.repeats,
                        "link_errors": session.counters().link_errors,
                    }
                )
                click.echo(
                    f"{name:<18} {count:>7,} words  {bit_times:>12,.0f} bit times"
                    + (f"  {100 * rate:5.1f} % of the wire's rate" if count > 1 else "")
                )
    finally:
        board.close()
    record(json_file, "link", rows)
