"""The fastest clock that closes: which clocks and seeds are tried, and in what order."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mgd.boards.devices import GOWIN
from mgd.boards.flow import commands as flow
from mgd.boards.flow import pll
from mgd.boards.flow.build_report import Routed, read_cells, read_report
from mgd.boards.flow.commands import Sources
from mgd.boards.flow.steps import Progress, timed
from mgd.boards.flow.yosys_checks import check_cells
from mgd.golden_model.errors import UserError

SEEDS = (1, 2, 3)
ROUNDS = 5
"""Clocks that are tried at most."""
WORTH_ANOTHER = Fraction(104, 100)
"""A clock that closed is only given up for one that is this much faster."""
SAFE = Fraction(99, 100)
"""Placing again for another clock moves fmax by some per cent either way."""


@dataclass(frozen=True)
class Options:
    """How to look for the clock.

    clock_hz: the highest PLL setting up to this one, and no other; None: the fastest that
    closes.  seeds: tried in this order until one closes.  allow_timing_fail: give a bitstream
    also where none does.
    """

    clock_hz: int | None = None
    seeds: tuple[int, ...] = SEEDS
    allow_timing_fail: bool = False


@dataclass
class Attempt:
    """A clock and what came of it with one seed."""

    sources: Sources
    folder: Path
    seed: int
    cells: dict[str, int]
    routed: Routed

    @property
    def hertz(self) -> Fraction:
        return self.sources.setting.output_hz

    @property
    def fmax_hz(self) -> Fraction:
        return Fraction(self.routed.fmax_mhz) * pll.MHZ

    @property
    def closes(self) -> bool:
        # The PLL's frequency itself, not nextpnr's rounding of it, is what must close.
        return self.routed.met and self.fmax_hz >= self.hertz


def fastest(
    sources: Sources,
    folder: Path,
    options: Options,
    attempts: list[Attempt],
    progress: Progress,
) -> Attempt:
    """The attempt with the fastest clock that closes; every attempt is put into `attempts`.

    The first clock is tried with one seed, to see what there is to be had.  Then the clock
    follows the fmax reached: up once or more while it closes, down when no seed closes.
    """
    closed: Attempt | None = None
    board = sources.design.board
    for number in range(ROUNDS):
        first = number == 0 and options.clock_hz is None
        seeds = options.seeds[:1] if first else options.seeds
        tried = _round(sources, folder / f"round{number}", seeds, progress)
        attempts += tried
        best = max(tried, key=lambda attempt: attempt.fmax_hz)
        if best.closes:
            went_up = closed is not None and best.hertz > closed.hertz
            if closed is None or went_up:
                closed = best
        if options.clock_hz is not None:
            break
        room = best.fmax_hz * SAFE
        if best.closes:
            faster = pll.search(board.family, board.clock_hz, room)
            if faster.output_hz < best.hertz * WORTH_ANOTHER or _failed(attempts, faster):
                break
            setting = faster
        else:
            below = min(room, best.hertz * SAFE)
            setting = pll.search(board.family, board.clock_hz, below)
            if closed is not None and setting.output_hz <= closed.hertz:
                break
        if number + 1 < ROUNDS:
            with timed(progress, "elaborate", clock_text(setting)):
                sources = flow.elaborate(sources.design, setting)
    if closed is not None:
        return closed
    best = max(attempts, key=lambda attempt: attempt.fmax_hz / attempt.hertz)
    if options.allow_timing_fail:
        return best
    raise UserError(
        f"timing fails: the slowest path allows {best.routed.fmax_mhz:.2f} MHz and the clock is "
        f"{float(best.hertz) / 1e6:.2f} MHz ({len(attempts)} attempts with seeds "
        f"{', '.join(map(str, options.seeds))}); lower --clock, raise --seeds, use fewer lanes, or "
        "give --allow-timing-fail for a bitstream that may not work"
    )


def _failed(attempts: list[Attempt], setting: pll.Setting) -> bool:
    """Whether a clock of at most this one has failed with every seed already."""
    return any(not a.closes and a.hertz <= setting.output_hz for a in attempts)


def _round(
    sources: Sources, folder: Path, seeds: tuple[int, ...], progress: Progress
) -> list[Attempt]:
    """Synthesise once, then place and route with one seed after the other until one closes."""
    folder.mkdir()
    design = sources.design
    flow.write_sources(sources, folder)
    with timed(progress, "synthesise", clock_text(sources.setting)) as said:
        flow.synthesise(folder, sources.family)
        cells = read_cells(folder / flow.CELLS)
        if design.board.family != GOWIN:
            check_cells(cells, design.config, design.sample_memory)
        said.append(f"{sum(cells.values()):,} cells")
    attempts: list[Attempt] = []
    for seed in seeds:
        place = folder / f"seed{seed}"
        place.mkdir()
        # A netlist is tens of megabytes; hard links are free.
        for name in (*(n for n, _ in sources.files), flow.NETLIST, flow.YOSYS_LOG):
            (place / name).hardlink_to(folder / name)
        with timed(progress, "place and route", f"seed {seed}") as said:
            flow.place_and_route(sources, place, seed)
            routed = read_report(place / flow.REPORT, sources.family, cells)
            _check_constraint(sources, routed)
            said.append(f"fmax {routed.fmax_mhz:.2f} MHz, wanted {routed.constraint_mhz:.2f} MHz")
        attempts.append(Attempt(sources, place, seed, cells, routed))
        if attempts[-1].closes:
            break
    return attempts


def _check_constraint(sources: Sources, routed: Routed) -> None:
    """nextpnr works out the PLL's output by itself: it must come to what we do."""
    wanted = float(sources.setting.output_hz) / pll.MHZ
    # It counts in whole picoseconds.
    if abs(routed.constraint_mhz / wanted - 1) > 0.005:
        raise UserError(
            f"nextpnr was to close {wanted:.3f} MHz and looked at {routed.constraint_mhz:.3f} MHz: "
            "it takes the PLL for another one than boards/flow/pll.py does; report this as a fault"
        )


def clock_text(setting: pll.Setting) -> str:
    return f"{float(setting.output_hz) / 1e6:.2f} MHz"
