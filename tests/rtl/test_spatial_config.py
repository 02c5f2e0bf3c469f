"""rtl.spatial.config: the weights' places, constants, refusals and widths."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.formats import floor_shift, stochastic_round
from mgd.golden_model.network import ACT_FRAC, ACT_MAX, ACT_MIN, ONE, ROUND_BITS, Network
from mgd.golden_model.settings import Settings
from mgd.protocol.fixed_settings import FIXABLE, fixed_settings
from mgd.protocol.identity import Identity
from mgd.protocol.layout import spatial
from mgd.protocol.layout.spatial import CONSTANTS
from mgd.protocol.record import Samples, sample_records
from mgd.protocol.rules import PARAMETERS_MAX
from mgd.rtl.spatial.config import SpatialConfig
from tests.rtl.test_config import numbered

SHAPES = [(2, 2, 1), (3, 1), (7, 13, 3), (5, 4, 3, 2), (1, 1), (1, 1, 9)]
RESIDUAL = Network((3, 2), accumulators=True, tau_theta_max=5)


def read_back(config: SpatialConfig) -> SpatialConfig:
    """The core that a host reads in this one's identity record."""
    said = Identity.of(
        config.network,
        config.lanes,
        config.lane_words,
        sample_memory=64,
        clock_hz=12_000_000,
        constants=config.constant_words,
        options=config.variant.word(),
    )
    return SpatialConfig.of_identity(config.network, Identity.from_words(said.words()))


def plain(layers: tuple[int, ...]) -> SpatialConfig:
    return SpatialConfig.of(Network(layers), Settings())


@pytest.mark.parametrize("layers", SHAPES)
def test_to_lanes_and_back(layers):
    config = plain(layers)
    weights = numbered(config.network)
    memory = config.to_lanes(weights)
    assert memory.shape == (config.lanes, config.lane_words) == (1, config.network.parameters)
    # Layer after layer, neuron after neuron, the bias last: the order of the numbers.
    assert memory[0].tolist() == list(range(1, config.network.parameters + 1))
    back = config.from_lanes(memory)
    assert len(back) == config.network.depth
    for before, after in zip(weights, back, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("layers", SHAPES)
def test_places(layers):
    config = plain(layers)
    memory, weights = config.to_lanes(numbered(config.network)), numbered(config.network)
    places = [config.locate_weight(0, word) for word in range(config.lane_words)]
    assert len(set(places)) == config.lane_words
    for word, (layer, node, position) in enumerate(places):
        assert weights[layer][node, position] == memory[0, word]
    with pytest.raises(IndexError):
        config.locate_weight(0, config.lane_words)


def test_negative_weights():
    config = plain((2, 1))
    assert config.to_lanes([np.array([[-32768, 32767, -1]])]).tolist() == [[-32768, 32767, -1]]


def test_nodes_before():
    config = plain((5, 4, 3, 2))
    assert [config.nodes_before(layer) for layer in range(3)] == [0, 4, 7]


@pytest.mark.parametrize("nodes", [False, True])
@pytest.mark.parametrize("antithetic", [False, True])
def test_constants_there_and_back(nodes, antithetic):
    config = SpatialConfig(
        RESIDUAL, nodes, antithetic, 7, shift_low=-3, shift_high=11, update_delay=33
    )
    assert len(config.constant_words) == len(CONSTANTS)
    assert config.passes == (2 if antithetic else 1)
    assert read_back(config) == config


def test_what_is_fixed_is_told():
    settings = Settings(rounding="residual", eta_exp=9, tau_x=30, tau_theta=5)
    fixed = fixed_settings(settings, FIXABLE)
    config = SpatialConfig.of(RESIDUAL, settings, fixed)
    # The method, the difference and the rounding are constants in any case.
    assert config.fixed == tuple(pair for pair in fixed if pair[0] in spatial.FIXABLE)
    assert config.constants == {
        "delta_exp": settings.delta_exp,
        "eta_exp": 9,
        "tau_x": 30,
        "tau_p": settings.tau_p,
        "tau_theta": 5,
    }
    assert (config.longest("tau_x", 99), config.longest("tau_p", 99)) == (30, settings.tau_p)
    assert read_back(config) == config
    config.check(settings)
    text = refused(config.check, dataclasses.replace(settings, tau_x=31))
    assert text.startswith("tau_x = 31: this core was built for 30")
    text = refused(lambda: dataclasses.replace(config, fixed=(("method", "np"),)))
    assert text.startswith("fixed = 'method': it cannot be fixed in this core")
    assert "; give each of delta_exp" in text


def test_of_takes_what_the_settings_say():
    settings = Settings(
        method="wp", difference="forward", rounding="residual", eta_exp=9, input_shift=6
    )
    config = SpatialConfig.of(RESIDUAL, settings, product_dsp=False)
    shift = settings.shift(RESIDUAL)
    assert config == SpatialConfig(RESIDUAL, False, False, 6, shift, shift, product_dsp=False)
    config.check(settings)
    # A left shift: the accumulators hold a multiple of G.
    small = dataclasses.replace(settings, eta_exp=1, delta_exp=5)
    assert small.shift(RESIDUAL) == -3
    config = SpatialConfig.of(RESIDUAL, small)
    assert (config.shift_low, config.shift_high, config.align_max) == (-3, 0, 3)
    assert config.gradient_scale(small) == 8
    config.check(small)


# -- what is refused --------------------------------------------------------------------------


def refused(call, *args) -> str:
    with pytest.raises(UserError) as error:
        call(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_accumulators_with_stochastic_rounding():
    text = refused(SpatialConfig.of, RESIDUAL, Settings(rounding="stochastic"))
    assert "accumulators and rounding = 'stochastic'" in text
    assert "rounding = 'residual', or accumulators = false" in text


def test_too_many_parameters():
    assert plain((PARAMETERS_MAX - 1, 1)).lane_words == PARAMETERS_MAX
    text = refused(plain, (PARAMETERS_MAX // 2 - 1, 2, 1))
    assert f"{PARAMETERS_MAX + 3:,} parameters" in text
    assert f"{PARAMETERS_MAX:,} are the limit" in text


BUILT = Settings(rounding="residual", eta_exp=9, delta_exp=5, tau_theta=4, input_shift=3)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"method": "wp"}, "method = 'wp': this spatial core was built for 'np'"),
        ({"difference": "forward"}, "difference = 'forward': this spatial core was built for 'ant"),
        ({"input_shift": 4}, "input_shift = 4: this spatial core was built for 3"),
        ({"rounding": "stochastic", "tau_theta": 1}, "rounding = 'stochastic': this spatial core"),
        ({"eta_exp": 10}, "eta_exp = 10 with delta_exp = 5 makes an update shift of 6"),
        ({"delta_exp": 6}, "eta_exp = 9 with delta_exp = 6 makes an update shift of 4"),
    ],
)
def test_settings_that_the_core_was_not_built_for(changes, part):
    config = SpatialConfig.of(RESIDUAL, BUILT)
    config.check(BUILT)
    assert part in refused(config.check, dataclasses.replace(BUILT, **changes))


def test_settings_that_stay_registers():
    config = SpatialConfig.of(RESIDUAL, BUILT)
    both = {"eta_exp": 11, "delta_exp": 7}
    for changes in (both, {"tau_theta": 5}, {"tau_x": 9}, {"tau_p": 3}):
        config.check(dataclasses.replace(BUILT, **changes))


def test_another_schedule_than_the_core_was_built_for():
    network = Network((3, 2))
    sequential, pipelined = Settings(), Settings(update_delay=31)
    for built, wanted, parts in (
        (sequential, pipelined, ["schedule = 'pipelined'", "built for 'sequential'"]),
        (pipelined, sequential, ["schedule = 'sequential'", "built for 'pipelined'"]),
        (pipelined, Settings(update_delay=33), ["schedule = 'pipelined'", "31 steps late", "33"]),
    ):
        config = SpatialConfig.of(network, built)
        assert config.pipelined == (built is pipelined)
        config.check(built)
        text = refused(config.check, wanted)
        assert all(part in text for part in parts), text
        assert "build it for this task" in text
        assert "update_delay" not in text


def test_variants():
    with pytest.raises(UserError, match="scope = 'layer' with core = 'spatial'"):
        SpatialConfig.of(RESIDUAL, dataclasses.replace(BUILT, scope="layer"))
    with pytest.raises(UserError, match="gate_zeros = true with core = 'spatial'"):
        SpatialConfig.of(RESIDUAL, dataclasses.replace(BUILT, gate_zeros=True))
    with pytest.raises(UserError, match="skip_zeros = true with core = 'spatial'"):
        SpatialConfig.of(RESIDUAL, dataclasses.replace(BUILT, skip_zeros=True))
    with pytest.raises(UserError, match="perturbation = 'sequential' with core = 'spatial'"):
        SpatialConfig.of(RESIDUAL, dataclasses.replace(BUILT, perturbation="sequential"))
    frozen = dataclasses.replace(BUILT, trainable=(True, False))
    config = SpatialConfig.of(dataclasses.replace(RESIDUAL, layers=(*RESIDUAL.layers, 2)), frozen)
    config.check(frozen)
    assert read_back(config) == config
    with pytest.raises(UserError, match=r"trainable = \[\]: this core was built for \[true, false"):
        config.check(BUILT)


@pytest.mark.parametrize("fields", [{"halve_every": 9}, {"warmup_exp": 2}])
def test_a_schedule_of_the_learning_rate(fields):
    """Not where accumulators hold what was left over; elsewhere the shift is a register."""
    (name, value) = next(iter(fields.items()))
    with pytest.raises(UserError, match=f"{name} = {value}: the accumulators of a spatial"):
        SpatialConfig.of(RESIDUAL, dataclasses.replace(BUILT, **fields))
    config = SpatialConfig.of(RESIDUAL, BUILT)
    with pytest.raises(UserError, match=f"{name} = {value}: the accumulators of a spatial"):
        config.check(dataclasses.replace(BUILT, **fields))
    plain = dataclasses.replace(RESIDUAL, accumulators=False, tau_theta_max=1)
    settings = Settings(eta_exp=9, input_shift=3, **fields)
    config = SpatialConfig.of(plain, settings)
    config.check(dataclasses.replace(settings, eta_exp=12))


@pytest.mark.parametrize("shift", [2, 3, 4, 5, 6])
def test_a_range_of_shifts(shift):
    config = SpatialConfig(RESIDUAL, True, True, 3, shift_low=3, shift_high=5)
    settings = dataclasses.replace(BUILT, eta_exp=BUILT.eta_exp + shift - 5)
    assert settings.shift(RESIDUAL) == shift
    if 3 <= shift <= 5:
        config.check(settings)
        assert config.gradient_scale(settings) == 1 << (5 - shift)
    else:
        assert "built for 3 to 5" in refused(config.check, settings)


# -- widths -----------------------------------------------------------------------------------

WIDTHS = {
    "wp": (RESIDUAL, False, True, 5, 5),
    "np": (RESIDUAL, True, False, 5, 5),
    "range": (dataclasses.replace(RESIDUAL, hidden="relu"), True, True, -4, 6),
    "no_residual": (dataclasses.replace(RESIDUAL, tau_theta_max=1), False, False, -4, 0),
    "entropy": (
        Network((6, 10), cost="cross_entropy", weight_bits=8, accumulators=True, tau_theta_max=300),
        *(True, True, 0, 12),
    ),
}


def fits(value: int, bits: int) -> bool:
    return -(1 << (bits - 1)) <= value < 1 << (bits - 1)


@pytest.mark.parametrize("name", WIDTHS)
def test_shares_and_accumulators_fit(name):
    """The worst that costs and inputs can do, at each shift; and not a bit to spare."""
    net, nodes, antithetic, low, high = WIDTHS[name]
    config = SpatialConfig(net, nodes, antithetic, 0, low, high)
    largest_share = largest = 0
    ends = (-ONE, ONE) if config.x_bound == ONE else (ACT_MIN, ACT_MAX)
    # C⁺ − C⁻, or twice C − C0: a cost is 0 or more.
    bound = net.cost_bound * (1 if antithetic else 2)
    for shift in range(low, high + 1):
        for delta in (bound, -bound):
            shares = [delta]
            if nodes:
                shares = [
                    int(stochastic_round(delta * x, ACT_FRAC, byte, ROUND_BITS))
                    for x in (*ends, ONE)
                    for byte in (0, (1 << ROUND_BITS) - 1)
                ]
            for share in shares:
                placed = share << (high - shift)
                assert fits(placed, config.share_bits)
                # A residual that a window begins with, then the same share in each step.
                total = (1 << high) - 1 if share > 0 else 0
                total += net.tau_theta_max * placed
                assert fits(total, config.gradient_bits)
                # Subtracting it where the sign is −1.
                assert fits((1 << high) - 1 - net.tau_theta_max * placed, config.gradient_bits)
                # The weight to come, inverted, in the place of what is taken.
                taken = [total + (~w << high) for w in (net.weight_min, net.weight_max)]
                assert all(fits(value, config.gradient_bits) for value in taken)
                whole = floor_shift(total, high)
                assert whole == floor_shift(
                    (((1 << high) - 1) >> (high - shift) if share > 0 else 0)
                    + net.tau_theta_max * share,
                    shift,
                ), "what the weight takes is that of G and S"
                largest = max(largest, *map(abs, taken))
                largest_share = max(largest_share, abs(placed))
    assert not fits(2 * largest + 2, config.gradient_bits)
    assert not fits(2 * largest_share + 2, config.share_bits)


def test_widths_without_accumulators():
    config = plain((2, 1))
    assert (config.gradient_bits, config.share_bits) == (0, config.change_bits)
    limit = (1 << (config.share_bits - 1)) - 1
    net = config.network
    assert net.weight_max - limit < net.weight_min
    assert net.weight_min + limit > net.weight_max


# -- samples ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "bits", "classes", "widths", "stride"),
    [
        (2, 2, 1, [1, 4], 2),
        (49, 1, 4, [2, 16, 16, 16, 1], 8),
        (3, 5, 9, [4, 15], 2),
        (9, 4, 3, [2, 16, 16, 4], 4),
        (1, 16, 2, [1, 16], 2),
        (7, 16, 2, [1] + 7 * [16], 8),
    ],
)
def test_records(inputs, bits, classes, widths, stride):
    network = Network((inputs, classes), sample_bits=bits)
    config = SpatialConfig.of(network, Settings())
    assert config.word_widths == widths
    assert config.record_stride == stride
    assert network.sample_words <= stride
    assert config.gated_codes == (bits == 1)
    samples = Samples(np.full((3, inputs), network.code_max), np.full(3, network.classes - 1))
    records = sample_records(samples, network, stride)
    assert records.shape == (3, stride)
    for word, width in enumerate(widths):
        assert int(records[0, word]).bit_length() <= width
    assert not records[:, len(widths) :].any()
    np.testing.assert_array_equal(
        records[:, : network.sample_words], sample_records(samples, network)
    )
