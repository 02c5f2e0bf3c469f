"""rtl.folded.program.loop_engine: the order of the tokens, what they carry, and every wait."""

from __future__ import annotations

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import unpack
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import config_of
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.lane import Lane
from mgd.rtl.folded.program.loop_engine import token_layout
from mgd.rtl.folded.program.nonzero_inputs import visit_layout
from mgd.rtl.folded.program.visit_engine import loop_engine
from mgd.rtl.interface import packed_fields

CASES = {
    "1-1-1_1_lane": ({"layers": (1, 1, 1)}, 1),
    "2-3-1-5_2_lanes": ({"layers": (2, 3, 1, 5), "accumulators": True}, 2),
    "7-13-3_8_lanes": ({"layers": (7, 13, 3)}, 8),
    "4-3_3_lanes": ({"layers": (4, 3)}, 3),
}


@pytest.mark.simulated
@pytest.mark.parametrize("name", CASES)
def test_loop_engine(name):
    network, lanes = CASES[name]
    given = {"network": network, "lanes": lanes}
    return Row(loop_engine(config_of(given)), issues_every_token, given)


@pytest.mark.simulated
@pytest.mark.parametrize("name", CASES)
def test_loop_engine_that_skips(name):
    network, lanes = CASES[name]
    given = {"network": network, "lanes": lanes, "variant": {"skip_zeros": True}}
    return Row(loop_engine(config_of(given)), issues_every_token, given)


def drawn_visits(config: CoreConfig, random) -> list[dict] | None:
    """A group's visits in the first layer, as rtl.folded.program.nonzero_inputs has them; None
    where there is none."""
    if not config.variant.skip_zeros:
        return None
    inputs = config.network.layers[0]
    flags = [(k, random.getrandbits(1), random.getrandbits(1)) for k in range(inputs)]
    flags = [one for one in flags if any(one[1:])] or [(inputs - 1, 0, 0)]
    return [
        {"input": k, "bias": int(k == inputs), "current": current, "previous": previous}
        for k, current, previous in [*flags, (inputs, 1, 1)]
    ]


def tokens(
    config: CoreConfig, passes: int, flush: bool, visits: list[dict] | None
) -> list[tuple[dict, dict]]:
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
                    "active": config.active(layer, group),
                    "passes": passes if both else 1 << second,
                    "output": int(not hidden),
                }
                width = net.layers[layer] + 1
                of_group = [{"input": j} for j in range(width)]
                if visits is not None:
                    of_group = [one | {"current": 1, "previous": 1} for one in of_group]
                    of_group = of_group if layer else visits
                for number, one in enumerate(of_group):
                    j = one["input"]
                    token = {
                        **one,
                        "first": int(number == 0),
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


def spacing(config: CoreConfig, finished: dict) -> int:
    """Clocks from a group's last token to the next one's, while its values leave the lanes."""
    return finished["active"] + (config.lanes if finished["passes"] == 3 else 0)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def issues_every_token(dut):
    config, random = config_of(params()), rng()
    net = config.network
    layout = token_layout(config)
    turnaround = Lane.latency_of(config) + 1
    await start_clock(dut)
    for number in range(36):
        passes, flush = (1, 2, 3)[number % 3], number % 4 == 3
        hurry = number < 12
        visits = drawn_visits(config, random)
        expected = tokens(config, passes, flush, visits)
        visit = 0
        offers = False
        dut.passes.value, dut.flush.value, dut.start.value = passes, int(flush), 1
        dut.activation_written.value = 0
        await FallingEdge(dut.clk)
        dut.start.value = 0
        # Per pass: the clocks in which activations arrive, and those that are there.
        coming: tuple[list[int], list[int]] = ([], [])
        available, read = [0, 0], [0, 0]
        read_at: dict[int, int] = {}
        free_at = at = clock = last = waited_for_nothing = 0
        ended = -9
        while at < len(expected):
            clock += 1
            assert clock < 60 * len(expected) + 1000, f"stuck before token {at}"
            arrives = 0
            for k in (0, 1):
                if coming[k] and coming[k][0] <= clock:
                    coming[k].pop(0)
                    arrives |= 1 << k
            dut.activation_written.value = arrives
            if visits is not None:
                offers = offers or hurry or random.random() < 0.7
                following = visits[visit % len(visits)]
                dut.visits__valid.value = int(offers)
                dut.visits__payload.value = packed_fields(visit_layout(config), **following)
            await ReadOnly()
            assert int(dut.busy.value)
            token, finished = expected[at]
            layer = max(
                k for k in range(len(config.groups)) if config.first_word[k] <= token["word"]
            )
            which = token.get("second", 0)
            first_group = token["group"] == config.first_group[layer]
            needs = layer and first_group and not token["bias"] and not flush
            where = f"clock {clock}, token {at}: {token}, passes {passes}, flush {flush}"
            missing = needs and available[which] == read[which]
            full = token["bias"] and clock < free_at and not flush
            age = clock - read_at.get(token["word"], -99)
            no_visit = visits is not None and not layer and not offers
            if visits is not None and not layer and offers:
                assert int(dut.visits__ready.value) == int(dut.valid.value), where
                if int(dut.valid.value):
                    visit, offers = visit + 1, False
            if int(dut.valid.value):
                raw = int(dut.token.value)
                got = {name: unpack(layout, raw, name) for name in token}
                assert got == token, where
                assert not missing, f"{where}: its input is not there"
                assert not full, f"{where}: the lanes' outputs are taken until {free_at}"
                assert clock != ended + 1, f"{where}: the lanes' sums are being taken"
                assert age >= turnaround, f"{where}: read {age} clocks after the first read"
                last = read_at[token["word"]] = clock
                read[which] += bool(needs)
                if token["bias"]:
                    ended = clock
                    assert flush or int(dut.pass_mask.value) == finished["passes"], where
                    if not flush:
                        free_at = clock + spacing(config, finished)
                        if not finished["output"]:
                            plan(config, finished, clock, hurry, random, coming)
                if token["bias"] and layer and not flush:
                    # The next layer counts from zero.
                    assert read[which] == available[which] == net.layers[layer] or not first_group
                    if first_group:
                        read[which] = available[which] = 0
                at += 1
            else:
                # The first token waits for the last one's turnaround, so that none has to later.
                least = 2 if visits is not None and not layer else net.layers[layer] + 1
                ahead = config.groups[layer] * least
                due = last + 1 + max(turnaround - ahead, 0)
                early = token["first"] and first_group and not token["lead"] and clock < due
                needless = not (missing or full or early or no_visit)
                waited_for_nothing += needless and clock != ended + 1
            for k in (0, 1):
                available[k] += arrives >> k & 1
            await FallingEdge(dut.clk)
        assert waited_for_nothing == 0, f"{waited_for_nothing} clocks for no reason"
        for clock in range(4):
            await ReadOnly()
            assert not int(dut.valid.value), "more tokens than a sweep has"
            assert int(dut.busy.value) == (clock == 0)
            await FallingEdge(dut.clk)


def plan(config, finished, clock, hurry, random, coming) -> None:
    """When a group's activations arrive: in order, a clock apart at least, per pass."""
    soonest = clock + Lane.latency_of(config) + 8
    for k in (0, 1):
        if not finished["passes"] >> k & 1:
            continue
        moment = soonest + (config.lanes if k and finished["passes"] == 3 else 0)
        moment = max(moment, coming[k][-1] + 1 if coming[k] else 0)
        for _ in range(finished["active"]):
            moment += 0 if hurry else random.choice((0, 0, 0, 1, random.randint(0, 20)))
            coming[k].append(moment)
            moment += 1
