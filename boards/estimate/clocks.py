"""Clocks per training step of the folded core."""

from __future__ import annotations

import math

import numpy as np

from mgd.golden_model.settings import Settings
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.program.step_clocks import step_clocks, sum_clocks


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
    if config.variant.by_node:
        return sum_clocks(config, settings) / tau_theta
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


def _clocks(
    config: CoreConfig,
    settings: Settings,
    codes: np.ndarray | None,
    new_sample: bool,
    changed: bool,
) -> float:
    """Clocks of one step.

    new_sample: its sample is not that of the step before.  changed: the step before changed the
    weights.
    """
    passes = 2 if settings.antithetic or new_sample or changed else 1
    visits_all = not config.variant.skip_zeros or (changed and settings.accumulates)
    if codes is None or visits_all:
        return step_clocks(config, passes=passes)
    nonzero = np.asarray(codes) != 0
    if new_sample:
        nonzero = nonzero | np.roll(nonzero, 1, axis=0)
    clocks = [step_clocks(config, passes=passes, visited=flags) for flags in nonzero.tolist()]
    return sum(clocks) / len(clocks)
