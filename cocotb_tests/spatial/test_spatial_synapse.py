"""rtl.spatial.synapse against the update in golden_model.trainer.Trainer."""

from __future__ import annotations

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.runner import rng
from cocotb_tests.support.side_by_side import Part, SideBySide, together
from cocotb_tests.support.streams import start_clock
from cocotb_tests.support.values import as_signed, network_of, spread
from mgd.boards.devices import ECP5
from mgd.boards.netlist.cell_models import cell_models
from mgd.golden_model.formats import floor_shift, saturate
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.synapse import Synapse

RESIDUAL = {"layers": (2, 1), "accumulators": True, "tau_theta_max": 9}
CASES = {
    "stochastic": ({"layers": (2, 1)}, True, 0, 0),
    "stochastic_8_bits": ({"layers": (3, 2), "weight_bits": 8}, False, 4, 4),
    "wp": (RESIDUAL, False, 6, 6),
    "np": (RESIDUAL, True, 6, 6),
    "aligned": ({**RESIDUAL, "weight_bits": 8}, True, -4, 3),
    "no_residual": (RESIDUAL, False, 0, 0),
    "odd_width": ({**RESIDUAL, "tau_theta_max": 200, "cost_frac": 9}, False, 2, 9),
    "pipelined": ({"layers": (2, 1)}, False, 0, 0),
    "pipelined_np": ({"layers": (3, 2), "weight_bits": 8}, True, 0, 0),
    # In an ECP5's carry cells.
    "stochastic_cells": ({"layers": (2, 1)}, False, 0, 0),
    "stochastic_np_cells": ({"layers": (2, 1), "weight_bits": 8}, True, 0, 0),
    "pipelined_cells": ({"layers": (2, 1)}, False, 0, 0),
    "pipelined_np_cells": ({"layers": (3, 2), "weight_bits": 9}, True, 0, 0),
    "wp_cells": (RESIDUAL, False, 6, 6),
    "np_cells": ({**RESIDUAL, "tau_theta_max": 200, "cost_frac": 9}, True, 2, 9),
}
CLOCKS = 1500


def configured(name: str) -> SpatialConfig:
    fields, nodes, low, high = CASES[name]
    return SpatialConfig(
        network_of(fields),
        nodes=nodes,
        antithetic=True,
        input_shift=0,
        shift_low=low,
        shift_high=high,
        ccu2c=name.endswith("_cells"),
        update_delay=int(name.startswith("pipelined")),
    )


@pytest.mark.simulated
def test_synapse():
    widths = {configured(name).gradient_bits % 2 for name in CASES if configured(name).shift_high}
    assert widths == {0, 1}, "accumulators of odd and even width"
    synapses = {name: Synapse(configured(name)) for name in CASES}
    cells = cell_models(ECP5.name, ["CCU2C", "LUT4"])
    return Row(SideBySide(synapses), equals_golden_update, seed=2, cells=cells)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def equals_golden_update(dut):
    await start_clock(dut)
    await together(*(update(Part(dut, name), configured(name), name) for name in CASES))


async def update(dut, config: SpatialConfig, name: str) -> None:
    net, random = config.network, rng()
    low, high = net.weight_min, net.weight_max
    accumulates, cut = net.accumulators, config.shift_high
    share_bound = (1 << (config.share_bits - 1)) - 1
    if accumulates:
        # What the width is derived from: tau_theta_max contributions between two changes.
        share_bound = config.contribution_bound << config.align_max
    weight = gradient = 0
    since = net.tau_theta_max
    latency = Synapse.latency_of(config)
    assert latency == (3 if accumulates else 1 if config.pipelined else 2)
    # Of the changes one, two clocks ago, or of the one now.
    moves: list[int | None] = [None] * max(latency - 1, 1)
    clipped = [False] * latency
    ends, signs = set(), set()
    for clock in range(CLOCKS):
        # In the core the next change comes far later.
        free = not any(value is not None for value in moves)
        due = accumulates and since >= net.tau_theta_max
        change = free and (due or random.random() < 0.3)
        if config.pipelined:
            change = random.random() < 0.8
        turn = free and not change and random.random() < 0.1
        clear = free and not change and random.random() < 0.03
        share = spread(random, -share_bound, share_bound)
        if random.random() < 0.5:
            share >>= random.randrange(config.share_bits)
        if accumulates and (change or due or not free):
            share = 0
        if config.pipelined and not change:
            share = 0
        gate, sign = int(random.random() < 0.85), random.getrandbits(1)
        if accumulates and change:
            gate, sign = 1, sign & ~config.nodes
        entering = spread(random, low, high)
        # Under node perturbation the neuron has inverted it.
        placed = ~share if config.nodes and sign else share
        dut.update_term.value = placed & ((1 << config.share_bits) - 1)
        dut.gate.value, dut.sign.value = gate, sign
        dut.change.value, dut.clear.value, dut.turn.value = int(change), int(clear), int(turn)
        last = moves[-1] is not None
        dut.changed.value = int(moves[0] is not None)
        dut.empty.value, dut.captures.value = int(last or clear), int(last or turn)
        dut.entering.value = entering & ((1 << net.weight_bits) - 1)
        await ReadOnly()
        where = f"{name}, clock {clock}"
        assert as_signed(int(dut.weight.value), net.weight_bits) == weight, where
        if accumulates:
            # Behind a change the upper part is the weight to come.
            seen = (1 << (config.gradient_bits if free else cut)) - 1
            assert int(dut.gradient.value) & seen == gradient & seen, where
        assert bool(int(dut.clipped.value)) == clipped[-1], where

        # As in golden_model.update: +sign·share to G and ⌊G·2^-S⌋ to W, or −sign·share to W.
        given = (-share if sign else share) if gate else 0
        signs |= {(given > 0) - (given < 0)}
        wanted = weight - given
        if accumulates:
            since += 1
            whole = int(floor_shift(np.int64(gradient), cut))
            wanted = weight - whole
            gradient += given
            if change:
                gradient, since = gradient - (whole << cut), 0
            if clear:
                gradient = since = 0
        limited = int(saturate(wanted, low, high))
        clipped = [change and limited != wanted, *clipped[:-1]]
        if clipped[0]:
            ends.add(limited)
        if config.pipelined:
            moves = [limited]
            last = True
        weight = entering if turn else moves[-1] if last else weight
        moves = [limited if change and not config.pipelined else None, *moves[:-1]]
        await FallingEdge(dut.clk)
    assert ends == {low, high}, f"{name}: the test must clip at both ends"
    assert signs == {-1, 0, 1}
