"""boards.flow.board_top: when a board starts, and by what."""

from __future__ import annotations

import pytest
from amaranth import Module
from amaranth.sim import Simulator

from mgd.api.backends import sample_words
from mgd.boards.estimate.kinds import make_design
from mgd.boards.flow import commands as flow
from mgd.boards.flow.board_top import Start, is_gated
from mgd.boards.registry import find_board
from tests.support.simulation import XOR

CLOCKS = 9
SYNCHRONISED = 2


@pytest.mark.parametrize("once", [False, True])
def test_start(once):
    """After enough clocks of lock without a gap, and never again behind its loss with `once`."""
    m = Module()
    m.submodules.start = start = Start(CLOCKS, once=once)

    async def run(ctx):
        async def expect(clocks: int, running: bool):
            for clock in range(clocks):
                assert ctx.get(start.run) == running, f"clock {clock}"
                assert ctx.get(start.held) == (not running)
                await ctx.tick()

        # No lock; then one with a gap a clock before it would have been long enough.
        await expect(CLOCKS + 5, False)
        ctx.set(start.locked, 1)
        await expect(CLOCKS, False)
        ctx.set(start.locked, 0)
        await expect(1, False)
        ctx.set(start.locked, 1)
        await expect(SYNCHRONISED + CLOCKS + 1, False)
        await expect(50, True)
        ctx.set(start.locked, 0)
        await expect(SYNCHRONISED + 1, True)
        await expect(3, False)
        ctx.set(start.locked, 1)
        await expect(SYNCHRONISED + CLOCKS + 1, False)
        await expect(50, not once)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run_until(1e-3)


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s-25f"])
def test_a_gate_or_a_reset(name):
    """An ECP5's design has nothing that a reset would have to reach."""
    board = find_board(name)
    design = make_design(board, XOR.core_layout(), sample_words(XOR))
    sources = flow.elaborate(design, board.fpga_family.pll.search(board.clock_hz, 40e6))
    text = dict(sources.files)[flow.DESIGN]
    assert is_gated(board) == (board.fpga_family.name == "ecp5")
    assert ("cell \\DCCA" in text) == is_gated(board)
    assert ("\\rst" in text) == (not is_gated(board))
