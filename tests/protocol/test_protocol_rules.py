"""Refusals of builds, and of runs on a core that is built: every row refuses something."""

from __future__ import annotations

from dataclasses import replace

from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol import rules
from mgd.protocol.build_options import BuildOptions
from mgd.protocol.capabilities import check_core
from mgd.protocol.fixed_settings import FIXABLE, check_fixed, fixed_settings
from mgd.protocol.layout.folded import FoldedLayout
from mgd.protocol.layout.spatial import SpatialLayout
from mgd.protocol.run_setup import RunSetup
from tests.support.rows import check_rows

PLAIN = Network((2, 3, 1))
WIDE = replace(PLAIN, accumulators=True, tau_theta_max=64)
RESIDUAL = Settings(rounding="residual")
SPATIAL = SpatialLayout.of(PLAIN, Settings())
SPATIAL_WIDE = SpatialLayout.of(WIDE, RESIDUAL)
FOLDED = FoldedLayout(PLAIN, 2)


def on_spatial(network: Network = PLAIN, **settings):
    return lambda: SpatialLayout.of(network, Settings(**settings))


def setup_at(step: int, settings: Settings, fixed: dict[str, str | int]) -> RunSetup:
    return RunSetup.of(PLAIN, settings, 1, step, 4, 8, fixed)


def test_every_row_refuses_in_one_line_with_a_cure():
    options = [{"gate_zeros": True}, {"skip_zeros": True}, {"scope": "layer"}]
    options += [{"sample_order": "epoch"}, {"difference": "highpass"}, {"accumulate": "nodes"}]
    beside_nodes = [{"perturbation": "walsh"}, {"scope": "layer"}, {"skip_zeros": True}]
    residual = [{"perturbation": "sine"}, {"momentum_exp": 1}, {"decay_exp": 9}]
    cases = [
        lambda: BuildOptions(skip_zeros=True, perturbation="walsh"),
        lambda: BuildOptions(scope="layer", perturbation="walsh"),
        *(lambda f=f: BuildOptions(accumulate="nodes", **f) for f in beside_nodes),
        lambda: FoldedLayout(WIDE, 2, variant=BuildOptions(accumulate="nodes")),
        lambda: BuildOptions(trainable=(False,) + 8 * (True,)).layers(Network((1,) * 10)),
        lambda: fixed_settings(Settings(), ["seed"]),
        lambda: check_fixed((("tau_x", 1), ("tau_x", 2)), FIXABLE),
        lambda: check_fixed((("difference", "highpass"),)),
        lambda: check_fixed((("tau_x", 40_000),)),
        lambda: FoldedLayout(PLAIN, 0),
        lambda: FoldedLayout(PLAIN, 4),
        lambda: FoldedLayout(
            PLAIN, 2, fixed=(("tau_x", 1),), variant=BuildOptions(gate_zeros=True)
        ),
        *(lambda f=f: FoldedLayout(PLAIN, 2, variant=BuildOptions(**f)) for f in residual),
        on_spatial(Network((2000, 3))),
        on_spatial(WIDE, rounding="residual", halve_every=3),
        on_spatial(WIDE, rounding="residual", warmup_exp=3),
        on_spatial(WIDE),
        *(on_spatial(**f) for f in options),
        *(on_spatial(WIDE, rounding="residual", **f) for f in residual),
        lambda: check_core(WIDE, Settings(rounding="residual", optimizer="adam")),
        lambda: check_core(replace(PLAIN, shift_max=32), Settings(eta_exp=20, warmup_exp=12)),
        lambda: FOLDED.check(Settings(gate_zeros=True)),
        lambda: FoldedLayout(PLAIN, 2, fixed=(("eta_exp", 9),)).check(Settings(halve_every=4)),
        lambda: FoldedLayout(PLAIN, 2, fixed=(("tau_x", 9),)).check(Settings()),
        lambda: FOLDED.check(Settings(update_delay=20)),
        lambda: SPATIAL.check(Settings(method="wp")),
        lambda: SPATIAL.check(Settings(update_delay=20)),
        lambda: replace(SPATIAL, update_delay=30).check(Settings(update_delay=20)),
        lambda: SPATIAL_WIDE.check(replace(RESIDUAL, eta_exp=12)),
        lambda: setup_at(7, Settings(tau_x=5, update_delay=20), {}),
        lambda: setup_at(7, Settings(tau_x=5), {"tau_x": 5}),
    ]
    check_rows(rules.GROUPS, cases)


def test_what_suits_is_accepted():
    FOLDED.check(Settings(halve_every=4, tau_x=9, method="wp"))
    SPATIAL.check(Settings(tau_p=3, warmup_exp=2))
    SPATIAL_WIDE.check(replace(RESIDUAL, eta_exp=10, delta_exp=6))
    assert setup_at(10, Settings(tau_x=5), {"tau_x": 5}).periods == {}
