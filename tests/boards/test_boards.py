"""The boards' descriptions, finding one by name, and `mgd boards`."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from mgd.boards.board import BUILDS, Board
from mgd.boards.devices import DEVICES, GOWIN, ICE40, blocks_for
from mgd.boards.registry import boards, find_board
from mgd.golden_model.errors import UserError
from mgd.scripts.cli import main
from mgd.scripts.commands.boards import markdown
from tests.support.paths import ROOT

DOCS = ROOT / "docs" / "boards.md"


@pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.name)
def test_description_agrees_with_the_platform(board: Board):
    platform = board.platform_class()()
    assert board.device_name == (platform.family if board.fpga_family is GOWIN else platform.device)
    assert board.clock_hz == platform.default_clk_frequency
    assert board.baud <= board.baud_max
    assert "{bitstream}" in board.flash
    if board.uart is None:
        platform.lookup("uart", 0)
    if board.led is not None:
        name, number, part = board.led
        led = platform.lookup(name, number)
        assert not part or part in [io.name for io in led.ios]


def test_the_boards_that_are_promised():
    wanted = {"icebreaker", "orangecrab-25f", "orangecrab-85f", "tang-nano-9k"}
    wanted |= {f"ulx3s-{size}f" for size in (12, 25, 45, 85)}
    assert wanted <= set(boards())
    assert boards()["orangecrab-25f"].uart is not None
    assert boards()["icebreaker"].device.sprams == 4


@pytest.mark.parametrize(
    ("name", "near"),
    [("icebraker", "icebreaker"), ("ULX3S-25F", "ulx3s-25f"), ("ulx3s", "ulx3s-12f"),
     ("orangecrab", "orangecrab-25f"), ("tang", "tang-nano-9k")],
)  # fmt: skip
def test_unknown_name_has_near_matches(name, near):
    with pytest.raises(UserError) as caught:
        find_board(name)
    assert f"board {name!r} is unknown (did you mean" in str(caught.value)
    assert repr(near) in str(caught.value)


def test_unknown_name_without_near_matches():
    with pytest.raises(UserError, match="`mgd boards` lists them"):
        find_board("qqqqqqq")


def test_own_board_from_a_platform_class():
    board = find_board("amaranth_boards.icesugar_pro:ICESugarProPlatform")
    assert (board.device_name, board.clock_hz, board.tier) == ("LFE5U-25F", 25_000_000, BUILDS)


def test_own_board_from_a_file(tmp_path):
    source = ROOT / "boards" / "known" / "icebreaker.py"
    (tmp_path / "mine.py").write_text(
        source.read_text().replace('"icebreaker"', '"mine"').replace("BOARDS = [", "LIST = [")
        + "\nBOARD = LIST[0]\n"
    )
    board = find_board(f"{tmp_path / 'mine.py'}:BOARD")
    assert board.name == "mine"
    assert board.device.fpga_family is ICE40


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere.at.all:X", "no module 'nowhere'"),
        ("boards.known.icebreaker:NOTHING", "no 'NOTHING'"),
        ("boards.known.icebreaker:BOARDS", "neither a boards.board.Board nor"),
        ("missing.py:X", "no such file"),
        ("amaranth_boards.arty_a7:ArtyA7_35Platform", "is unknown; there are iCE40UP5K"),
        ("amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_25FPlatform", "no resource 'uart'"),
    ],
)
def test_own_board_refused_in_one_line(place, words):
    with pytest.raises(UserError) as caught:
        find_board(place)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_file_of_the_users_own(tmp_path):
    (tmp_path / "mine.py").write_text("1 / 0\n")
    with pytest.raises(
        UserError, match=r"mine\.py: ZeroDivisionError: division by zero; correct it"
    ):
        find_board(f"{tmp_path / 'mine.py'}:BOARD")


def test_block_shapes():
    # 512 words of 16 bits are two blocks of 4 kbit and one of 18 kbit; 513 need a third.
    assert blocks_for(DEVICES["iCE40UP5K"], 512, 16) == 2
    assert blocks_for(DEVICES["iCE40UP5K"], 513, 16) == 3
    assert blocks_for(DEVICES["LFE5U-25F"], 1024, 16) == 1
    assert blocks_for(DEVICES["LFE5U-25F"], 1025, 32) == 3


def test_command_lists_and_shows():
    listed = CliRunner().invoke(main, ["boards"])
    assert listed.exit_code == 0
    for board in boards().values():
        assert re.search(rf"^{board.name} .*{board.tier}$", listed.output, re.MULTILINE)
    shown = CliRunner().invoke(main, ["boards", "orangecrab-25f", "--json"])
    (only,) = json.loads(shown.output)
    assert "N17" in only["note"]
    assert only["flash"].startswith("dfu-util")
    refused = CliRunner().invoke(main, ["boards", "icebraker"])
    assert refused.exit_code == 2
    assert len(refused.output.strip().splitlines()) == 1


def test_documentation_has_the_table():
    text = DOCS.read_text(encoding="utf-8")
    table = text.split("<!-- boards -->\n")[1].split("\n<!-- /boards -->")[0]
    assert table == markdown(list(boards().values())), "run: mgd boards --docs"
    for ball in ("N17", "M18"):
        assert ball in text
