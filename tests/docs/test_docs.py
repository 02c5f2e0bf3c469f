"""README, tutorial and architecture: their commands run, their numbers are those of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.back import rtlil

from mgd.golden_model.network import Network
from mgd.host.task.task import Task
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.lane import Lane
from mgd.rtl.folded.program.step_clocks import step_clocks
from mgd.scripts.cli import COMMANDS
from tests.support.paths import ROOT

README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
WATCHDOG_SECONDS = 600
"""For two compiled boards on a busy machine."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """(what stands after the opening fence, text) of each fenced block."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def block(page: Path, info: str) -> str:
    """The one block fenced with `info`."""
    (text,) = [body for head, body in blocks(page) if head == info]
    return text


# -- links and names ------------------------------------------------------------------------


def anchor(heading: str) -> str:
    """GitHub's name of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path):
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?://", target):
            continue
        name, _, fragment = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), f"{page.name} links to {target}"
        if fragment:
            headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.M)
            assert fragment in map(anchor, headings), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", [README, TUTORIAL, ARCHITECTURE], ids=lambda page: page.name)
def test_files_named_exist(page: Path):
    """Names in backticks that start with one of the project's folders."""
    folders = (
        "golden_model|protocol|rtl|cocotb_tests|boards|host|scripts|examples|tests|docs|benchmarks"
    )
    text = page.read_text(encoding="utf-8")
    names = re.findall(rf"`((?:{folders})/[\w./]*)`", text)
    assert names
    for name in names:
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_names_in_the_architecture_exist():
    """`Lane.latency_of` and the like: a class, and a name in the file that defines it."""
    names = set(re.findall(r"`([A-Z]\w+)\.(\w+)`", ARCHITECTURE.read_text(encoding="utf-8")))
    assert names
    sources = [
        p.read_text() for d in ("rtl", "protocol", "golden_model") for p in (ROOT / d).rglob("*.py")
    ]
    for kind, name in names:
        (source,) = [
            text for text in sources if f"\nclass {kind}(" in text or f"\nclass {kind}:" in text
        ]
        assert re.search(rf"\b{name}\b", source), f"{kind}.{name}"


# -- commands -------------------------------------------------------------------------------


def test_commands_of_the_readme_are_known():
    text = README.read_text(encoding="utf-8")
    used = re.findall(r"(?<!from )\bmgd (\w+)", text)
    assert {"train", "verify", "doctor"} <= set(used) <= set(COMMANDS)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"train", "test"} <= set(re.findall(r"^make (\w+)", text, re.M)) <= targets


def test_task_file_of_the_readme(tmp_path):
    (tmp_path / "flowers.csv").write_text(
        "a,b,c,d,kind\n"
        + "".join(f"{k},{k % 7},{k % 5},{k % 3},{'xyz'[k % 3]}\n" for k in range(60))
    )
    text = block(README, "toml")
    assert len(text.strip().splitlines()) == 3
    task = Task.parse(text, "README.md", tmp_path)
    train, test = task.datasets()
    assert len(train) + len(test) == 60
    assert train.codes.shape[1] == task.spec.network.layers[0]


def test_tutorial(tmp_path):
    """All of it, top to bottom in one shell, in a folder that looks like the clone."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    script, shown = ["set -euo pipefail"], []
    for head, body in blocks(TUTORIAL):
        if head == "sh":
            script.append(body)
        elif head == "python":
            script.append(f"python - <<'END_OF_BLOCK'\n{body}END_OF_BLOCK")
        elif head.startswith("toml file="):
            script.append(
                f"cat > {head.removeprefix('toml file=')} <<'END_OF_BLOCK'\n{body}END_OF_BLOCK"
            )
        else:
            assert head == "text", f"what is a block of {head!r}?"
            shown += body.splitlines()
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WATCHDOG_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.splitlines()
    assert shown
    for line in shown:
        assert line in printed, f"the tutorial shows {line!r}, the run printed\n{done.stdout}"


# -- the core -------------------------------------------------------------------------------


def readme_design():
    """The README's snippet, executed: its `core`, `samples` and module `m`."""
    names: dict = {}
    exec(block(README, "python"), names)
    return names


def test_snippet_of_the_readme_elaborates():
    names = readme_design()
    text = rtlil.convert(names["m"], ports=[names["core"].busy])
    assert "lane_7" in text


def table_rows(page: Path, first: str) -> list[list[str]]:
    """The rows of the table whose first column is headed `first`."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_table_of_clocks_per_step():
    rows = table_rows(ARCHITECTURE, "task")
    assert len(rows) >= 3
    for name, lanes, clocks in rows:
        task = Task.load(name)
        assert task.spec.core.lanes == int(lanes)
        config = CoreConfig(task.spec.network, task.spec.core.lanes)
        assert step_clocks(config) == int(clocks), name


def test_memory_map_of_the_architecture():
    task = Task.load("digits")
    config = CoreConfig(task.spec.network, task.spec.core.lanes)
    rows = [[row[0], row[1], row[3]] for row in table_rows(ARCHITECTURE, "words")]
    expected = []
    for layer, groups in enumerate(config.groups):
        width = config.network.layers[layer] + 1
        for group in range(groups):
            start = config.first_word[layer] + group * width
            expected.append([f"{start}–{start + width - 1}", str(layer + 1), str(group)])
    assert rows == expected


def test_latencies_named_in_the_architecture():
    """The clocks of the token pipeline, as the components state them."""
    plain = CoreConfig(Network((3, 2)), 1)
    wide = CoreConfig(Network((3, 2), accumulators=True), 1)
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert f"U = {Lane.latency_of(plain)} " in text
    assert f"U = {Lane.latency_of(wide)} " in text
