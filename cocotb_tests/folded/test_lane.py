"""rtl.folded.lanes.lane against golden_model.update.memory.WeightMemory and
golden_model.forward."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import as_signed, config_of, spread
from mgd.golden_model.formats import saturate, stochastic_round
from mgd.golden_model.forward import weighted_sum, with_bias
from mgd.golden_model.network import ACT_FRAC, ACT_MAX, ACT_MIN, ONE, ROUND_BITS, SHIFT_MIN
from mgd.golden_model.settings import Settings
from mgd.golden_model.update.memory import WeightMemory
from mgd.golden_model.update.rule import LayerStep
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.lane import SUM_CONTROL, Lane
from mgd.rtl.interface import packed_fields

INPUTS = 11
ACCUMULATE = packed_fields(SUM_CONTROL, accumulate=1)
TAKE_AND_EMPTY = packed_fields(SUM_CONTROL, take=1, empty=1)
EMPTY = packed_fields(SUM_CONTROL, empty=1)
SHIFT = packed_fields(SUM_CONTROL, shift=1)
ACCUMULATING = {"accumulators": True, "tau_theta_max": 6}
RESIDUAL = {"rounding": "residual", "delta_exp": 4}
CASES = {
    "16_bits": ({}, [{"eta_exp": 9}, {"method": "wp", "eta_exp": 0}]),
    "8_bits": ({"weight_bits": 8}, [{"eta_exp": 6}, {"eta_exp": 0, "delta_exp": 8}]),
    "18_bits_accumulators": (
        dict(weight_bits=18, **ACCUMULATING),
        [
            {"eta_exp": 3},
            dict(eta_exp=1, tau_theta=3, **RESIDUAL),  # S < 0
            dict(method="wp", eta_exp=5, tau_theta=2, **RESIDUAL),  # S = 0
            dict(eta_exp=29, tau_theta=6, **RESIDUAL),  # S = shift_max
        ],
    ),
    "8_bits_accumulators": (
        dict(weight_bits=8, cost_frac=16, **ACCUMULATING, shift_max=32),
        [
            dict(eta_exp=12, tau_theta=6, **RESIDUAL),
            {"method": "wp", "eta_exp": 0, "rounding": "residual", "delta_exp": 12},
            {"eta_exp": 1, "delta_exp": 12},
        ],
    ),
}
RULES = {
    "18_bits_momentum": (
        dict(weight_bits=18, **ACCUMULATING | {"tau_theta_max": 100}),
        [
            dict(momentum_exp=3, eta_exp=8, tau_theta=3, **RESIDUAL),
            dict(momentum_exp=3, method="wp", eta_exp=5, **RESIDUAL),  # S = 0
            dict(momentum_exp=3, eta_exp=26, tau_theta=2, **RESIDUAL),  # S + k = shift_max
        ],
    ),
    "16_bits_decay": (
        ACCUMULATING | {"tau_theta_max": 2000, "shift_max": 16},
        [
            dict(decay_exp=2, eta_exp=6, tau_theta=3, **RESIDUAL),
            dict(decay_exp=2, eta_exp=3, **RESIDUAL),  # half a weight unit, rounded
            dict(decay_exp=2, method="wp", eta_exp=0, tau_theta=2, **RESIDUAL),  # S < 0
            dict(decay_exp=2, eta_exp=17, tau_theta=2, **RESIDUAL),
        ],
    ),
    "8_bits_momentum_and_decay": (
        dict(weight_bits=8, **ACCUMULATING | {"tau_theta_max": 500}),
        [
            dict(momentum_exp=4, decay_exp=9, eta_exp=12, tau_theta=2, **RESIDUAL),
            dict(momentum_exp=4, decay_exp=9, method="wp", eta_exp=3, **RESIDUAL),
        ],
    ),
}
"""Wiring: all settings of a case have the same."""
ALL = CASES | RULES


def config_for(given) -> CoreConfig:
    variant = BuildOptions.of(Settings(**given["settings"][0]))
    return replace(config_of(given), variant=variant, memory_register=given["memory_register"])


def row_of(name: str, clips: bool, memory_register: bool = True, fixed=(), lanes: int = 1) -> Row:
    fields, settings = ALL[name]
    if fixed:
        settings = [s for s in settings if s.get("method", "np") == "np"]
    given = {
        "fixed": fixed,
        "network": {"layers": (INPUTS, lanes), **fields},
        "lanes": lanes,
        "settings": settings,
        "clips": clips,
        "memory_register": memory_register,
    }
    return Row(Lane(config_for(given)), equals_update_and_sum, given)


@pytest.mark.simulated
@pytest.mark.parametrize("memory_register", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_lane(name, memory_register):
    return row_of(name, clips=False, memory_register=memory_register)


@pytest.mark.simulated
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fixed", [[], [("method", "np")]])
def test_lane_of_many(name, fixed):
    """With registers of its own in front of its multiplier."""
    return row_of(name, clips=False, fixed=fixed, lanes=9)


@pytest.mark.simulated
@pytest.mark.parametrize("name", CASES)
def test_lane_of_a_core_that_perturbs_nodes_alone(name):
    return row_of(name, clips=False, fixed=[("method", "np")])


@pytest.mark.simulated
@pytest.mark.parametrize("name", ALL)
def test_lane_counts_saturations(name):
    return row_of(name, clips=True)


class Driver:
    """Sets pins at given clocks and looks at outputs at given clocks."""

    CONTROLS = (
        *("update_term", "apply_accumulator", "accumulates", "write", "clear"),
        *("signs", "products", "host_write_gradient", "hide_gradient"),
    )
    NOISE = ("previous_sign", "x", "sign", "write_address", "add_sign")

    def __init__(self, dut, random):
        self.dut, self.random, self.now = dut, random, 0
        self.pins: dict[int, dict[str, int]] = {}
        self.checks: dict[int, list] = {}
        self.counted: set[int] = set()
        """Clocks in which `clipped` belongs to a token."""
        self.clips = self.clips_expected = 0

    def at(self, clock: int, **pins: int) -> None:
        self.pins.setdefault(clock, {}).update(pins)

    def check(self, clock: int, *pins_and_values) -> None:
        self.checks.setdefault(clock, []).append(pins_and_values)

    async def run(self) -> None:
        """Until nothing is left to do."""
        while self.pins or self.checks:
            given = self.pins.pop(self.now, {})
            for name in self.NOISE:
                pin = getattr(self.dut, name)
                top = (INPUTS + 1) if name == "write_address" else 1 << len(pin)
                given.setdefault(name, self.random.randrange(top))
            for name in self.CONTROLS:
                given.setdefault(name, 0)
            for name, value in given.items():
                pin = getattr(self.dut, name)
                pin.value = value & ((1 << len(pin)) - 1)
            await ReadOnly()
            self.clips += self.now in self.counted and int(self.dut.clipped.value)
            for name, wanted, what in self.checks.pop(self.now, []):
                pin = getattr(self.dut, name)
                got = as_signed(int(pin.value), len(pin)) if len(pin) > 1 else int(pin.value)
                assert got == wanted, f"{name} {what}: expected {wanted}, got {got}"
            self.now += 1
            await FallingEdge(self.dut.clk)


@dataclass
class Node:
    """One node's memory, with the inputs and signs of its last step."""

    memory: WeightMemory
    shift: int
    inputs: np.ndarray
    """(1, INPUTS + 1)"""
    signs: np.ndarray
    """(1, 1, INPUTS + 1), or one sign for node perturbation."""

    @property
    def weights(self) -> np.ndarray:
        return self.memory.weights[0][0, 0]

    @property
    def accumulators(self) -> np.ndarray:
        return self.memory.accumulators[0][0, 0]

    @property
    def saturations(self) -> int:
        return int(self.memory.saturations[0])

    def update(self, delta: int, byte: int, change: bool) -> None:
        random, delta_cost = np.array([byte]), np.array([delta])
        part = LayerStep(0, delta_cost, self.signs, self.inputs, None, random, self.shift)
        self.memory.update([part], change)


def sweep(d: Driver, lane: Lane, node: Node, *, idle: float, flush: bool, **update) -> None:
    """Plan one sweep: the update of `node`, then the sums with new inputs and signs.

    Without delta, byte and change it is a sweep that updates nothing, as a second pass.
    """
    config, random = lane.config, d.random
    net, later, own = config.network, lane.latency, config.operand_clocks
    delta, byte = update.get("delta", 0), update.get("byte", 0)
    settings = node.memory.settings
    old_x, signs = node.inputs[0], node.signs[0, 0]
    before = node.saturations
    if update:
        node.update(delta, byte, update["change"])
    d.clips_expected += node.saturations - before
    shift = ACT_FRAC + (0 if settings.accumulates else node.shift)
    limit = (1 << (config.share_bits - 1)) - 1

    kind = random.random()
    x = [spread(random, ACT_MIN, ACT_MAX) for _ in range(INPUTS)]
    if kind < 0.2:
        x = [ACT_MIN] * INPUTS
    x = with_bias(np.array(x))
    new_signs = [random.choice((1, -1)) for _ in x]
    if kind < 0.1:
        new_signs = [1] * INPUTS + [-1]
    add = [settings.method == "wp" or j == INPUTS for j in range(INPUTS + 1)]
    weights = node.weights
    clock = last = d.now
    for j in range(INPUTS + 1):
        while random.random() < idle:
            clock += 1
        exact = stochastic_round(
            delta * int(old_x[j] if settings.perturbs_nodes else ONE), shift, byte, ROUND_BITS
        )
        sign = int(signs[j if len(signs) > 1 else 0])
        d.at(clock, address=j)
        d.at(clock + later, x=int(x[j]))
        if update:
            d.at(
                clock + 2,
                update_term=int(saturate(exact, -limit, limit)),
                previous_sign=int(sign < 0),
                accumulates=int(settings.accumulates),
                apply_accumulator=int(settings.accumulates and update["change"]),
            )
            d.at(clock + later, write=1, write_address=j)
        if not flush:
            d.at(clock + later, sign=int(new_signs[j] < 0), add_sign=int(add[j]))
            d.at(clock + later + own, signs=ACCUMULATE)
            d.at(clock + later + own + 1, products=ACCUMULATE)
        d.counted.add(clock + later)
        d.check(clock + later, "new_weight", int(weights[j]), f"input {j}, {settings}")
        if net.accumulators:
            d.check(clock + later, "new_gradient", int(node.accumulators[j]), f"input {j}")
        last, clock = clock, clock + 1
    if not flush:
        done = last + later + own + 1
        scale = net.grid_frac - net.weight_frac
        d.at(done, signs=TAKE_AND_EMPTY)
        d.at(done + 1, products=TAKE_AND_EMPTY)
        half = 1 << (net.pre_shift - 1 - scale)
        exact = int(weighted_sum(weights[None], x, net)[0]) >> scale
        d.check(done + 2, "sum", (exact + half) >> config.sum_cut, "")
        total = sum(s * int(v) for s, v, a in zip(new_signs, x, add, strict=True) if a)
        if config.nodes_only:
            total = int(new_signs[-1] < 0)
        d.check(done + 1, "sign_sum", total, "")
        widths = config.out_bits, config.sign_sum_bits
        chained = [random.getrandbits(width) for width in widths]
        d.at(done + 1, signs=SHIFT, chain_sign_sum=chained[1])
        d.at(done + 2, products=SHIFT, chain_sum=chained[0])
        d.check(done + 3, "sum", as_signed(chained[0], widths[0]), "shifted")
        sign_sum = chained[1] if config.nodes_only else as_signed(chained[1], widths[1])
        d.check(done + 2, "sign_sum", sign_sum, "shifted")


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def equals_update_and_sum(dut):
    given, random = params(), rng()
    config = config_for(given)
    net, lane = config.network, Lane(config)
    await start_clock(dut)
    d = Driver(dut, random)
    low, high = net.weight_min, net.weight_max
    bound = 2 * net.cost_bound
    for number, fields in enumerate(given["settings"] * 2):
        settings = Settings(**fields)
        weights = [spread(random, low, high) for _ in range(INPUTS)] + [random.randint(low, high)]
        if number == 0:
            weights = [low] * INPUTS + [high]  # with x = ACT_MIN the largest sum there is
        settings.check(net)
        memory = WeightMemory(net, settings, [np.array([[weights]])])
        nothing = np.zeros((1, INPUTS + 1), dtype=np.int64)
        shift = settings.shift_at(0, net)
        node = Node(memory, shift, nothing, nothing[None])
        # As the host does: to the least weight, then up from there, whatever the sign.
        for moves in (
            [-(1 << (config.change_bits - 1))] * len(weights),
            [w - low for w in weights],
        ):
            for j, move in enumerate(moves):
                d.at(d.now + j, address=j)
                d.at(d.now + j + 2, update_term=move, previous_sign=1)
                d.at(d.now + j + lane.latency, write=1, write_address=j)
            await d.run()
        for j in range(INPUTS + 1):
            d.at(d.now + j, clear=1, write_address=j, signs=EMPTY, products=EMPTY)
        await d.run()
        gradients = [0] * len(weights)
        if net.accumulators:
            end = 1 << (net.gradient_bits - 1)
            gradients = [spread(random, -end, end - 1) for _ in weights]
            for j, value in enumerate(gradients):
                d.at(
                    d.now + j,
                    host_write_gradient=1,
                    host_gradient=value & (2 * end - 1),
                    write_address=j,
                )
            await d.run()
        # A pair of clocks each: `hide_gradient` is high in both, or in none.
        for j, value in enumerate(gradients if net.accumulators else ()):
            clock, hides = d.now + 2 * j, random.getrandbits(1)
            d.at(clock, address=j)
            for k in (1, 2):
                d.at(clock + k, hide_gradient=hides)
            d.check(clock + 2, "read_gradient", 0 if hides else value, f"read back {j}")
        await d.run()
        for j in range(INPUTS + 1):
            d.at(d.now + j, clear=1, write_address=j)
        await d.run()
        dut.shift_right.value = shift - SHIFT_MIN
        mask = (1 << shift) - 1 if shift > 0 else 0
        dut.residual_mask.value = mask & ((1 << max(net.gradient_bits, 1)) - 1)
        for step in range(26):
            x = np.array([spread(random, ACT_MIN, ACT_MAX) for _ in range(INPUTS)])
            signs = np.array([random.choice((1.0, -1.0)) for _ in range(INPUTS + 1)])
            # Steps 6 to 17: everything pushes one way, as far as it can.
            pushing = 6 <= step < 18
            if pushing:
                x[:], signs[:] = ACT_MIN, 1.0
            if settings.perturbs_nodes:
                signs = signs[:1]
            node.inputs, node.signs = with_bias(x)[None], signs[None, None]
            small = random.randint(-(1 << 12), 1 << 12)
            delta = random.choice((small, spread(random, -bound, bound)))
            if step == 0 or number == 0:
                delta = 0 if step < 2 else delta
            change = (step + 1) % settings.tau_theta == 0
            sweep(
                d,
                lane,
                node,
                idle=random.choice((0.0, 0.4)),
                flush=random.random() < 0.2,
                delta=bound * (1 if number % 2 else -1) if pushing else delta,
                byte=random.getrandbits(ROUND_BITS),
                change=change,
            )
            await d.run()
            if step % 3 == 0:
                sweep(d, lane, node, idle=0.0, flush=False)
                await d.run()
            if given["clips"]:
                assert d.clips == d.clips_expected, f"step {step}, {settings}: saturations"
