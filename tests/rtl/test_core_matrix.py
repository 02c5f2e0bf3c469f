"""Small cores of both kinds, a matrix of settings: every value equal to the golden model's.

Rows are drawn so that every pair of choices occurs that is not refused, but for the two activations
of a network, which cocotb_tests/units/test_activation.py pairs.  A folded core then runs other
settings as well, drawn at random, and so are its lanes and where it has registers and multipliers.
 The row's number and the seed are printed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mgd.golden_model.costs import COSTS
from mgd.golden_model.network import ACTIVATIONS, ONE, Network
from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.samples.order import ORDERS
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.protocol.capabilities import missing
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.spatial.config import SpatialConfig
from tests.support.core_bench import CoreBench
from tests.support.pairs import Row, covering, drawn, wanted_pairs

SEED = 11
STEPS = 10
MORE = 2
"""Other settings on each folded core."""

FOLDED, SPATIAL = "folded", "spatial"
CORE: dict[str, tuple[Any, ...]] = {
    "core": (FOLDED, SPATIAL),
    "layers": ((2, 2, 1), (3, 2, 2), (2, 3, 2, 2), (3, 2)),
    "hidden": ACTIVATIONS,
    "output": ACTIVATIONS,
    "cost": (*COSTS, "smoothed"),
    "sample_bits": (1, 3),
    "accumulators": (False, True),
    "perturbation": tuple(PERTURBATIONS),
    "scope": ("network", "layer"),
    "trainable": ("all", "first", "last"),
    "gate_zeros": (False, True),
    "skip_zeros": (False, True),
    "sample_order": ORDERS,
    "momentum_exp": (0, 2),
    "decay_exp": (0, 4),
    "filter": (0, 1, 3),
}
"""What a core is built for.  filter: highpass_exp, or 0 for the difference that RUN says."""
RUN: dict[str, tuple[Any, ...]] = {
    "method": ("wp", "np"),
    "difference": ("antithetic", "forward"),
    "rounding": ("stochastic", "residual"),
    "tau_x": (1, 3),
    "tau_p": (1, 2),
    "tau_theta": (1, 3),
    "halve_every": (0, 4),
    "warmup_exp": (0, 2),
}
"""Registers of a folded core; method, difference and rounding are constants in a spatial one."""
CHOICES = {**CORE, **RUN}
VARIANT = (
    "perturbation",
    "scope",
    "gate_zeros",
    "skip_zeros",
    "sample_order",
    "momentum_exp",
    "decay_exp",
)
"""Choices of CORE that are settings of the same name."""


def possible(row: Row) -> bool:
    """Whether a row, or a pair of choices, is not refused whatever the rest is."""
    given = {**dict.fromkeys(CHOICES), **row}
    entropy = given["cost"] in ("cross_entropy", "smoothed")
    if entropy and given["layers"] == (2, 2, 1):
        return False
    variants = given["scope"] == "layer", given["perturbation"] not in (None, "random")
    if all(variants):
        return False
    ordered = given["sample_order"] not in (None, "cycle")
    zeros = given["gate_zeros"] or given["skip_zeros"]
    if given["core"] == SPATIAL and (any(variants) or ordered or zeros):
        return False
    if given["skip_zeros"] and variants[1]:
        return False
    if given["perturbation"] == "sine" and (
        given["rounding"] == "stochastic" or given["accumulators"] is False
    ):
        return False
    if given["filter"] and (
        given["core"] == SPATIAL
        or given["scope"] == "layer"
        or given["difference"] == "forward"  # once is enough: it is not looked at
    ):
        return False
    rule = given["momentum_exp"] or given["decay_exp"]
    if rule and (
        given["core"] == SPATIAL
        or given["accumulators"] is False
        or given["rounding"] == "stochastic"
    ):
        return False
    if given["rounding"] == "stochastic" and given["tau_theta"] == 3:
        return False
    if given["accumulators"] is False and (
        given["rounding"] == "residual" or given["tau_theta"] == 3
    ):
        return False
    # The weights of a spatial core take from their accumulators alone, which have one unit.
    direct = given["accumulators"] and given["rounding"] == "stochastic"
    changes = given["halve_every"] or given["warmup_exp"]
    sums = given["accumulators"] or given["rounding"] == "residual" or given["tau_theta"] == 3
    return not (given["core"] == SPATIAL and (direct or (sums and changes)))


def wanted() -> set[tuple]:
    both = wanted_pairs(CHOICES, possible)
    return {pair for pair in both if {name for name, _ in pair} != {"hidden", "output"}}


def network_of(row: Row) -> Network:
    smoothed = row["cost"] == "smoothed"
    finer = 8 if row["perturbation"] == "sine" else 1  # the parts of a sign
    network = Network(
        row["layers"],
        row["hidden"],
        row["output"],
        "cross_entropy" if smoothed else row["cost"],
        cost_frac=13,
        sample_bits=row["sample_bits"],
        sample_signed=row["layers"] != (3, 2, 2),
        target_low=0 if row["output"] == "sigmoid" else -ONE,
        accumulators=row["accumulators"],
        tau_theta_max=3 * finer if row["accumulators"] else 1,
        smoothing_exp=4 if smoothed else 0,
        shift_max=12 if row["decay_exp"] else 24,
    )
    if finer == 1 and not (row["momentum_exp"] or row["decay_exp"]):
        return network
    # For any run on it, as wide as the largest learning rate that a schedule can end at.
    needed = settings_of({**row, "tau_theta": 3, "halve_every": 4}).tau_theta_needed(network)
    return replace(network, tau_theta_max=needed)


def settings_of(row: Row) -> Settings:
    shift = 15 - row["sample_bits"] if row["layers"] != (3, 2, 2) else 14 - row["sample_bits"]
    fields = {name: row[name] for name in (*RUN, *VARIANT)}
    if row["filter"]:
        fields |= {"difference": "highpass", "highpass_exp": row["filter"]}
    depth = len(row["layers"]) - 1
    if row["trainable"] != "all" and depth > 1:
        frozen = depth - 1 if row["trainable"] == "first" else 0
        fields["trainable"] = tuple(layer != frozen for layer in range(depth))
    return Settings(delta_exp=4, eta_exp=5, warmup_every=3, input_shift=shift, **fields)


def build_of(random: np.random.Generator) -> dict[str, Any]:
    """Where a folded core's registers, products and tables are, which no number depends on."""
    return {
        "shared_dsps": int(random.integers(5)),
        "memory_register": bool(random.integers(2)),
        "table_memory": bool(random.integers(2)),
    }


ROWS = covering(CHOICES, wanted(), possible, SEED)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ROWS)))
def test_row(number):
    row, random = ROWS[number], np.random.default_rng(SEED + number)
    print(f"row {number} of seed {SEED}: {row}")
    network = network_of(row)
    runs = [settings_of(row)]
    assert missing(network, runs[0]) == []
    if row["core"] == SPATIAL:
        bench = CoreBench(SpatialConfig.of(network, runs[0]))
    else:
        others = (drawn(RUN, random) for _ in range(100))
        more = [run for run in others if possible({**row, **run})][:MORE]
        print(f"and {more}")
        runs += [settings_of({**row, **run}) for run in more]
        lanes = int(random.integers(1, max(network.layers[1:]) + 1))
        build = build_of(random)
        print(f"on {lanes} lanes with {build}")
        bench = CoreBench(CoreConfig(network, lanes, variant=BuildOptions.of(runs[0]), **build))
    bench.run(runs, seed=SEED + number, steps=STEPS)
    assert bench.values_compared > len(runs) * STEPS * (2 + network.parameters)
