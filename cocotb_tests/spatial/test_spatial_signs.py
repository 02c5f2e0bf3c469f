"""rtl.spatial.sign_windows against golden_model.signs.sequence: windows, leaps of any length, the
start."""

from __future__ import annotations

import cocotb
import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import rng
from cocotb_tests.support.side_by_side import Part, SideBySide, together
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import network_of
from mgd.golden_model.learning import LEARNING
from mgd.golden_model.network import ROUND_BITS
from mgd.golden_model.seeds import start_state
from mgd.golden_model.signs.sequence import STATE_BITS, stream_states
from mgd.golden_model.trainer import SignSource
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.sign_windows import SignWindow, WindowLoader, sign_leap

CASES = {
    "wp": ({"layers": (2, 3, 1)}, False),
    "np": ({"layers": (2, 3, 1)}, True),
    "one_neuron": ({"layers": (1, 1)}, False),
    # As many signs in a draw as a window has bits, one more, and more than twice as many.
    "wide": ({"layers": (60, 2, 1)}, False),
    "wider": ({"layers": (61, 1)}, False),
    "widest": ({"layers": (130, 2, 1)}, False),
}
DRAWS = 70


class Streams(wiring.Component):
    """A starter and the windows of the first and last neuron of each layer, and the bytes'."""

    def __init__(self, config: SpatialConfig) -> None:
        self.config = config
        net = config.network
        self.fan_in = dict(self.neurons(config))
        leaps = {f"n{k}": sign_leap(config, f) for k, f in self.fan_in.items()}
        leaps[f"n{net.neurons}"] = ROUND_BITS
        self.leaps = leaps
        super().__init__(
            {
                **{name: In(members.shape) for name, members in self._starter_inputs().items()},
                "busy": Out(1),
                "step": In(1),
                **{name: Out(leap) for name, leap in leaps.items()},
            }
        )

    def _starter_inputs(self):
        members = WindowLoader(self.config).signature.members
        return {name: members[name] for name in ("start", "seed")}

    @staticmethod
    def neurons(config: SpatialConfig):
        """(number, fan_in) of those that are watched."""
        first = 0
        for fan_in, nodes in zip(config.network.layers, config.network.layers[1:], strict=False):
            for node in {0, nodes - 1}:
                yield first + node, fan_in
            first += nodes

    def elaborate(self, platform):
        m = Module()
        m.submodules.starter = starter = WindowLoader(self.config)
        m.d.comb += [
            starter.start.eq(self.start),
            starter.seed.eq(self.seed),
            self.busy.eq(starter.busy),
        ]
        for name, leap in self.leaps.items():
            m.submodules[name] = stream = SignWindow(leap)
            m.d.comb += [
                stream.load.eq(starter.load[int(name[1:])]),
                stream.bit.eq(starter.bit),
                stream.advance.eq(self.step),
                getattr(self, name).eq(stream.signs),
            ]
        return m


def configured(name: str) -> SpatialConfig:
    fields, nodes = CASES[name]
    return SpatialConfig(
        network_of(fields), nodes=nodes, antithetic=True, input_shift=0, shift_low=0, shift_high=0
    )


@pytest.mark.simulated
def test_sign_streams():
    streams = {name: Streams(configured(name)) for name in CASES}
    return Row(SideBySide(streams), equals_sign_source, seed=7)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def equals_sign_source(dut):
    await start_clock(dut)
    await together(*(follow(Part(dut, name), configured(name)) for name in CASES))


async def follow(dut, config: SpatialConfig) -> None:
    net, random = config.network, rng()
    for seed in (1, 2**33 + 5):
        widths = LEARNING["np" if config.nodes else "wp"].widths_of(net.layers)
        source = SignSource(net, [start_state(seed)], widths)
        dut.seed.value, dut.start.value = start_state(seed), 1
        await FallingEdge(dut.clk)
        dut.start.value, dut.seed.value = 0, random.getrandbits(STATE_BITS)
        clocks = 0
        while True:
            await ReadOnly()
            busy = int(dut.busy.value)
            await FallingEdge(dut.clk)
            if not busy:
                break
            clocks += 1
        assert clocks == STATE_BITS * (net.neurons + 1)
        for number in range(DRAWS):
            drawn = np.concatenate([s[0] < 0 for s in source.draw()], axis=None)
            row, place = [], 0
            for fan_in, nodes in zip(net.layers, net.layers[1:], strict=False):
                leap = sign_leap(config, fan_in)
                row += [drawn[place + k * leap : place + (k + 1) * leap] for k in range(nodes)]
                place += nodes * leap
            byte = int(source.random_bytes()[0])
            for _ in range(random.randrange(3)):
                # Without `step` nothing moves.
                await FallingEdge(dut.clk)
            await ReadOnly()
            for neuron, _ in Streams.neurons(config):
                wanted = sum(int(bit) << k for k, bit in enumerate(row[neuron]))
                got = int(getattr(dut, f"n{neuron}").value)
                assert got == wanted, f"{net.describe()}, neuron {neuron}, draw {number}"
            assert int(getattr(dut, f"n{net.neurons}").value) == byte, f"byte {number}"
            await FallingEdge(dut.clk)
            dut.step.value = 1
            await FallingEdge(dut.clk)
            dut.step.value = 0


@pytest.mark.simulated
def test_starter():
    """Alone: which window takes a bit, and which bit."""
    starters = {name: WindowLoader(configured(name)) for name in ("wp", "one_neuron")}
    return Row(SideBySide(starters), brings_windows, seed=3)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def brings_windows(dut):
    await start_clock(dut)
    await together(*(watch(Part(dut, name), configured(name)) for name in ("wp", "one_neuron")))


async def watch(dut, config: SpatialConfig) -> None:
    count = config.network.neurons + 1
    for seed in (start_state(4), 1, (1 << STATE_BITS) - 1):
        dut.seed.value, dut.start.value = seed, 1
        await FallingEdge(dut.clk)
        dut.start.value, dut.seed.value = 0, 0
        windows = [0] * count
        for clock in range(count * STATE_BITS):
            await ReadOnly()
            target, place = divmod(clock, STATE_BITS)
            assert int(dut.load.value) == 1 << target
            assert int(dut.busy.value)
            windows[target] |= int(dut.bit.value) << place
            await FallingEdge(dut.clk)
        assert windows == stream_states(seed, count - 1)
        for _ in range(2 * STATE_BITS):
            await ReadOnly()
            assert not int(dut.load.value)
            assert not int(dut.busy.value)
            await FallingEdge(dut.clk)
