"""The bench commands: their bounds, and what they write."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from mgd.golden_model.settings import Settings
from mgd.scripts.bench.core import CASES, Case, bound, measure, variants
from mgd.scripts.bench.group import record
from mgd.scripts.cli import main
from mgd.scripts.common.sources import RECORDS
from tests.support import simulation  # noqa: F401  sets the cache of compiled boards


@pytest.mark.parametrize(
    ("settings", "clocks"),
    [
        # 64·32 products of layer 1 serve both passes, 32·10 of layer 2 are done twice.
        (Settings("np"), (2048 + 2 * 320) / 8),
        (Settings("wp"), (2048 + 2 * 320) / 8),
        # Every weight is visited for its signs; the baseline is measured once in 16 steps.
        (Settings("wp", "forward", "residual", tau_x=16, tau_theta=16), (2368 + 2368 / 16) / 8),
        (Settings("np", "forward", "residual", tau_x=16, tau_theta=16), (2368 / 16 + 320) / 8),
        # Sums per node: layer 1 and the outer products once in 16 steps, layer 2 once a pass.
        (
            Settings("np", accumulate="nodes", tau_x=16, tau_theta=16),
            ((2048 + 2368) / 16 + 2 * 320) / 8,
        ),
        (
            Settings("np", "forward", accumulate="nodes", tau_x=16, tau_theta=16),
            ((2048 + 2368) / 16 + 320 + 320 / 16) / 8,
        ),
    ],
)
def test_bound(settings, clocks):
    assert bound(Case((64, 32, 10), 8), settings) == clocks


def test_core_measures_both_methods_and_roundings():
    names = [name for name, _ in variants()]
    assert len(set(names)) == 8
    assert {case.layers for case in CASES} >= {(64, 32, 10), (784, 32, 10), (49, 4, 4)}
    (row,) = measure(Case((6, 4, 3), 2), False, variants()[:1], steps=20)
    # No core is faster than its multipliers, and this one is not hopeless.
    assert row["bound"] == (24 + 2 * 12) / 2
    assert row["bound"] < row["clocks_per_step"] < 10 * row["bound"]
    assert row["ratio"] == pytest.approx(row["bound"] / row["clocks_per_step"])


def test_link_counts_bit_times(tmp_path):
    file = tmp_path / "link.json"
    result = CliRunner().invoke(main, ["bench", "link", "--task", "xor", "--json", str(file)])
    assert result.exit_code == 0, result.output
    rows = json.loads(file.read_text())["rows"]
    names = ["samples written", "samples read", "weights written", "weights read"]
    assert [row["transfer"] for row in rows] == [*names, "one register read"]
    assert all(0 < row["rate"] < 1 for row in rows)
    assert all(row["link_repeats"] == row["link_errors"] == 0 for row in rows)
    # Frames of a request and a reply take this many bits at least.
    assert rows[-1]["bit_times"] > 10 * (13 + 13)


def test_record_names_machine_and_versions(tmp_path):
    record(tmp_path / "r.json", "core", [{"ratio": 0.5}])
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["rows"] == [{"ratio": 0.5}]
    assert {"bench", "version", "machine", "versions"} <= set(written)
    assert written["made_of"] == RECORDS["core"].digest()


def test_help_lists_the_benches_and_an_unknown_one_is_one_line():
    shown = CliRunner().invoke(main, ["bench", "--help"])
    assert shown.exit_code == 0
    assert "core" in shown.output
    assert "sim" in shown.output
    refused = CliRunner().invoke(main, ["bench", "nonsense"])
    assert refused.exit_code == 2
    assert "nonsense" in refused.output
    assert len(refused.output.strip().splitlines()) == 1
