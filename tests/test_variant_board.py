"""Boards that are built for a variant of the method: they say so, and equal the golden model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from boards import simulated
from golden_model.errors import UserError
from host.board_session import BoardSession
from host.task import Task
from scripts.cli import main
from tests.simulation import table_task
from tests.test_spatial_core import fast_build

CASES = {
    "layers": ('scope = "layer"\nhalve_every = 8\n', ("--lanes", "3")),
}
OTHER = {"layers": "scope = 'network'"}


@pytest.fixture(params=CASES)
def case(request, tmp_path, monkeypatch) -> str:
    """The name of a case, whose task is in the working folder."""
    table_task(tmp_path)
    keys, _ = CASES[request.param]
    text = (tmp_path / "table.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("[training]", f"[training]\n{keys}"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(simulated, "build", fast_build)
    return request.param


def test_verify(case):
    arguments = ["verify", "mine.toml", "--steps", "31", "--json", "v.json", *CASES[case][1]]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(Path("v.json").read_text())["mismatches"] == 0

    # The same board refuses what it was not built for.
    task = Task.load("mine.toml").with_overrides(lanes=3)
    plain = Task.load("table.toml").with_overrides(lanes=3)
    config = task.core_config()
    board = simulated.run(fast_build(config, 2 * 40 * config.record_stride))
    try:
        with BoardSession(board.port, task.network(), backend="sim") as session:
            assert session.config.variant == config.variant
            session.load_samples(*task.datasets())
            with pytest.raises(UserError, match=f"{OTHER[case]}: this core was built for"):
                session.start(plain.settings(), 1)
    finally:
        board.close()
