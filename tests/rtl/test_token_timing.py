"""rtl.folded.program.token_timing: the clocks of docs/architecture.md's table, and what moves
them."""

from __future__ import annotations

import pytest

from mgd.golden_model.network import Network
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.program.token_timing import TokenTiming

WIDE = {"accumulators": True, "tau_theta_max": 4}
SINE = {**WIDE, "tau_theta_max": 8}


def timing(network: dict | None = None, variant: dict | None = None, **options) -> TokenTiming:
    built = BuildOptions(**(variant or {}))
    config = CoreConfig(Network((64, 32, 10), **(network or {})), 8, variant=built, **options)
    return TokenTiming.of(config)


@pytest.mark.parametrize(
    ("network", "u", "options"),
    [({}, 3, {"memory_register": False}), (WIDE, 5, {"memory_register": False})],
)
def test_the_table_of_a_build_for_ice40(network, u, options):
    at = timing(network, **options)
    assert (at.signs, at.previous_x) == (0, 1)
    assert at.update_term == at.lane_term == 5
    assert at.address == 3
    assert at.read_x == 1 + u
    assert at.early_x == at.mac == 3 + u
    assert (at.take, at.ring) == (4 + u, 5 + u)
    assert at.turnaround == u + 1


def test_a_far_product_is_later_for_all_that_meets_it():
    near, far = timing(memory_register=False), timing()
    assert far.previous_x == near.previous_x
    for name in ("signs", "update_term", "lane_term", "address"):
        assert getattr(far, name) == getattr(near, name) + 1
    assert far.mac == near.mac + 2  # and the memory's own register


def test_a_product_in_logic_takes_two_clocks_more():
    assert timing(shared_dsps=0, memory_register=False).signs == 2


def test_values_of_a_perturbation_are_multiplied_a_clock_before():
    plain, valued = timing(WIDE), timing(SINE, {"perturbation": "sine"})
    assert valued.lane_term == valued.update_term + 1 == plain.lane_term + 1
    assert valued.early_x == valued.mac - 1 == plain.early_x
    assert plain.early_x == plain.mac


def test_more_than_eight_lanes_have_a_register_before_their_sums():
    eight, nine = (TokenTiming.of(CoreConfig(Network((64, 32, 10)), p)) for p in (8, 9))
    assert (nine.take, nine.ring) == (eight.take + 1, eight.ring + 1)
    assert nine.mac == eight.mac


def test_a_decaying_weight_is_a_clock_later():
    assert timing(WIDE, {"decay_exp": 4}).mac == timing(WIDE).mac + 1


def test_a_token_reads_an_activation_in_the_clock_after_its_write():
    """The write, `activation_written` clocks after the sum leaves the ring, is announced so early
    that a token issued in the next clock reads the new activation, and not a clock earlier."""
    at = timing()
    written = 2 + 4  # collector, and an activation whose table has a register for its position
    assert at.activation_written + at.read_x == max(written, at.read_x)
