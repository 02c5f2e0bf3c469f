"""rtl.imperfect: small imperfect cores, every value equal to the golden model's.

Rows are drawn so that every kind of imperfection meets every choice that decides what it acts on;
the rest of a row is drawn at random.  The row's number and the seed are printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil

from mgd.golden_model.errors import UserError
from mgd.golden_model.imperfections import Imperfections
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.protocol.fixed_settings import DIFFERENCES, fixed_settings
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.core import FoldedCore
from mgd.rtl.imperfect import ImperfectConfig, ImperfectCore
from mgd.rtl.imperfect.rules import PERTURBATIONS
from mgd.rtl.lockstep import MismatchError
from mgd.rtl.spatial.config import SpatialConfig
from tests.rtl import test_core_matrix as matrix
from tests.support.core_bench import CoreBench
from tests.support.pairs import covering, wanted_pairs

SEED = 23
STEPS = 8
KINDS: dict[str, dict[str, Any]] = {
    "cost noise": {"cost_noise": 0.02},
    "loud cost": {"cost_noise": 64.0},
    "coarse cost": {"cost_bits": 7},
    "update noise": {"update_noise": 0.01},
    "violent updates": {"update_noise": 8.0, "cost_noise": 64.0},
    "neurons": {"gain": 0.5, "offset": 0.1},
    "far neurons": {"gain": 8.0, "offset": 64.0},
    "stuck": {"stuck": 0.3, "stuck_bits": 6},
    "all stuck": {"stuck": 1.0, "stuck_bits": 13},
    "stuck synapse": {"stuck_synapse": 0.5, "stuck_bits": 13},
    "all": {
        "cost_noise": 0.02, "update_noise": 0.01, "gain": 0.1, "offset": 0.05, "stuck": 0.1,
        "stuck_synapse": 0.4, "stuck_bits": 10, "cost_bits": 9,
    },
}  # fmt: skip
MEETS = (
    "cost", "perturbation", "scope", "trainable", "method", "difference", "rounding", "tau_theta",
)  # fmt: skip
"""Choices of tests.rtl.test_core_matrix that every kind is to meet."""
ALSO = (
    "layers",
    "hidden",
    "output",
    "sample_bits",
    "accumulators",
    "sample_order",
    "tau_x",
    "tau_p",
    "halve_every",
)
CHOICES: dict[str, tuple[Any, ...]] = {
    "kind": tuple(KINDS),
    **{
        name: values if name in MEETS + ALSO else values[:1]
        for name, values in matrix.CHOICES.items()
    },
    "cost": ("mse", "cross_entropy", "hinge"),
    "perturbation": PERTURBATIONS,
    "difference": DIFFERENCES,
}
"""What is named in neither has its first value."""


def wanted() -> set[tuple]:
    pairs = wanted_pairs(CHOICES, matrix.possible)
    return {
        pair
        for pair in pairs
        if any(name == "kind" for name, _ in pair) and any(name in MEETS for name, _ in pair)
    }


ROWS = covering(CHOICES, wanted(), matrix.possible, SEED)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ROWS)))
def test_row(number):
    row, random = ROWS[number], np.random.default_rng(SEED + number)
    network, faults = matrix.network_of(row), Imperfections(**KINDS[row["kind"]])
    settings = matrix.settings_of(row)
    config = CoreConfig(
        network,
        int(random.integers(1, max(network.layers[1:]) + 1)),
        **matrix.build_of(random),
        variant=BuildOptions.of(settings),
    )
    print(f"row {number} of seed {SEED}: {row}, {config}")
    bench = CoreBench(config, faults, SEED + number)
    bench.run([settings], seed=SEED + number, steps=STEPS)
    assert bench.values_compared > STEPS * (2 + network.parameters)
    assert bool(bench.noise_taken) == bool(faults.cost_noise or faults.update_noise)


# -- limits, parts and ways that rows meet rarely -----------------------------------------------

NETWORK = Network(
    (3, 3, 2), cost="cross_entropy", sample_bits=2, accumulators=True, tau_theta_max=2
)
SETTINGS = Settings("wp", "forward", tau_x=2, eta_exp=4, input_shift=12)


@pytest.mark.parametrize("rounding", ["stochastic", "residual"])
@pytest.mark.parametrize("accumulators", [False, True])
@pytest.mark.parametrize("method", ["wp", "np"])
def test_changes_beyond_the_range_of_a_weight(method, accumulators, rounding):
    if rounding == "residual" and not accumulators:
        pytest.skip("refused: tests/golden_model/test_settings.py")
    network = Network((3, 3, 2), cost="hinge", sample_bits=2, accumulators=accumulators)
    settings = Settings(method, rounding=rounding, delta_exp=5, eta_exp=0, input_shift=12)
    faults = Imperfections(**KINDS["violent updates"], stuck=0.5, stuck_bits=13)
    bench = CoreBench(CoreConfig(network, 2), faults, SEED)
    bench.run([settings], seed=SEED, steps=12)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_more_than_a_perfect_core(kind):
    config = CoreConfig(NETWORK, 2)
    bench = CoreBench(config, Imperfections(**KINDS[kind]), SEED)
    bench.core = FoldedCore(config)
    with pytest.raises((MismatchError, AssertionError)):
        bench.run([SETTINGS], seed=SEED, steps=STEPS)


def test_another_seed_is_another_piece_of_hardware():
    faults = Imperfections(gain=0.5)
    bench = CoreBench(CoreConfig(NETWORK, 2), faults, SEED)
    bench.core = ImperfectCore(CoreConfig(NETWORK, 2), faults, SEED + 1)
    with pytest.raises(MismatchError):
        bench.run([SETTINGS], seed=SEED, steps=STEPS)


@pytest.mark.parametrize("fixed", [("method",), ("method", "difference", "rounding", "tau_x")])
@pytest.mark.parametrize("method", ["wp", "np"])
def test_settings_that_are_constants(method, fixed):
    settings = Settings(method, rounding="residual", eta_exp=5, input_shift=12)
    config = CoreConfig(NETWORK, 3, fixed=fixed_settings(settings, fixed))
    bench = CoreBench(config, Imperfections(**KINDS["all"]), SEED)
    bench.run([settings], seed=SEED, steps=STEPS)


def test_nothing_wrong_is_a_perfect_core():
    bench = CoreBench(CoreConfig(NETWORK, 2), Imperfections(), SEED)
    plain = FoldedCore(CoreConfig(NETWORK, 2)).signature
    assert bench.core.signature.members == plain.members
    bench.run([SETTINGS], seed=SEED, steps=STEPS)


def test_ports_are_there_for_noise_alone():
    config = CoreConfig(NETWORK, 3)
    core = ImperfectCore(config, Imperfections(cost_noise=0.1, update_noise=0.1), 1)
    added = set(core.signature.members) - set(FoldedCore(config).signature.members)
    assert added == {"cost_noise", "update_noise", "update_noise_word"}
    assert core.cost_sum.shape().signed


@pytest.mark.parametrize("deviation", [0.001, 0.1, 0.3, 1.0, 3.0, 64.0])
def test_costs_hold_all_noise_that_the_port_does(deviation):
    faults = Imperfections(cost_noise=deviation, cost_bits=4)
    config = ImperfectConfig.of(CoreConfig(NETWORK, 2), faults, 1)
    most = NETWORK.cost_bound + (1 << config.cost_noise_bits - 1) - 1
    half = 1 << config.hardware.dropped_bits - 1
    assert most + half < 1 << config.cost_shape.width - 1


def test_sums_in_dsp_blocks():
    """Their netlist alone can be simulated; the weight that goes in is the imperfect one."""
    config = CoreConfig(NETWORK, 2, mac16=True)
    text = rtlil.convert(ImperfectCore(config, Imperfections(stuck_synapse=0.5), 1))
    assert "SB_MAC16" in text


# -- what is refused ----------------------------------------------------------------------------


@dataclass(frozen=True)
class LaterVariant(BuildOptions):
    momentum_exp: int = 0


def test_refused_spatial_core():
    spatial = SpatialConfig.of(NETWORK, Settings(rounding="residual"))
    with pytest.raises(UserError, match=r"spatial core.*CoreConfig"):
        ImperfectCore(spatial, Imperfections(gain=0.1), 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("variant", "part"),
    [
        (BuildOptions(perturbation="sine"), "perturbation = 'sine' with imperfections"),
        (LaterVariant(momentum_exp=3), "momentum_exp = 3 with imperfections"),
    ],
)
def test_refused_variants(variant, part):
    with pytest.raises(UserError) as caught:
        ImperfectConfig(NETWORK, 2, variant=variant)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refused_as_by_the_golden_model():
    with pytest.raises(UserError, match="stuck_bits = 16"):
        ImperfectCore(CoreConfig(NETWORK, 2), Imperfections(stuck=0.5, stuck_bits=16), 1)
