"""`mgd bench boards`: which cores are built, with what, and what stays of earlier records."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mgd.boards.flow.timing_closure import SEEDS, Options
from mgd.golden_model.errors import UserError
from mgd.scripts.bench import boards as bench_boards
from mgd.scripts.bench.boards import CASES, Case
from mgd.scripts.cli import main


class Builder:
    """Stands in for builds that take minutes: notes what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Case, Options]] = []
        self.fails: dict[Case, str] = {}
        self.made_of = "now"

    def measure(self, case: Case, options: Options) -> dict[str, Any]:
        self.asked.append((case, options))
        if case in self.fails:
            raise UserError(self.fails[case])
        counts = {"lut": 1000, "dsp": 2, "ram": 3, "core_hz": 50_000_000, "fmax_mhz": 51.5}
        speed = {"clocks_per_step": 100.0, "steps_per_second": 500_000.0}
        return {**case._asdict(), **counts, **speed, "made_of": self.made_of}


@pytest.fixture
def builder(monkeypatch, tmp_path) -> Builder:
    found = Builder()
    docs = tmp_path / "boards.md"
    docs.write_text("Before.\n<!-- builds -->\nold\n<!-- /builds -->\nBehind.\n")
    monkeypatch.setattr(bench_boards, "measure", found.measure)
    monkeypatch.setattr(bench_boards, "made_of", lambda _case: found.made_of)
    monkeypatch.setattr(bench_boards, "in_checkout", lambda *_: docs)
    found.docs = docs
    return found


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", "boards", *arguments])


def test_each_core_of_a_board_can_be_chosen(builder):
    spatial = ("--task", "nist7x7_easy", "--board", "ulx3s-45f")
    for arguments, cases in (
        ((), CASES),
        (("--task", "digits", "--lanes", "16"), [Case("digits", "ulx3s-25f", 16)]),
        (spatial, [case for case in CASES if case.board == "ulx3s-45f"]),
        ((*spatial, "--schedule", "sequential"), [Case(*spatial[1::2], None, "np", 50)]),
        (
            (*spatial, "--method", "wp", "--schedule", "pipelined"),
            [Case(*spatial[1::2], None, "wp", schedule="pipelined")],
        ),
    ):
        builder.asked.clear()
        result = bench(*arguments)
        assert result.exit_code == 0, result.output
        assert [case for case, _ in builder.asked] == list(cases)
        assert len(result.output.splitlines()) == len(cases)
    result = bench("--task", "digits", "--lanes", "5")
    assert result.exit_code != 0
    assert "no case has that task, board, method, schedule and number of lanes" in result.output


def test_clock_and_seed_of_a_record_can_be_given(builder):
    for arguments, options in (
        ((), Options()),
        (("--clock", "40.5"), Options(clock_hz=40_500_000)),
        (("--clock", "95", "--seed", "2"), Options(clock_hz=95_000_000, seeds=(2,))),
    ):
        builder.asked.clear()
        assert bench("--task", "xor", "--board", "icebreaker", *arguments).exit_code == 0
        assert {asked for _, asked in builder.asked} == {options}
    assert Options().seeds == SEEDS


def test_other_rows_stay_and_are_marked_where_cores_have_changed(builder, tmp_path):
    file = tmp_path / "boards.json"
    assert bench("--json", str(file)).exit_code == 0
    assert "†" not in builder.docs.read_text()
    assert bench("--task", "xor", "--json", str(file)).exit_code == 0
    assert "†" not in builder.docs.read_text(), "nothing has changed"

    builder.made_of = "another core"
    builder.fails[CASES[0]] = "timing fails: the slowest path allows 1 MHz (log: /tmp/x)"
    result = bench("--task", "xor", "--json", str(file))
    assert result.exit_code == 0, result.output
    rows = json.loads(file.read_text())["rows"]
    assert [bench_boards.case_of(row) for row in rows] == list(CASES)
    assert [row.get("earlier", False) for row in rows] == [case.task != "xor" for case in CASES]
    assert rows[0]["error"] == "timing fails: the slowest path allows 1 MHz"
    page = builder.docs.read_text()
    assert page.startswith("Before.\n")
    assert page.endswith("Behind.\n")
    assert "old" not in page
    marked = [line for line in page.splitlines() if line.startswith("|") and "†" in line]
    assert len(marked) == sum(case.task != "xor" for case in CASES)
