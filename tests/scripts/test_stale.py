"""Records that were made of other sources: which are named, and what does not count."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from mgd.boards.registry import find_board
from mgd.golden_model.errors import UserError
from mgd.scripts.bench import group
from mgd.scripts.bench.boards import CASES, Case, made_of
from mgd.scripts.bench.stale import build_command, stale_records
from mgd.scripts.cli import main
from mgd.scripts.common.sources import CORES, RECORDS, Sources, build_sources
from tests.support.paths import ROOT

COPIED = ("golden_model", "protocol", "rtl", "boards", "host", "examples", "scripts", "benchmarks")
CODE = '''"""About this."""
WIDTH = 8
"""Bits."""


def double(x):
    """Twice."""
    # By a shift.
    return x << 1
'''


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A copy of the sources, with records in benchmarks/ that are all of them."""
    root = tmp_path_factory.mktemp("repository")
    for folder in COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    rows = [{**case._asdict(), "made_of": made_of(case, root)} for case in CASES]
    for path in (root / "benchmarks").glob("*.json"):
        table = json.loads(path.read_text())
        if table["bench"] == "boards":
            table["rows"] = rows
            path.write_text(json.dumps(table))
    for path in (root / "benchmarks").glob("*.json"):
        table = json.loads(path.read_text())
        if table["bench"] != "boards":
            path.write_text(json.dumps(table | {"made_of": RECORDS[table["bench"]].digest(root)}))
    return root


@pytest.fixture
def edited(repository):
    """Appends to a file of the copy; as it was when the test has ended."""
    before: dict[Path, str] = {}

    def append(name: str, text: str) -> set[str]:
        path = repository / name
        before.setdefault(path, path.read_text())
        path.write_text(before[path] + text)
        return {found.record for found in stale_records(repository / "benchmarks", repository)}

    yield append
    for path, text in before.items():
        path.write_text(text)


def names(found: set[str]) -> set[str]:
    """Files of the records."""
    return {record.split(",")[0].removeprefix("benchmarks/") for record in found}


def test_documentation_does_not_count(tmp_path):
    file = tmp_path / "code.py"

    def digest(text: str) -> str:
        file.write_text(text)
        return Sources(("code.py",)).digest(tmp_path)

    first = digest(CODE)
    for old, new in (("About", "Of"), ("Bits", "In bits"), ("Twice", "2x"), ("By a", "With a")):
        assert digest(CODE.replace(old, new)) == first
    assert (
        digest(CODE.replace('    """Twice."""\n', "").replace("x << 1", "(x\n    << 1)")) == first
    )
    for old, new in (("= 8", "= 9"), ("<< 1", "<< 2"), ("double", "twice"), ("WIDTH", "BITS")):
        assert digest(CODE.replace(old, new)) != first


def test_nothing_is_stale_until_sources_change(repository, edited):
    assert stale_records(repository / "benchmarks", repository) == []
    assert edited("golden_model/network.py", "\n# A comment.\n") == set()
    everything = edited("golden_model/network.py", "\nMORE = 1\n")
    assert names(everything) == {path.name for path in (ROOT / "benchmarks").glob("*.json")}
    assert len([record for record in everything if "boards.json" in record]) == len(CASES)


@pytest.mark.parametrize(
    ("file", "stale", "builds"),
    [
        ("rtl/spatial/core.py", {"boards.json", "time_to_train.json"}, "spatial"),
        ("boards/families/ecp5.py", {"boards.json", "area.json", "fit.json"}, "ulx3s"),
        ("boards/families/gowin.py", {"area.json", "fit.json"}, None),
        ("boards/simulated/simulated.cpp", {"core.json", "sim.json", "link.json"}, None),
        ("scripts/study/angle.py", {"angle.json"}, None),
        ("scripts/study/steps.py", {"gates.json", "skips_np.json", "skips_wp.json"}, None),
        ("boards/known/ulx3s.py", set(), None),
        ("host/report/page.py", set(), None),
    ],
)
def test_what_a_change_makes_stale(edited, file, stale, builds):
    text = "\n// more\n" if file.endswith(".cpp") else "\nMORE = 1\n"
    found = edited(file, text)
    assert names(found) == stale
    rows = {record for record in found if "boards.json" in record}
    wanted = [case for case in CASES if builds and builds in f"{case.board} {_kind(case)}"]
    assert len(rows) == len(wanted)
    assert all(builds in row for row in rows)


def _kind(case: Case) -> str:
    return "folded" if case.lanes else "spatial"


def test_a_record_that_says_nothing_of_its_sources_is_stale(repository, edited):
    path = repository / "benchmarks" / "core.json"
    text = path.read_text()
    table = json.loads(text)
    del table["made_of"]
    path.write_text(json.dumps(table))
    try:
        (found,) = stale_records(repository / "benchmarks", repository)
        assert str(found) == "benchmarks/core.json: mgd bench core --json benchmarks/core.json"
        path.write_text("{")
        with pytest.raises(UserError, match=r"core\.json: cannot be read as a record"):
            stale_records(repository / "benchmarks", repository)
    finally:
        path.write_text(text)


def test_rows_that_are_marked_stay_stale(repository):
    path = repository / "benchmarks" / "boards.json"
    text = path.read_text()
    table = json.loads(text)
    table["rows"][0]["earlier"] = True
    path.write_text(json.dumps(table))
    try:
        found = stale_records(repository / "benchmarks", repository)
    finally:
        path.write_text(text)
    assert [str(record) for record in found] == [
        "benchmarks/boards.json, xor on icebreaker, 2 lanes †: mgd bench boards --task xor --board "
        "icebreaker --lanes 2 --json benchmarks/boards.json"
    ]


def test_the_command_of_a_row_builds_it():
    for case in CASES:
        words = build_command(case, "b.json").split()[3:]
        options = dict(zip(words[::2], words[1::2], strict=True))
        assert (options["--task"], options["--board"]) == (case.task, case.board)
        assert options.get("--lanes") == (str(case.lanes) if case.lanes else None)
        assert options.get("--method") == (None if case.lanes else case.method)


def test_the_command_names_what_is_stale(repository, edited, monkeypatch):
    monkeypatch.setattr(group, "in_checkout", lambda *parts: repository.joinpath(*parts))
    path = repository / "benchmarks" / "core.json"
    text = path.read_text()
    path.write_text(text.replace(json.loads(text)["made_of"], "0" * 64))
    try:
        shown = CliRunner().invoke(main, ["bench", "--stale"])
    finally:
        path.write_text(text)
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert "benchmarks/core.json: mgd bench core --json benchmarks/core.json" in lines
    refused = CliRunner().invoke(main, ["bench", "--stale", "core"])
    assert refused.exit_code == 2
    assert refused.output == "error: --stale with core: give it alone\n"


def test_sources_exist_and_every_record_has_a_command():
    sources = [*RECORDS.values(), *CORES.values()]
    for case in CASES:
        sources.append(build_sources(_kind(case), find_board(case.board).fpga_family))
    for path in {path for found in sources for path in (*found.paths, *found.without)}:
        assert (ROOT / path).exists(), path
    for found in stale_records(ROOT / "benchmarks"):
        assert found.command.startswith("mgd ")


def test_the_folded_core_has_no_source_of_the_spatial_one():
    """But for rtl/system and capabilities, which choose between the two."""
    for folder in ("folded", "lib", "memory", "units"):
        for path in (ROOT / "rtl" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                module = getattr(node, "module", None) or ""
                assert not module.startswith("mgd.rtl.spatial"), path
