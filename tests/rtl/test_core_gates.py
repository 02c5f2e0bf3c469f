"""gate_zeros in a folded core, where inputs are 0 in one pass, in both, or in none."""

from __future__ import annotations

import pytest

from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig
from tests.support.core_bench import CoreBench

SEED = 3
STEPS = 14
RELU = Network((3, 4, 3, 2), "relu", "identity", sample_bits=1, accumulators=True, tau_theta_max=3)
"""Half of the samples' inputs are 0, and many of the hidden ones, which a large perturbation opens
and shuts."""


def runs(scope: str) -> list[Settings]:
    """Both differences, weights that change in every step and that stay for some, and nodes."""
    common = {"delta_exp": 1, "input_shift": 14, "scope": scope, "gate_zeros": True}
    return [
        Settings("wp", "antithetic", eta_exp=5, **common),
        Settings("wp", "forward", eta_exp=5, tau_x=2, **common),
        Settings("wp", "forward", "residual", eta_exp=4, tau_x=6, tau_theta=3, **common),
        Settings("np", "antithetic", eta_exp=5, **common),
    ]


@pytest.mark.parametrize("scope", ["network", "layer"])
def test_gates(scope):
    settings = runs(scope)
    bench = CoreBench(CoreConfig(RELU, 3, variant=BuildOptions.of(settings[0])))
    bench.run(settings, SEED, STEPS)
    assert bench.values_compared > len(settings) * STEPS * (2 + RELU.parameters)
