"""skip_zeros in a folded core: all inputs of a sample may be 0, some, or none."""

from __future__ import annotations

import pytest

from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig
from tests.support.core_bench import CoreBench

SEED = 3
STEPS = 10
COMMON = {"delta_exp": 2, "input_shift": 14, "skip_zeros": True}
DIRECT = [
    Settings("wp", "antithetic", eta_exp=5, **COMMON),
    Settings("np", "antithetic", eta_exp=5, **COMMON),
    Settings("wp", "forward", eta_exp=5, tau_x=2, **COMMON),
    # A draw of several samples, and a sample of several draws.
    Settings("wp", "antithetic", eta_exp=5, tau_p=3, **COMMON),
    Settings("wp", "forward", eta_exp=5, tau_x=3, tau_p=2, **COMMON),
]
RESIDUAL = [
    Settings("wp", "antithetic", "residual", eta_exp=4, **COMMON),
    Settings("wp", "forward", "residual", eta_exp=4, tau_x=2, tau_theta=3, **COMMON),
    Settings("np", "antithetic", "residual", eta_exp=4, tau_p=2, tau_theta=3, **COMMON),
]
WIDE = {"accumulators": True, "tau_theta_max": 3}
NETWORKS: dict[str, tuple[dict, int, bool]] = {
    # One word of bits: in its middle, full, and the bias in one of its own.
    "one_input": ({"layers": (1, 2, 1)}, 1, True),
    "half_a_word": ({"layers": (3, 4, 2), **WIDE}, 3, False),
    "a_word": ({"layers": (7, 3, 2)}, 2, False),
    "the_bias_alone": ({"layers": (8, 3, 2), **WIDE}, 2, True),
    "two_words": ({"layers": (9, 5, 3), "cost": "cross_entropy"}, 2, True),
    "three_words": ({"layers": (18, 3, 2)}, 3, False),
    "one_layer": ({"layers": (2, 2), **WIDE}, 2, True),
    "one_layer_with_time": ({"layers": (9, 5)}, 2, False),
}
"""Fields, lanes, and whether lanes have a register behind their memories."""


def run(fields: dict, lanes: int, settings: list[Settings], **build) -> None:
    network = Network(**fields, sample_bits=1)
    variant = BuildOptions.of(settings[0])
    bench = CoreBench(CoreConfig(network, lanes, variant=variant, **build))
    bench.run(settings, SEED, STEPS)
    rest = sum((f + 1) * n for f, n in zip(network.layers[1:], network.layers[2:], strict=False))
    assert bench.values_compared > len(settings) * STEPS * (2 + rest)


@pytest.mark.parametrize("name", NETWORKS)
def test_skips(name):
    fields, lanes, memory_register = NETWORKS[name]
    settings = DIRECT + (RESIDUAL if "accumulators" in fields else [])
    run(fields, lanes, settings, memory_register=memory_register)


@pytest.mark.parametrize("shared_dsps", [0, 4])
def test_one_layer_at_a_time(shared_dsps):
    settings = [
        Settings(s.method, s.difference, tau_x=s.tau_x, eta_exp=5, scope="layer", **COMMON)
        for s in DIRECT[:3]
    ]
    run({"layers": (9, 4, 3)}, 2, settings, shared_dsps=shared_dsps)
