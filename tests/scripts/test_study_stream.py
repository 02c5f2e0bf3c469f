"""`mgd study stream`: rows are runs with these windows, and the times are reckoned as it says."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from mgd.host.task.task import Task
from mgd.protocol.framing import CRC_BYTES, MAX_WRITE, REQUEST_HEADER
from mgd.scripts.cli import main
from mgd.scripts.study.runs import first_steps, runs
from mgd.scripts.study.stream import wire_bytes


def study(*args: object):
    return CliRunner().invoke(main, ["study", "stream", *map(str, args)])


def test_rows_are_runs_with_windows(tmp_path):
    file, plot = tmp_path / "s.json", tmp_path / "s.svg"
    done = study(
        "nist7x7_easy", "--target", 0.9, "--seeds", 3, "--steps", 1500, "--every", 100,
        "--resident", 40, "--resident", 16, "--passes", 1, "--passes", 5, "--passes", 16,
        "--baud", 100_000, "--clock-mhz", 10, "--plot", plot, "--json", file,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = json.loads(file.read_text())["rows"]
    assert [(r["resident"], r["passes"]) for r in rows] == [
        (0, 1),
        (40, 1),
        (40, 5),
        (16, 1),
        (16, 16),
    ]
    task = Task.load("nist7x7_easy")
    for row in rows:
        one = task.with_overrides(resident=row["resident"], passes=row["passes"])
        want = first_steps(one, runs(one, [1, 2, 3]), 0.9, 100, 1500)
        assert row["steps"] == want.tolist()
    assert rows[1]["steps"] == rows[0]["steps"], "one pass is the whole set's order"
    # 4 words of 1-bit pixels and the label: 3 words of the link.
    sample = 10 * wire_bytes(5) / 100_000
    assert [r["link_seconds_per_step"] for r in rows] == pytest.approx(
        [0, sample, sample / 5, sample, sample / 16]
    )
    core = rows[0]["core_seconds_per_step"]
    assert core == pytest.approx(106 / 10e6)
    assert rows[0]["seconds"] == pytest.approx(rows[0]["median"] * core)
    assert rows[1]["seconds"] == pytest.approx(rows[1]["median"] * sample)
    assert [r["bound_by"] for r in rows] == ["core", "link", "link", "link", "link"]
    assert b"<svg" in plot.read_bytes()


def test_bytes_on_the_wire():
    frame = REQUEST_HEADER + CRC_BYTES + 2
    assert wire_bytes(1) == 4 + frame
    assert wire_bytes(2 * MAX_WRITE) == 4 * MAX_WRITE + frame
    assert wire_bytes(2 * MAX_WRITE + 1) == 4 * (MAX_WRITE + 1) + 2 * frame


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("digits",), ["no window to study", "--resident N"]),
        (("digits", "--resident", 7, "--passes", 2), ["no window to study"]),
        (("digits", "--resident", 5000), ["resident = 5000", "only 1438 samples"]),
        (("digits_stream", "--plot", "x.txt"), [".png, .svg or .pdf"]),
    ],
)
def test_refused(arguments, words):
    done = study(*arguments)
    text = str(done.exception) + done.output
    assert all(word in text for word in words), text
    assert done.exit_code != 0
