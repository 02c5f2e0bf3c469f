"""rtl.folded.signs against golden_model.trainer.SignSource: replay, saving, gaps and random
bytes."""

from __future__ import annotations

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import clocks_until, config_of
from mgd.golden_model.learning import LEARNING
from mgd.golden_model.network import ROUND_BITS
from mgd.golden_model.seeds import start_state
from mgd.golden_model.signs.sequence import start_states_at
from mgd.golden_model.trainer import SignSource
from mgd.rtl.folded.signs import SignGenerator

CASES = {
    "3-1_1_lane": ((3, 1), 1),
    "7-13-3_3_lanes": ((7, 13, 3), 3),
    "7-13-3_8_lanes": ((7, 13, 3), 8),
    "1-2-5-2_2_lanes": ((1, 2, 5, 2), 2),
}
DRAWS = 6


@pytest.mark.simulated
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", [None, "np", "wp"])
def test_signs(name, method):
    layers, lanes = CASES[name]
    given = {"network": {"layers": layers}, "lanes": lanes}
    if method:
        given["fixed"] = [("method", method)]
    return Row(SignGenerator(config_of(given)), equals_sign_source, given, seed=5)


@pytest.mark.simulated
@pytest.mark.parametrize("name", CASES)
def test_signs_of_inputs_that_are_not_0(name):
    layers, lanes = CASES[name]
    given = {"network": {"layers": layers}, "lanes": lanes, "variant": {"skip_zeros": True}}
    return Row(SignGenerator(config_of(given)), equals_sign_source, given, seed=6)


class Sweeps:
    """Sends sweeps of tokens and checks the signs of each, at both latencies."""

    def __init__(self, dut, config, random):
        self.dut, self.config, self.random = dut, config, random
        self.expected: list[tuple[int, int, list[int], list[int]] | None] = []
        self.checked = 0

    async def clock(self, expected=None) -> None:
        """One clock with the pins as they are; `expected`: of the token now on them."""
        self.expected.append(expected)
        await ReadOnly()
        for latency, pin, which in (
            (SignGenerator.latency, self.dut.previous_signs, 1),
            (SignGenerator.signs_latency, self.dut.signs, 0),
        ):
            due = self.expected[-1 - latency] if len(self.expected) > latency else None
            if due is not None:
                active, where, *signs = due
                if signs[which] is None:
                    continue
                wanted = sum((s < 0) << p for p, s in enumerate(signs[which]))
                got = int(pin.value) & ((1 << active) - 1)
                assert got == wanted, f"{pin._name} of token {where}: {got} instead of {wanted}"
                self.checked += 1
        await FallingEdge(self.dut.clk)

    async def sweep(self, now, before, *, slot, previous_slot, save, idle, unchecked=False):
        """All groups once; now and before: signs per layer (nodes, fan_in+1 or 1)."""
        dut, cfg, random = self.dut, self.config, self.random
        for layer in range(cfg.network.depth):
            tokens = self.tokens(layer)
            for group in range(cfg.groups[layer]):
                active = cfg.active(layer, group)
                rows = range(group * cfg.lanes, group * cfg.lanes + active)
                for j, places in enumerate(tokens):
                    while random.random() < idle:
                        dut.valid.value = 0
                        self.scramble()
                        await self.clock()
                    dut.valid.value = 1
                    dut.first.value, dut.last.value = j == 0, j == len(tokens) - 1
                    if cfg.variant.skip_zeros:
                        dut.uses_current.value = int(places[0] is not None)
                        dut.uses_previous.value = int(places[1] is not None)
                    dut.group.value = cfg.first_group[layer] + group
                    dut.slot.value, dut.previous_slot.value = slot, previous_slot
                    dut.save.value = save
                    column = [
                        k
                        if k is None
                        else [int(s[layer][i, min(k, s[layer].shape[1] - 1)]) for i in rows]
                        for s, k in zip((now, before), places, strict=True)
                    ]
                    where = layer, group, j
                    await self.clock(None if unchecked else (active, where, *column))
                dut.valid.value = 0
                self.scramble()
                await self.clock()
        dut.valid.value = 0

    def tokens(self, layer: int) -> list[tuple[int | None, int | None]]:
        """Of each token of a group the places of its signs in this draw and the one before; None
        where it takes none."""
        width = self.config.network.layers[layer] + 1
        if layer or not self.config.variant.skip_zeros:
            return [(j, j) for j in range(width)]
        lit = [[self.random.random() < 0.5 for _ in range(width - 1)] for _ in range(2)]
        visited = [j for j in range(width - 1) if lit[0][j] or lit[1][j]] or [0]
        found = [tuple(sum(row[:j]) if row[j] else None for row in lit) for j in visited]
        return [*found, (sum(lit[0]), sum(lit[1]))]

    def scramble(self) -> None:
        """Nothing may be looked at without `valid`."""
        names = ("uses_current", "uses_previous") if self.config.variant.skip_zeros else ()
        for name in names:
            getattr(self.dut, name).value = self.random.getrandbits(1)
        for name in ("first", "last", "save", "group", "slot", "previous_slot"):
            pin = getattr(self.dut, name)
            pin.value = self.random.randrange(
                self.config.first_group[-1] + self.config.groups[-1] if name == "group" else 2
            )

    async def drain(self) -> None:
        self.dut.valid.value = 0
        for _ in range(SignGenerator.signs_latency + 1):
            await self.clock()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def equals_sign_source(dut):
    config, random = config_of(params()), rng()
    await start_clock(dut)
    runs = (
        (1, 1, 0.0, 0, 0),
        (0, 7, 0.0, 0, 0),
        (0, 2**40 + 3, 0.5, 0, 0),
        (1, 12, 0.3, 0, 0),
        (0, 5, 0.0, 1, 1),
        (1, 6, 0.2, 1000, 1000),
        (0, 8, 0.0, 2**31, 2**32 - 1),
        (0, 9, 0.3, 0, 3),
    )
    for nodes, seed, idle, draws, bytes_taken in runs:
        method = ("wp", "np")[nodes]
        if method not in config.methods:
            continue
        widths = LEARNING[method].widths_of(config.network.layers)
        sweeps = Sweeps(dut, config, random)
        source = SignSource(
            config.network, [start_state(seed)], widths, draws=draws, bytes_taken=bytes_taken
        )
        dut.nodes.value = nodes
        starts = start_states_at(start_state(seed), widths, draws, ROUND_BITS * bytes_taken)
        for layer, state in enumerate(starts[: None if draws or bytes_taken else 1]):
            dut.seed.value, dut.first_layer.value, dut.start.value = state, layer, 1
            await FallingEdge(dut.clk)
            dut.start.value, dut.seed.value = 0, random.getrandbits(61)
            await ReadOnly()
            assert not int(dut.ready.value)
            await FallingEdge(dut.clk)
            # 122 clocks per group and 122 more, one of which has passed.
            assert await clocks_until(dut, dut.ready) == 122 * (sum(config.groups) + 1) - 1
        dut.slot.value = dut.previous_slot.value = 0
        # An evaluation before the first step sweeps with windows that were never written.
        nothing = [s[0] for s in SignSource(config.network, [1], widths).draw()]
        await sweeps.sweep(
            nothing, nothing, slot=1, previous_slot=1, save=0, idle=idle, unchecked=True
        )
        await sweeps.drain()

        slot, before = 0, None
        for number in range(DRAWS):
            now = [s[0] for s in source.draw()]
            before = now if before is None else before
            same = {"slot": slot, "idle": idle}
            # The first step with this draw also replays the one before, as its update rides
            # on this sweep; the second pass and the steps that keep the draw do not need it.
            previous_slot = slot if number == 0 else 1 - slot
            await sweeps.sweep(now, before, previous_slot=previous_slot, save=1, **same)
            await sweeps.drain()
            for _ in range(random.randint(0, 2)):
                await sweeps.sweep(now, now, previous_slot=slot, save=random.getrandbits(1), **same)
                await sweeps.drain()
            for _ in range(random.randint(1, 3)):
                await ReadOnly()
                assert int(dut.random.value) == source.random_bytes()[0]
                await FallingEdge(dut.clk)
                dut.next_random.value = 1
                await sweeps.clock()
                dut.next_random.value = 0
                for _ in range(ROUND_BITS):
                    await sweeps.clock()
            slot, before = 1 - slot, now
        # A flush replays the last draw without saving, and nothing is lost by it.
        last = {"slot": 1 - slot, "previous_slot": 1 - slot, "idle": idle}
        await sweeps.sweep(before, before, save=0, **last)
        await sweeps.drain()
        following = [s[0] for s in source.draw()]
        await sweeps.sweep(following, before, slot=slot, previous_slot=1 - slot, save=1, idle=idle)
        await sweeps.drain()
        least = 2 * (DRAWS + 2) * config.lane_words
        assert sweeps.checked >= (least // 3 if config.variant.skip_zeros else least)

        # What the host adds is added as it is; the next token's signs are its own again.  (The
        # draw before was overwritten by the one to come.)
        all_minus = (1 << config.lanes) - 1
        for clocks in (1, 4):
            dut.all_minus.value = 1
            for _ in range(clocks):
                await FallingEdge(dut.clk)
                await ReadOnly()
                assert int(dut.previous_signs.value) == all_minus
                await FallingEdge(dut.clk)
            dut.all_minus.value = 0
            await sweeps.sweep(
                following, following, save=0, slot=slot, previous_slot=slot, idle=idle
            )
            await sweeps.drain()
