"""The search for the fastest clock that meets timing: clocks and seeds, in order."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mgd.boards.families.pll import MHZ, ClockPlan
from mgd.boards.flow import commands as flow
from mgd.boards.flow.build_report import Routed, read_cells, read_report
from mgd.boards.flow.commands import Sources
from mgd.boards.flow.steps import Progress, timed
from mgd.boards.flow.yosys_checks import check_cells
from mgd.golden_model.errors import UserError

SEEDS = (1, 2, 3)
ROUNDS = 5
"""Number of clocks that are tried at most."""
WORTH_ANOTHER = Fraction(104, 100)
"""A clock that meets timing is only replaced by one that is this much faster."""
SAFE = Fraction(99, 100)
"""Placing again for another clock changes fmax by a few per cent either way."""


@dataclass(frozen=True)
class Options:
    """How to look for the clock.

    clock_hz: the highest PLL output up to this one, and no other; None: the fastest that meets
    timing.  seeds: tried in this order until one meets timing.  allow_timing_fail: give a
    bitstream also where none does.
    """

    clock_hz: int | None = None
    seeds: tuple[int, ...] = SEEDS
    allow_timing_fail: bool = False


@dataclass
class Attempt:
    """The result of one clock with one seed."""

    sources: Sources
    folder: Path
    seed: int
    cells: dict[str, int]
    routed: Routed

    @property
    def hertz(self) -> Fraction:
        return self.sources.clock_plan.output_hz

    @property
    def fmax_hz(self) -> Fraction:
        return Fraction(self.routed.fmax_mhz) * MHZ

    @property
    def closes(self) -> bool:
        # The PLL's own frequency must be met, not nextpnr's rounding of it.
        return self.routed.met and self.fmax_hz >= self.hertz


def fastest(
    sources: Sources,
    folder: Path,
    options: Options,
    attempts: list[Attempt],
    progress: Progress,
) -> Attempt:
    """The attempt with the fastest clock that meets timing; every attempt is put into `attempts`.

    The first clock is tried with one seed, for a first fmax.  Then the clock follows the fmax
    reached: up once or more while timing is met, down when no seed meets it.
    """
    closed: Attempt | None = None
    board, pll = sources.design.board, sources.fpga_family.pll
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
            faster = pll.search(board.clock_hz, room)
            if faster.output_hz < best.hertz * WORTH_ANOTHER or _failed(attempts, faster):
                break
            clock_plan = faster
        else:
            below = min(room, best.hertz * SAFE)
            clock_plan = pll.search(board.clock_hz, below)
            if closed is not None and clock_plan.output_hz <= closed.hertz:
                break
        if number + 1 < ROUNDS:
            with timed(progress, "elaborate", str(clock_plan)):
                sources = flow.elaborate(sources.design, clock_plan)
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


def _failed(attempts: list[Attempt], clock_plan: ClockPlan) -> bool:
    """Whether a clock of at most this one has failed with every seed already."""
    return any(not a.closes and a.hertz <= clock_plan.output_hz for a in attempts)


def _round(
    sources: Sources, folder: Path, seeds: tuple[int, ...], progress: Progress
) -> list[Attempt]:
    """Synthesise once, then place and route with one seed after the other until one closes."""
    folder.mkdir()
    design = sources.design
    flow.write_sources(sources, folder)
    with timed(progress, "synthesise", str(sources.clock_plan)) as result:
        flow.synthesise(folder, sources.fpga_family)
        cells = read_cells(folder / flow.CELLS)
        check_cells(cells, design)
        result.append(f"{sum(cells.values()):,} cells")
    attempts: list[Attempt] = []
    for seed in seeds:
        place = folder / f"seed{seed}"
        place.mkdir()
        # A netlist is tens of megabytes; hard links are free.
        for name in (*(n for n, _ in sources.files), flow.NETLIST, flow.YOSYS_LOG):
            (place / name).hardlink_to(folder / name)
        with timed(progress, "place and route", f"seed {seed}") as result:
            flow.place_and_route(sources, place, seed)
            routed = read_report(place / flow.REPORT, sources.fpga_family, cells)
            _check_constraint(sources, routed)
            result.append(f"fmax {routed.fmax_mhz:.2f} MHz, wanted {routed.constraint_mhz:.2f} MHz")
        attempts.append(Attempt(sources, place, seed, cells, routed))
        if attempts[-1].closes:
            break
    return attempts


def _check_constraint(sources: Sources, routed: Routed) -> None:
    """nextpnr computes the PLL's output by itself: check that it agrees with the plan."""
    wanted = float(sources.clock_plan.output_hz) / MHZ
    # It counts in whole picoseconds.
    if abs(routed.constraint_mhz / wanted - 1) > 0.005:
        raise UserError(
            f"nextpnr was to close {wanted:.3f} MHz and looked at {routed.constraint_mhz:.3f} MHz: "
            "its PLL is not that of boards/families; report this as a fault"
        )
