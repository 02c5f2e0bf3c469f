"""accumulate = "nodes" in a folded core: outer and recall sweeps, every value the golden model's.

An evaluation, and the end of a TRAIN command, fall inside a sum's steps (tests.support.core_bench
makes both at half of STEPS).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig
from tests.support.core_bench import CoreBench

SEED = 5
STEPS = 14
NODES: dict[str, Any] = {"delta_exp": 4, "input_shift": 7, "accumulate": "nodes"}
ROWS = [
    # layers, lanes, network, build, settings
    ((7, 5, 3), 2, {}, {}, {}),
    ((7, 5, 3), 5, {"cost": "cross_entropy"}, {}, {}),
    ((7, 5, 3), 1, {"cost": "cross_entropy"}, {"memory_register": False}, {}),
    ((6, 4, 3, 2), 3, {}, {"shared_dsps": 0}, {}),
    ((6, 4, 3, 2), 2, {"cost": "cross_entropy"}, {"shared_dsps": 0, "memory_register": False}, {}),
    ((9, 4), 3, {}, {}, {}),
    ((9, 2), 2, {"cost": "cross_entropy"}, {"memory_register": False}, {}),
    ((2, 2, 1), 1, {"weight_bits": 8}, {}, {}),
    ((4, 11, 3), 11, {"weight_bits": 18}, {}, {}),
    ((6, 4, 3, 2), 3, {}, {}, {"trainable": (True, False, True)}),
    ((7, 5, 3), 2, {}, {}, {"sample_order": "epoch"}),
    ((5, 3, 2), 2, {"hidden": "relu", "output": "identity"}, {}, {"gate_zeros": True}),
]


def runs(fields: dict[str, Any]) -> list[Settings]:
    """Both differences; sums of one step, of a sample's, and several for a sample; a draw that
    stays; a learning rate that changes between sums, and within one."""
    common = NODES | fields
    return [
        Settings("np", "antithetic", eta_exp=5, tau_x=4, tau_theta=4, **common),
        Settings("np", "antithetic", eta_exp=3, tau_x=6, tau_theta=2, tau_p=3, **common),
        Settings("np", "antithetic", eta_exp=6, **common),
        Settings("np", "forward", eta_exp=4, tau_x=8, tau_theta=4, **common),
        Settings("np", "forward", eta_exp=5, tau_x=5, tau_theta=5, tau_p=2, **common),
        Settings("np", "forward", eta_exp=7, tau_x=2, **common),
        Settings("np", "forward", eta_exp=2, tau_x=4, tau_theta=4, halve_every=6, **common),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "lanes", "network", "build", "fields"), ROWS)
def test_nodes(layers, lanes, network, build, fields):
    settings = runs(fields)
    net = Network(layers, **network)
    bench = CoreBench(CoreConfig(net, lanes, variant=BuildOptions.of(settings[0]), **build))
    bench.run(settings, SEED, STEPS)
    assert bench.values_compared > len(settings) * (2 * STEPS + 2 * net.parameters)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"perturbation": "walsh"}, "perturbation = 'walsh' with accumulate = 'nodes'"),
        ({"scope": "layer"}, "scope = 'layer' with accumulate = 'nodes'"),
        ({"skip_zeros": True}, "skip_zeros = true with accumulate = 'nodes'"),
    ],
)
def test_what_no_core_has_beside_sums_per_node(fields, said):
    with pytest.raises(UserError, match=said):
        BuildOptions.of(Settings("np", **NODES, **fields))


def test_accumulators_are_refused():
    variant = BuildOptions(accumulate="nodes")
    with pytest.raises(UserError, match="accumulate = 'nodes' on a core with accumulators"):
        CoreConfig(Network((4, 3), accumulators=True), 2, variant=variant)


def test_a_core_is_built_for_one_of_both():
    settings = Settings("np", **NODES)
    network = Network((4, 3))
    with pytest.raises(UserError, match="accumulate = 'nodes': this core was built for 'weights'"):
        CoreConfig(network, 2).check(settings)
    with pytest.raises(UserError, match="accumulate = 'weights': this core was built for 'nodes'"):
        CoreConfig(network, 2, variant=BuildOptions.of(settings)).check(
            replace(settings, accumulate="weights")
        )
