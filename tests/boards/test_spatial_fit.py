"""The estimate of a spatial core's logic against designs that were synthesised."""

from __future__ import annotations

from mgd.boards.board import Board
from mgd.boards.estimate import area
from mgd.boards.estimate.fit import ERROR, NO, Fit, assess
from mgd.boards.estimate.kinds import make_design
from mgd.boards.estimate.spatial import SpatialResources, dsp_counts
from mgd.boards.netlist.board import board_text
from mgd.boards.registry import find_board
from mgd.host.task.task import Task
from mgd.protocol.fixed_settings import FIXABLE
from mgd.rtl.core_kinds import config_for
from mgd.rtl.spatial.config import SpatialConfig

BOARD = find_board("ulx3s-45f")


def spatial(name: str, **overrides: object) -> Task:
    return Task.load(name).with_overrides(core="spatial", **overrides)


def on(board: Board, task: Task) -> SpatialConfig:
    """The config of a task's core on a board."""
    config = config_for(task.core_layout())
    assert isinstance(config, SpatialConfig)
    return SpatialResources.fitted(board, config).config


def test_cells_and_multipliers_of_a_whole_design():
    check_whole_design(BOARD, spatial("xor", method="wp", tau_theta=50))


def test_a_pipelined_synapse_has_one_adder():
    task = spatial("xor", schedule="pipelined")
    fit = check_whole_design(BOARD, task)
    plain = spatial("xor")
    waiting = assess(BOARD, plain.core_layout(), 100)
    assert fit.cells.used < waiting.cells.used
    assert fit.dsps == waiting.dsps


def test_what_is_fixed_takes_fewer_cells():
    task = spatial("xor", method="wp", difference="forward", fixed=list(FIXABLE))
    fit = check_whole_design(find_board("icebreaker"), task)
    assert fit.verdict != NO


def check_whole_design(board: Board, task: Task) -> Fit:
    fit = assess(board, task.core_layout(), 100)
    design = make_design(board, task.core_layout(), 100)
    found = area.measure(board_text(design), board.fpga_family.name)
    print(f"estimated {fit.cells.used}, synthesised {found.logic_cells}")
    assert abs(fit.cells.used / found.logic_cells - 1) <= ERROR
    # A product with a constant may end in logic.
    assert found.dsps <= fit.dsps.used <= found.dsps + 1
    return fit


def test_a_large_network_does_not_fit():
    task = spatial("nist7x7_easy")
    assert assess(find_board("icebreaker"), task.core_layout(), 100).verdict == NO
    assert assess(BOARD, task.core_layout(), 100).verdict != NO


def test_blocks_go_to_the_dearest_products_first():
    task = spatial("nist7x7_easy", tau_theta=10)
    large = on(BOARD, task)
    small = on(find_board("ulx3s-25f"), task)
    assert (large.product_dsp, large.table_dsp, large.share_dsp) == (True, True, True)
    # 32 weights' products take more than its 28 blocks; the tables do not.
    assert dsp_counts(small)["product_dsp"] == 32
    assert not small.product_dsp
    assert small.table_dsp


def test_samples_get_the_room_that_is_left():
    task = spatial("nist7x7_easy")
    config = on(BOARD, task)
    assert make_design(BOARD, config, 8 * 100).sample_memory == 8 * 100
    cut = make_design(BOARD, config, 8 * 100_000).sample_memory
    assert cut < 8 * 100_000
    assert assess(BOARD, config, 8 * 100_000).blocks.lacking == 0
