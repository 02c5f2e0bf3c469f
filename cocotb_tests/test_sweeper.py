"""rtl.sweeper: the order of the tokens, what they carry, and every wait."""

from __future__ import annotations

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.core_driver import unpack
from cocotb_tests.runner import params, rng, simulate
from cocotb_tests.streams import start_clock
from cocotb_tests.values import config_of
from rtl.collector import group_layout
from rtl.config import CoreConfig
from rtl.lane import Lane
from rtl.sweeper import Sweeper, token_layout

CASES = {
    "1-1-1_1_lane": ({"layers": (1, 1, 1)}, 1),
    "2-3-1-5_2_lanes": ({"layers": (2, 3, 1, 5), "accumulators": True}, 2),
    "7-13-3_8_lanes": ({"layers": (7, 13, 3)}, 8),
    "4-3_3_lanes": ({"layers": (4, 3)}, 3),
}


@pytest.mark.parametrize("name", CASES)
def test_sweeper(name):
    network, lanes = CASES[name]
    given = {"network": network, "lanes": lanes}
    simulate(Sweeper(config_of(given)), __name__, "issues_every_token", given)


def tokens(config: CoreConfig, passes: int, flush: bool) -> list[tuple[dict, dict]]:
    """Every token of a sweep in order, and the group it belongs to."""
    net, found = config.network, []
    for layer in range(net.depth):
        wanted = [k for k in (0, 1) if passes >> k & 1]
        # One sweep serves both passes, unless the first layer is the last, too.
        both = layer == 0 and net.depth > 1
        once = both or flush
        for turn, second in enumerate([0] if once else wanted):
            for group in range(config.groups[layer]):
                hidden = layer < net.depth - 1
                finished = {
                    "node": group * config.lanes + (config.hidden_offset(layer) if hidden else 0),
                    "active": config.active(layer, group),
                    "passes": passes if both else 1 << second,
                    "last": int(group == config.groups[layer] - 1),
                    "output": int(not hidden),
                }
                width = net.layers[layer] + 1
                for j in range(width):
                    token = {
                        "input": j,
                        "first": int(j == 0),
                        "bias": int(j == width - 1),
                        "group": config.first_group[layer] + group,
                        "word": config.first_word[layer] + group * width + j,
                        "layer_0": int(layer == 0),
                        "lead": int(turn == 0),
                    }
                    if layer:
                        token["hidden"] = config.hidden_offset(layer - 1)
                        if not flush:
                            token["second"] = second
                    found.append((token, finished))
    return found


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def issues_every_token(dut):
    config, random = config_of(params()), rng()
    layouts = token_layout(config), group_layout(config)
    turnaround = Lane.update_latency(config) + 1
    # A group is collected after its last token has gone through a lane at the earliest.
    soonest = Lane.update_latency(config) + 4
    await start_clock(dut)
    for number in range(36):
        passes, flush = (1, 2, 3)[number % 3], number % 4 == 3
        hurry = number < 12
        expected = tokens(config, passes, flush)
        dut.passes.value, dut.flush.value, dut.start.value = passes, int(flush), 1
        dut.ready.value = dut.collected.value = 0
        await FallingEdge(dut.clk)
        dut.start.value = 0
        ready, outstanding = 0, False
        set_ready: dict[int, int] = {}
        collected_at = None
        read_at: dict[int, int] = {}
        at = clock = 0
        waited_for_nothing = 0
        while at < len(expected):
            clock += 1
            assert clock < 40 * len(expected) + 1000, f"stuck before token {at}"
            ready |= set_ready.pop(clock, 0)
            collected = collected_at == clock
            dut.ready.value, dut.collected.value = ready, int(collected)
            await ReadOnly()
            assert int(dut.busy.value)
            taken, valid = int(dut.taken.value), int(dut.valid.value)
            token, finished = expected[at]
            layer = max(
                k for k in range(len(config.groups)) if config.first_word[k] <= token["word"]
            )
            starts = token["first"] and token["group"] == config.first_group[layer]
            needs = token.get("second", 0) if layer and starts and not flush else None
            where = f"token {at}: {token}, passes {passes}, flush {flush}"
            if valid:
                raw = int(dut.token.value)
                got = {name: unpack(layouts[0], raw, name) for name in token}
                assert got == token, where
                if token["bias"]:
                    raw = int(dut.finished.value)
                    if flush:
                        finished = {k: finished[k] for k in ("node", "active", "last", "output")}
                    assert {k: unpack(layouts[1], raw, k) for k in finished} == finished, where
                    assert not outstanding, f"{where}: the lanes' outputs are taken"
                if needs is not None:
                    assert ready >> needs & 1, f"{where}: its inputs are not there"
                if token["word"] in read_at:
                    age = clock - read_at[token["word"]]
                    assert age >= turnaround, f"{where}: read {age} clocks after the first read"
                read_at[token["word"]] = clock
                at += 1
            else:
                # Why it waits: inputs, the turnaround, or the output registers.
                early = needs == 1 and clock - read_at.get(token["word"], -99) < turnaround
                missing = needs is not None and not ready >> needs & 1
                full = token["bias"] and outstanding and not flush
                waited_for_nothing += not (early or missing or full)
            wanted = (1 << needs) if valid and needs is not None else 0
            assert taken == wanted, f"{where}: taken = {taken}"
            ready &= ~taken
            if collected:
                outstanding, collected_at = False, None
            if valid and token["bias"] and not flush:
                outstanding = True
                # Realistic ends included: at once, and much later than the next group's sweep.
                delay = soonest + (0 if hurry else random.choice((0, 1, random.randint(0, 60))))
                collected_at = clock + delay
                if finished["last"] and not finished["output"]:
                    for k in (0, 1):
                        if finished["passes"] >> k & 1:
                            later = 0 if hurry else random.randint(0, 40)
                            moment = clock + delay + 1 + later
                            set_ready[moment] = set_ready.get(moment, 0) | 1 << k
            await FallingEdge(dut.clk)
        assert waited_for_nothing == 0, f"{waited_for_nothing} clocks for no reason"
        for _ in range(4):
            dut.collected.value = int(random.random() < 0.5)
            await ReadOnly()
            assert not int(dut.valid.value), "more tokens than a sweep has"
            assert not int(dut.busy.value)
            await FallingEdge(dut.clk)
