"""Whether a core fits a board, before any synthesis, and what would help where it does not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from mgd.boards.board import Board
from mgd.boards.estimate.blocks import core_dsps, lane_dsps, sample_memories
from mgd.boards.estimate.capacity import core_blocks, core_config, sample_depth
from mgd.boards.estimate.logic_cells import is_calibrated, logic_cells
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import PLAIN, BuildOptions
from mgd.protocol.fixed_settings import Fixed, fixed_settings
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.step_clocks import step_clocks
from mgd.rtl.memory.spram import WORDS as SPRAM_WORDS

WORTH_FIXING = ("method", "difference")
"""Settings that save most as wiring."""
ERROR = 0.15
"""How far the estimate of logic cells may be off; tests/boards/test_fit.py holds it to that."""
FITS, TIGHT, NO = "fits", "tight", "no"


@dataclass(frozen=True)
class Resource:
    """name: as people read it; used: estimated."""

    name: str
    used: int
    available: int

    @property
    def lacking(self) -> int:
        return max(self.used - self.available, 0)


@dataclass(frozen=True)
class Fit:
    """A network on a number of lanes of a board.

    sample_memory: 16-bit words that the design gets; wanted: what the task's data takes.
    verdict: 'fits', 'tight' where the logic fits by less than the estimate may be off, or 'no'.
    """

    board: Board
    config: CoreConfig
    cells: Resource
    dsps: Resource
    blocks: Resource
    sprams: Resource
    sample_memory: int
    wanted: int
    calibrated: bool

    @property
    def least_samples(self) -> int:
        """Two records, without which nothing is trained."""
        return 2 * self.config.network.sample_words

    @property
    def short(self) -> list[Resource]:
        """What there is too little of."""
        found = [part for part in (self.cells, self.dsps, self.blocks, self.sprams) if part.lacking]
        if not self.blocks.lacking and self.sample_memory < self.least_samples:
            found.append(Resource("words of samples", self.least_samples, self.sample_memory))
        return found

    @property
    def verdict(self) -> str:
        if self.short:
            return NO
        return TIGHT if self.cells.used * (1 + ERROR) > self.cells.available else FITS


def assess(
    board: Board,
    network: Network,
    lanes: int,
    wanted: int,
    fixed: Fixed = (),
    variant: BuildOptions = PLAIN,
) -> Fit:
    """What a network on `lanes` lanes takes of a board, estimated; without a variant's own gates.

    wanted: 16-bit words of the task's data; fixed: what is wiring in the core.  Raises UserError
    where the network cannot use so many lanes, or the estimate's coefficients cannot be read.
    """
    device = board.device
    config = core_config(board, network, lanes, fixed, variant)
    words = sample_depth(board, config, wanted)
    blocks = core_blocks(board, config) + sample_memories(device, words).blocks
    sprams = -(-words // SPRAM_WORDS) if device.sprams else 0
    # A lane takes its block in any case; what is short of blocks makes other products in logic.
    dsps = max(core_dsps(device, config), lanes * lane_dsps(device, network))
    return Fit(
        board=board,
        config=config,
        cells=Resource("logic cells", logic_cells(device, config, words), device.luts),
        dsps=Resource("DSP blocks", dsps, device.dsps),
        blocks=Resource("block RAMs", blocks, device.blocks),
        sprams=Resource("SPRAMs", sprams, device.sprams),
        sample_memory=words,
        wanted=wanted,
        calibrated=is_calibrated(device),
    )


def most_lanes(
    board: Board,
    network: Network,
    wanted: int,
    below: int,
    fixed: Fixed = (),
    variant: BuildOptions = PLAIN,
) -> int:
    """The most lanes under `below` that fit, 0 for none."""
    for lanes in range(below - 1, 0, -1):
        if assess(board, network, lanes, wanted, fixed, variant).verdict != NO:
            return lanes
    return 0


def remedies(fit: Fit, boards: Iterable[Board], settings: Settings | None = None) -> list[str]:
    """What would help a core that does not fit: each by itself, the nearest first.

    boards: the ones to look at for another; settings: the task's, some of which may be wiring.
    """
    network, lanes, fixed = fit.config.network, fit.config.lanes, fit.config.fixed
    variant = fit.config.variant
    found = []
    fewer = most_lanes(fit.board, network, fit.wanted, lanes, fixed, variant)
    if fewer:
        found.append(f"{fewer} lane{'s' * (fewer > 1)}")
    needs = variant.value_frac or variant.momentum_exp or variant.decay_exp
    if network.accumulators and not needs:
        plain = replace(network, accumulators=False, tau_theta_max=1)
        if assess(fit.board, plain, lanes, fit.wanted, fixed, variant).verdict != NO:
            found.append("no accumulators (tau_theta = 1)")
    if settings is not None and not fixed and variant == PLAIN:
        wired = fixed_settings(settings, WORTH_FIXING)
        if assess(fit.board, network, lanes, fit.wanted, wired).verdict != NO:
            found.append(f"--fix {','.join(WORTH_FIXING)}")
    # Boards of which little is known come last.
    for board in sorted(boards, key=lambda b: (not is_calibrated(b.device), b.device.luts)):
        if assess(board, network, lanes, fit.wanted, fixed, variant).verdict != NO:
            found.append(board.name)
            break
    return found


def average_clocks(
    config: CoreConfig, settings: Settings, codes: np.ndarray | None = None
) -> float:
    """Clocks per training step, over whole periods of tau_x and tau_theta.

    The antithetic difference takes two passes in every step, the continuous form one; the forward
    difference a second pass, for C0, only where the sample is new or the weights changed in the
    step before.  codes: with skip_zeros, samples in the order of training, over which the mean is
    taken; None: as if no input were 0.
    """
    tau_x, tau_theta = settings.tau_x, settings.tau_theta
    period = math.lcm(tau_x, tau_theta)
    new, changed = period // tau_x - 1, period // tau_theta - 1
    total = 0.0
    for count, kind in (
        (1, (True, True)),
        (new, (True, False)),
        (changed, (False, True)),
        (period - new - changed - 1, (False, False)),
    ):
        if count:
            total += count * _clocks(config, settings, codes, *kind)
    return total / period


def _clocks(config, settings: Settings, codes, new_sample: bool, changed: bool) -> float:
    """Of a step with a new sample, or with that of the step before; behind a change of weights, or
    not."""
    passes = 2 if settings.antithetic or new_sample or changed else 1
    visits_all = not config.variant.skip_zeros or (changed and settings.accumulates)
    if codes is None or visits_all:
        return step_clocks(config, passes=passes)
    lit = np.asarray(codes) != 0
    if new_sample:
        lit = lit | np.roll(lit, 1, axis=0)
    clocks = [step_clocks(config, passes=passes, visited=flags) for flags in lit.tolist()]
    return sum(clocks) / len(clocks)
