"""`mgd fit`: its estimates against what was counted, its rules, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from mgd.api.backends import sample_words
from mgd.boards.board import Board
from mgd.boards.devices import DEVICES
from mgd.boards.estimate import logic_cells as estimate
from mgd.boards.estimate.blocks import memory_usage
from mgd.boards.estimate.clocks import average_clocks
from mgd.boards.estimate.fit import ERROR, FITS, NO, TIGHT, assess, remedies
from mgd.boards.estimate.folded import FoldedResources
from mgd.boards.estimate.kinds import make_design
from mgd.boards.estimate.logic_cells import FEATURES, apply, features
from mgd.boards.families.registry import COUNTED
from mgd.boards.families.usage import MemoryUsage
from mgd.boards.registry import boards as known_boards
from mgd.boards.registry import find_board
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.host.task.names import find_task, read_task
from mgd.host.task.task import Task
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.core_kinds import config_for
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.program.step_clocks import step_clocks
from mgd.scripts.bench.boards import case_of
from mgd.scripts.bench.fit import CASES, Case, fitted, placed, synthesised
from mgd.scripts.cli import main
from mgd.scripts.commands import fit as command
from mgd.scripts.common.clocks import looked_at
from tests.support import simulation  # noqa: F401  sets the cache
from tests.support.paths import ROOT

COMMAND = "mgd bench fit --json benchmarks/fit.json"
RECORD = json.loads((ROOT / "benchmarks" / "fit.json").read_text())["rows"]
RAM_ERROR = 3
"""Blocks by which deep sample memories may be estimated too many."""


def recorded_case(row: dict[str, Any]) -> Case:
    """The case of CASES that a recorded row is of."""
    for case in CASES:
        changes = json.loads(json.dumps(case.changes))
        found = (row["task"], row["lanes"], row["changes"], row["fixed"])
        if (case.task, case.lanes, changes, list(case.fixed)) == found:
            return case
    raise AssertionError(f"{row['task']} on {row['lanes']} lanes is no case; run {COMMAND}")


def folded(board: Board, network: Network, lanes: int, **options: Any) -> FoldedResources:
    return FoldedResources.fitted(board, CoreConfig(network, lanes, **options))


# -- against synthesis ---------------------------------------------------------------------


@pytest.mark.parametrize("family", COUNTED)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.task} {case.lanes}")
def test_cases_of_the_record_are_estimated_as_they_were_counted(case, family):
    """Every estimate is computed anew; only the counts are from the record."""
    (row,) = (row for row in RECORD if recorded_case(row) == case and row["family"] == family)
    core = placed(case, family)
    words = core.sample_depth(sample_words(Task.load(case.task)))
    assert core.logic_cells(words) == pytest.approx(row["logic_cells"], rel=ERROR)
    assert core.dsps() == row["dsps"]
    # Blocks are not estimated but counted by Yosys' own rules.
    assert 0 <= core.blocks(words) - row["rams"] <= RAM_ERROR


def test_the_coefficients_follow_from_the_counted_cells():
    """Fitted anew, to features that are computed anew, of the cases that are not held out."""
    for family in COUNTED:
        rows = []
        for row in (row for row in RECORD if row["family"] == family):
            core = placed(recorded_case(row), family)
            words = core.sample_depth(sample_words(Task.load(row["task"])))
            rows.append({**row, "features": features(core.board.device, core.config, words)})
        assert len([row for row in rows if row["held_out"]]) >= 4
        model = fitted(rows)
        assert model == pytest.approx(estimate.coefficients()[family], abs=1e-3), f"run {COMMAND}"
        for row in rows:
            row["logic_cells"] *= 2 if row["held_out"] else 1
        assert fitted(rows) == model


def test_a_core_that_is_not_in_the_list():
    case = Case("xor", 1)
    assert case not in CASES
    row = synthesised(case, "ice40")
    found = apply(estimate.coefficients()["ice40"], row["features"])
    assert found == pytest.approx(row["logic_cells"], rel=0.20)
    assert row["dsps"] == row["dsps_estimate"]
    assert row["rams"] == row["rams_estimate"]


def test_the_counts_of_nextpnr():
    """Whole builds; those of earlier cores say nothing about this one."""
    rows = json.loads((ROOT / "benchmarks" / "boards.json").read_text())["rows"]
    for row in (row for row in rows if not row.get("earlier") and "error" not in row):
        task = case_of(row).loaded()
        found = assess(find_board(row["board"]), task.core_layout(), sample_words(task))
        if found.calibrated:
            assert found.cells.used == pytest.approx(row["lut"], rel=ERROR), row
        # A product with a constant may end in logic.
        assert row["dsp"] <= found.dsps.used <= row["dsp"] + (found.core.lanes is None), row
        assert found.verdict != NO, row
        if found.core.lanes is not None:
            assert 0 <= found.blocks.used - row["ram"] <= RAM_ERROR, row


# -- memories and multipliers --------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "words", "width", "usage"),
    [
        ("iCE40UP5K", 4, 16, MemoryUsage(small_bits=64)),
        ("iCE40UP5K", 5, 16, MemoryUsage(1, 16)),
        ("iCE40UP5K", 1205, 16, MemoryUsage(5, 16)),
        ("LFE5U-25F", 55, 16, MemoryUsage(lutrams=16)),
        ("LFE5U-25F", 155, 16, MemoryUsage(1, 16)),
        ("LFE5U-25F", 42, 64, MemoryUsage(lutrams=48)),
        # Two blocks more than there must be save multiplexers.
        ("LFE5U-25F", 23_552, 32, MemoryUsage(48, 32)),
    ],
)
def test_where_memories_go(device, words, width, usage):
    assert memory_usage(DEVICES[device], words, width) == usage


@pytest.mark.parametrize("accumulators", [False, True])
def test_samples_never_take_more_than_the_lanes_leave(accumulators):
    board = find_board("ulx3s-25f")
    network = Network((49, 12, 4), accumulators=accumulators)
    for lanes in range(1, 13):
        design = make_design(board, CoreConfig(network, lanes), 10**6)
        found = assess(board, CoreConfig(network, lanes), 10**6)
        assert found.sample_memory == design.sample_memory
        assert 50 <= found.blocks.used <= 56


def test_weights_alone_can_be_too_many_beside_spram():
    board = find_board("icebreaker")
    network = Network((64, 32, 10), cost="cross_entropy", accumulators=True)
    config = CoreConfig(network, 4)
    assert FoldedResources(board, config).sample_room() == 65536
    found = assess(board, config, 16)
    assert found.blocks in found.short
    with pytest.raises(UserError, match=f"take {found.blocks.used} of 30 block RAMs.*`mgd fit"):
        make_design(board, config, 16)


def test_phases_take_memory():
    """A word as wide as all lanes' phases, 13 bits each, for every weight of a lane."""
    network = Network((64, 32, 10), cost="cross_entropy")
    square = BuildOptions(perturbation="square")
    for name, blocks in (("icebreaker", 13), ("ulx3s-25f", 3)):
        waves = folded(find_board(name), network, 8, variant=square)
        plain = FoldedResources(waves.board, replace(waves.config, variant=BuildOptions()))
        assert waves.core_blocks() == plain.core_blocks() + blocks
    board, config = find_board("icebreaker"), CoreConfig(network, 8, variant=square)
    with pytest.raises(UserError, match="block RAMs"):
        make_design(board, config, 16)
    found = assess(board, config, 16)
    assert not any("--fix" in help_ for help_ in remedies(found, [board], Settings()))


# -- features ------------------------------------------------------------------------------


def test_every_feature_has_its_cause():
    device = DEVICES["LFE5U-25F"]
    plain = Network((49, 4, 4))
    base = features(device, CoreConfig(plain, 2), 4096)

    def grown(network, lanes=2, **options):
        found = features(device, CoreConfig(network, lanes, **options), 4096)
        return {name for name in FEATURES if found[name] > base[name]}

    assert "lane bits" in grown(plain, 4)
    assert "fixed" not in grown(plain, 4)
    assert {"gradient bits", "block bits"} <= grown(replace(plain, accumulators=True))
    assert "cross-entropy bits" in grown(replace(plain, cost="cross_entropy"))
    assert grown(plain, shared_dsps=0) == {"product bits"}
    assert {"lane bits", "shared bits"} <= grown(replace(plain, weight_bits=18))


def test_unreadable_coefficients(tmp_path, monkeypatch):
    for text in (None, "{", "[]", '{"ice40": {"fixed": 1}}'):
        file = tmp_path / "estimate.json"
        if text is not None:
            file.write_text(text)
        monkeypatch.setattr(estimate, "COEFFICIENTS", file)
        estimate.coefficients.cache_clear()
        with pytest.raises(UserError, match="cannot be read") as error:
            estimate.coefficients()
        assert COMMAND in str(error.value)
    monkeypatch.undo()
    estimate.coefficients.cache_clear()


# -- fits, or why not ----------------------------------------------------------------------


@pytest.fixture
def cells(monkeypatch):
    """Sets what every core's logic is estimated at."""
    box = SimpleNamespace(of=lambda config: 100)
    monkeypatch.setattr(FoldedResources, "logic_cells", lambda core, words: box.of(core.config))
    return box


@pytest.mark.parametrize(
    ("used", "verdict"), [(4591, FITS), (4592, TIGHT), (5280, TIGHT), (5281, NO)]
)
def test_logic(cells, used, verdict):
    cells.of = lambda config: used
    found = assess(find_board("icebreaker"), CoreConfig(Network((2, 2, 1)), 2), 16)
    assert found.verdict == verdict
    assert [part.name for part in found.short] == ["logic cells"] * (verdict == NO)


def test_what_would_help(cells):
    cells.of = lambda config: 1500 * config.lanes + 2000 * config.network.accumulators
    board, boards = find_board("icebreaker"), list(known_boards().values())
    network = Network((4, 8, 2), accumulators=True, tau_theta_max=9)
    config = CoreConfig(network, 3)
    found = assess(board, config, 16)
    assert found.cells.lacking == 6500 - 5280
    assert assess(board, replace(config, lanes=2), 16).verdict != NO
    one_lane_less = remedies(assess(board, replace(config, lanes=1), 16), [])
    assert not any("lane" in change for change in one_lane_less)
    helps = remedies(found, boards)
    assert helps[:2] == ["2 lanes", "no accumulators (tau_theta = 1)"]
    assert helps[2] in known_boards()
    assert command.remark(found, boards) == (
        f"no: 1,220 logic cells too many (+23%); would fit: {', '.join(helps)}"
    )
    # What a variant needs is no help, and it has nothing fixed.
    variant = BuildOptions(momentum_exp=2)
    helps = remedies(assess(board, replace(config, variant=variant), 16), boards, Settings())
    assert helps[0] == "2 lanes"
    assert helps[1] in known_boards()
    nowhere = assess(board, CoreConfig(replace(network, layers=(4, 300, 2)), 200), 16)
    assert "192 DSP blocks too many" in command.remark(nowhere, [])


def test_too_little_room_for_two_samples():
    board = find_board("ulx3s-25f")
    network = Network((4096, 12, 4), sample_bits=16)
    found = assess(board, CoreConfig(network, 8), 10**5)
    assert found.verdict == NO
    assert "words too few for two samples" in command.remark(found, []) or found.blocks.lacking


@pytest.mark.parametrize(("tau_x", "tau_theta"), [(1, 1), (4, 4), (4, 6), (3, 1), (5, 2)])
def test_average_clocks(tau_x, tau_theta):
    config = CoreConfig(Network((9, 2, 1), accumulators=True, tau_theta_max=8), 2)
    settings = Settings(difference="forward", rounding="residual", tau_x=tau_x, tau_theta=tau_theta)
    steps = 60
    passes = [2 if t % tau_x == 0 or t % tau_theta == 0 else 1 for t in range(steps)]
    wanted = sum(step_clocks(config, passes=number) for number in passes) / steps
    assert average_clocks(config, settings) == pytest.approx(wanted)
    antithetic = replace(settings, difference="antithetic")
    assert average_clocks(config, antithetic) == step_clocks(config)
    continuous = replace(settings, difference="highpass")
    config = replace(config, variant=BuildOptions.of(continuous))
    assert average_clocks(config, continuous) == step_clocks(config, passes=1)


@pytest.mark.parametrize("rounding", ["stochastic", "residual"])
@pytest.mark.parametrize("difference", ["antithetic", "forward"])
@pytest.mark.parametrize(("tau_x", "tau_theta"), [(1, 1), (4, 1), (1, 3), (2, 4), (3, 2)])
def test_average_clocks_where_inputs_are_skipped(tau_x, tau_theta, difference, rounding):
    """Step by step through the samples, again and again."""
    if rounding == "stochastic" and tau_theta > 1:
        pytest.skip("refused: tests/golden_model/test_settings.py")
    settings = Settings(
        "wp", difference, rounding, tau_x=tau_x, tau_theta=tau_theta, skip_zeros=True
    )
    network = Network((20, 6, 2), accumulators=True, tau_theta_max=8)
    config = CoreConfig(network, 2, variant=BuildOptions.of(settings))
    codes = np.random.default_rng(5).integers(0, 2, (5, 20))
    steps, total = 5 * tau_x * tau_theta, 0
    for t in range(steps, 2 * steps):
        new, changed = t % tau_x == 0, t % tau_theta == 0
        sample = t // tau_x % 5
        visited = codes[sample] | (codes[sample - 1] if new else 0)
        if changed and rounding == "residual":
            visited = np.ones(20)
        passes = 2 if difference == "antithetic" or new or changed else 1
        total += step_clocks(config, passes=passes, visited=(visited != 0).tolist())
    assert average_clocks(config, settings, codes) == pytest.approx(total / steps)
    most = average_clocks(config, settings)
    assert most > total / steps or (tau_theta == 1 and rounding == "residual")


def test_the_command_looks_at_samples():
    found = {}
    for skips in (False, True):
        task = Task.load("digits").with_overrides(skip_zeros=skips)
        found[skips] = average_clocks(
            config_for(task.core_layout()), task.spec.settings, looked_at(task)
        )
    assert looked_at(Task.load("digits")) is None
    assert 300 < found[True] < 0.85 * found[False] == 0.85 * 430


# -- the command ---------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(main, ["fit", *map(str, arguments)])


def test_table(tmp_path):
    file = tmp_path / "fit.json"
    shown = run("xor", "--json", file)
    assert shown.exit_code == 0, shown.output
    rows = json.loads(file.read_text())["rows"]
    assert {row["board"] for row in rows} == set(known_boards())
    for row in rows:
        line = next(
            s
            for s in shown.output.splitlines()
            if s.split()[:2] == [row["board"], str(row["lanes"] or "spatial")]
        )
        assert row["verdict"] in line
        assert row["steps_per_second"] == pytest.approx(
            row["clock_hz"] / row["clocks_per_step"], abs=0.1
        )
    assert "~ as for an ECP5" in shown.output
    assert any(row["verdict"] != NO for row in rows)


def test_a_schedule(tmp_path):
    file = tmp_path / "fit.json"
    shown = run("xor", "--board", "ulx3s-25f", "--schedule", "pipelined", "--json", file)
    assert shown.exit_code == 0, shown.output
    *folded, row = json.loads(file.read_text())["rows"]
    assert {r["schedule"] for r in folded} == {"sequential"}
    assert (row["lanes"], row["schedule"]) == (None, "pipelined")
    # Codes of two bits enter at once, and nothing waits.
    assert row["clocks_per_step"] == 1
    assert "ulx3s-25f  pipelined" in shown.output
    # A task's own, and one for which there is no such core.
    own = tmp_path / "own.toml"
    text = read_task(find_task("xor"))
    own.write_text(text.replace("[core]", '[core]\nkind = "spatial"\nschedule = "pipelined"'))
    assert "pipelined" in run(own, "--board", "ulx3s-25f").output
    assert "pipelined" not in run(own, "--board", "ulx3s-25f", "--schedule", "sequential").output
    own.write_text(text.replace("[training]", "[training]\nscope = 'layer'"))
    assert "spatial" not in run(own, "--board", "ulx3s-25f").output
    asked = run(own, "--board", "ulx3s-25f", "--schedule", "pipelined")
    assert asked.exit_code == 2
    assert "scope = 'layer' with core = 'spatial'" in asked.output


def test_rows_end_where_a_board_is_full():
    task = Task.load("digits")
    rows = command.table(task, [find_board("icebreaker")], None, [])
    verdicts = [found.verdict for found, _ in rows]
    assert NO not in verdicts[:-1] or FITS not in verdicts
    assert [found.config.lanes for found, _ in rows] == sorted(f.config.lanes for f, _ in rows)


def test_the_clock_is_of_a_build_or_the_first_that_is_tried(tmp_path):
    board = find_board("icebreaker")
    build = {"board": "icebreaker", "task": "xor", "lanes": 4, "core_hz": 40_000_000}
    file = tmp_path / "boards.json"
    rows = [
        build,
        {**build, "lanes": 8, "core_hz": 30_000_000},
        {**build, "task": "digits", "lanes": 8, "core_hz": 29_000_000},
        {**build, "lanes": 2, "core_hz": 99, "fmax_holds": False},
    ]
    file.write_text(json.dumps({"rows": rows}))
    builds = command.recorded_builds(file)
    assert len(builds) == 3
    assert command.clock_of(board, "xor", 2, builds) == (40_000_000, "build of xor with 4 lanes")
    assert command.clock_of(board, "digits", 8, builds).hertz == 29_000_000
    assert command.clock_of(board, "digits", 9, builds) == (board.device.start_hz, command.START)
    assert command.clock_of(find_board("ulx3s-25f"), "xor", 2, builds).source == command.START
    for text in ("{", "[]", '{"rows": [1]}', '{"rows": [{"board": 1}]}'):
        file.write_text(text)
        assert command.recorded_builds(file) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothere"], "nothere"),
        (["xor", "--board", "icebreke"], "icebreaker"),
        (["xor", "--lanes", 3], "lanes = 3"),
        (["xor", "--json", "/nonexistent/x.json"], "/nonexistent"),
    ],
)
def test_bad_input_is_one_line(arguments, said):
    shown = run(*arguments)
    assert shown.exit_code == 2
    assert len(shown.output.strip().splitlines()) == 1
    assert said in shown.output


def test_the_families_that_are_counted_are_calibrated():
    assert set(estimate.coefficients()) == set(COUNTED)


def test_a_spatial_core_that_does_not_fit_names_a_board_where_it_would():
    spatial = Task.load("nist7x7_easy").with_overrides(core="spatial")
    found = assess(find_board("icebreaker"), spatial.core_layout(), 100)
    (name,) = remedies(found, known_boards().values())
    assert assess(find_board(name), spatial.core_layout(), 100).verdict != NO
    assert command.remark(found, list(known_boards().values())).endswith(f"would fit: {name}")
