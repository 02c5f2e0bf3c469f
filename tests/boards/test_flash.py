"""`mgd flash`: what it runs, what it refuses, and what it makes of a program's complaints."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from mgd.boards.flash import programmers as flash
from mgd.boards.flash import run as flash_run
from mgd.boards.registry import boards, find_board
from mgd.scripts.cli import main
from tests.support.paths import ROOT

HEADS = {
    "ice40": b"\xff\x00\x00\xff\x7e\xaa\x99\x7e\x51\x00",
    "ecp5": b"\xff\x00Part: LFE5U-25F\x00\xff\xff\xff\xbd\xb3\xff\xff",
    "gowin": b"//Copyright\n1111111100000000\n",
}


class Bench:
    """An empty folder whose `bin` is all of PATH."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls = folder / "calls.json"

    def install(self, program: str, says: str = "", code: int = 0, does: str = "") -> Path:
        """A program that records its arguments, prints and exits."""
        path = self.bin / program
        path.write_text(
            f"#!{sys.executable}\nimport json, os, sys, time\n"
            f"with open({str(self.calls)!r}, 'a') as file:\n"
            f"    print(json.dumps([{program!r}, *sys.argv[1:]]), file=file)\n"
            f"print({says!r}, file=sys.stderr)\n{does}\nsys.exit({code})\n"
        )
        path.chmod(0o755)
        return path

    def called(self) -> list[list[str]]:
        if not self.calls.exists():
            return []
        return [json.loads(line) for line in self.calls.read_text().splitlines()]

    def build(self, board: str, named: str | None = None) -> Path:
        """A folder as `mgd build` leaves it; the report names board `named`."""
        folder = self.folder / f"build of {board}"
        folder.mkdir()
        (folder / "top.bin").write_bytes(HEADS[find_board(board).fpga_family.name])
        report = {"board": named or board, "bitstream": "top.bin", "digest": "0123456789abcdef"}
        (folder / "report.json").write_text(json.dumps(report))
        return folder


@pytest.fixture
def bench(tmp_path, monkeypatch):
    bench = Bench(tmp_path)
    monkeypatch.setenv("PATH", str(bench.bin))
    return bench


def mgd(*args: object):
    return CliRunner().invoke(main, ["flash", *map(str, args)])


def refused(*args: object) -> str:
    """The last line on standard error; it must be the only error."""
    result = mgd(*args)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stderr.count("error: ") == 1
    *_, last = result.stderr.splitlines()
    assert last.startswith("error: ")
    return last


@pytest.mark.parametrize(
    ("board", "options", "expected"),
    [
        ("icebreaker", [], ["openFPGALoader", "-b", "ice40_generic", "FILE"]),
        ("icebreaker", ["--permanent"], ["openFPGALoader", "-b", "ice40_generic", "FILE"]),
        ("ulx3s-85f", [], ["openFPGALoader", "-b", "ulx3s", "FILE"]),
        ("ulx3s-12f", ["--permanent"], ["openFPGALoader", "-b", "ulx3s", "-f", "FILE"]),
        (
            "orangecrab-25f",
            [],
            ["dfu-util", "--device", "1209:5af0", "--alt", "0", "--download", "FILE"],
        ),
        (
            "colorlight-5a-75b",
            ["--cable", "digilent_hs2"],
            ["openFPGALoader", "-b", "colorlight", "-c", "digilent_hs2", "FILE"],
        ),
        (
            "ulx3s-25f",
            ["--cable", "dirtyJtag"],
            ["openFPGALoader", "-c", "dirtyJtag", "-b", "ulx3s", "FILE"],
        ),
        ("tang-nano-9k", [], ["openFPGALoader", "-b", "tangnano9k", "FILE"]),
        (
            "tang-primer-20k",
            ["--permanent"],
            ["openFPGALoader", "-b", "tangprimer20k", "-f", "FILE"],
        ),
    ],
)
def test_command_line(bench, board, options, expected):
    bench.install("openFPGALoader", says="Load SRAM: done")
    bench.install("dfu-util")
    folder = bench.build(board)
    result = mgd(folder, "--board", board, *options)
    assert result.exit_code == 0, result.output
    file = str(folder / "top.bin")
    expected = [file if word == "FILE" else word for word in expected]
    assert bench.called() == [expected]
    # The line that is printed can be pasted into a shell: the path has blanks.
    printed = [line for line in result.stdout.splitlines() if line.startswith("/")]
    assert [shlex.split(line) for line in printed] == [
        [str(bench.bin / expected[0]), *expected[1:]]
    ]
    assert f"{board} holds top.bin, build 0123456789ab" in result.stdout
    assert ("keeps it in flash" in result.stdout) == (
        "--permanent" not in options and board in ("icebreaker", "orangecrab-25f")
    )


def test_output_is_passed_on(bench):
    bench.install("openFPGALoader", says="Load SRAM: [=====] 100%")
    assert "[=====] 100%" in mgd(bench.build("ulx3s-12f")).stderr


def test_board_may_be_left_out(bench):
    bench.install("openFPGALoader")
    assert mgd(bench.build("ulx3s-45f")).exit_code == 0
    assert bench.called()[0][:3] == ["openFPGALoader", "-b", "ulx3s"]


def test_bare_bitstream(bench, monkeypatch):
    bench.install("openFPGALoader")
    file = bench.folder / "-x.bit"
    file.write_bytes(HEADS["ecp5"])
    assert "add --board NAME" in refused(file)
    # A name that the flasher must not take for an option.
    monkeypatch.chdir(bench.folder)
    result = mgd("--board", "ulx3s-25f", "--", "-x.bit")
    assert result.exit_code == 0
    assert "only its format could be checked" in result.stderr
    assert bench.called() == [["openFPGALoader", "-b", "ulx3s", str(file)]]


@pytest.mark.parametrize(
    ("board", "program", "arguments"),
    [
        ("icebreaker", "iceprog", []),
        ("ulx3s-25f", "fujprog", []),
        ("ulx3s-25f --permanent", "fujprog", ["-j", "flash"]),
    ],
)
def test_alternatives(bench, board, program, arguments):
    board, *options = board.split()
    bench.install(program)
    assert mgd(bench.build(board), "--board", board, *options).exit_code == 0
    assert [call[:-1] for call in bench.called()] == [[program, *arguments]]


def test_cable_needs_openfpgaloader(bench):
    bench.install("fujprog")
    assert "fujprog knows no cables" in refused(bench.build("ulx3s-25f"), "--cable", "ft232")
    assert bench.called() == []


@pytest.mark.parametrize("board", list(flash.FLASHING))
def test_missing_program_is_named_with_its_remedy(bench, board, monkeypatch):
    # What a build sets so that Amaranth is content must not count as a flasher.
    monkeypatch.setenv("OPENFPGALOADER", "true")
    message = refused(bench.build(board), "--board", board)
    package = "dfu-util" if board.startswith("orangecrab") else "openfpgaloader"
    assert f"sudo apt-get install {package}" in message
    assert "is not installed" in message


def test_refuses_another_board(bench):
    bench.install("openFPGALoader")
    folder = bench.build("ulx3s-25f")
    for source in (folder, folder / "top.bin"):
        message = refused(source, "--board", "ulx3s-45f")
        assert "was built for ulx3s-25f, not for ulx3s-45f" in message
    assert bench.called() == []


def test_refuses_a_file_that_was_cut_off(bench):
    bench.install("openFPGALoader")
    folder = bench.build("ulx3s-25f")
    data = (folder / "top.bin").read_bytes()
    report = json.loads((folder / "report.json").read_text())
    report["bitstream_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "report.json").write_text(json.dumps(report))
    assert mgd(folder).exit_code == 0
    (folder / "top.bin").write_bytes(data[:-1])
    assert "is not the file that report.json beside it describes" in refused(folder)
    assert len(bench.called()) == 1


def test_missed_timing_is_told(bench):
    bench.install("openFPGALoader")
    folder = bench.build("ulx3s-25f")
    report = json.loads((folder / "report.json").read_text())
    for met in (True, False):
        (folder / "report.json").write_text(json.dumps({**report, "timing_met": met}))
        assert ("does not meet its timing" in mgd(folder).stderr) == (not met)


def test_a_report_about_another_file_says_nothing(bench):
    bench.install("openFPGALoader")
    folder = bench.build("ulx3s-25f")
    other = folder / "other.bit"
    other.write_bytes(HEADS["ecp5"])
    assert mgd(other, "--board", "ulx3s-45f").exit_code == 0


@pytest.mark.parametrize("found", [*HEADS, None])
@pytest.mark.parametrize("board", ["icebreaker", "orangecrab-85f", "tang-nano-9k"])
def test_refuses_another_format(bench, board, found):
    bench.install("openFPGALoader")
    bench.install("dfu-util")
    file = bench.folder / "bits"
    file.write_bytes(HEADS[found] if found else b"#!/bin/sh\n")
    if found == find_board(board).fpga_family.name:
        assert mgd(file, "--board", board).exit_code == 0
        return
    message = refused(file, "--board", board)
    assert (f"for {found};" if found else "no bitstream that we know") in message
    assert bench.called() == []


def test_bad_input(bench):
    bench.install("openFPGALoader")
    empty = bench.folder / "empty.bit"
    empty.touch()
    folder = bench.build("ulx3s-25f")
    assert "no bitstream: give" in refused()
    assert "did you mean 'icebreaker'" in refused(folder, "--board", "icebraker")
    assert "no such file; make it with `mgd build`" in refused("nowhere", "--board", "ulx3s-12f")
    assert "holds no report.json" in refused(bench.bin, "--board", "ulx3s-12f")
    assert "is empty" in refused(empty, "--board", "ulx3s-12f")
    (folder / "top.bin").unlink()
    assert "top.bin: no such file" in refused(folder)
    (folder / "report.json").write_text('{"board": "ulx3s-25f"}')
    assert "does not name board and bitstream" in refused(folder)
    (folder / "report.json").write_text("{")
    assert "report.json: cannot be read" in refused(folder)
    assert bench.called() == []


@pytest.mark.parametrize(
    ("board", "program", "says"),
    [
        ("ulx3s-25f", "openFPGALoader", "unable to open ftdi device: -4 (usb_open() failed)"),
        ("ulx3s-25f", "openFPGALoader", "unable to open ftdi device: -4 (libusb_open() failed)"),
        (
            "orangecrab-25f",
            "dfu-util",
            "dfu-util: Cannot open DFU device 1209:5af0 found on devnum 5 (LIBUSB_ERROR_ACCESS)",
        ),
    ],
)
def test_permission_prints_the_rules(bench, board, program, says):
    bench.install(program, says, 1)
    result = mgd(bench.build(board), "--board", board)
    assert result.exit_code == 2
    error = result.stderr.splitlines()[-1]
    assert error.startswith("error: this user may not open the board's USB device (")
    assert says in error
    assert 'ATTRS{idVendor}=="0403", ATTRS{idProduct}=="6015"' in result.stderr
    assert "sudo tee /etc/udev/rules.d/60-mgd-fpga.rules" in result.stderr
    assert "udevadm control --reload" in result.stderr


@pytest.mark.parametrize(
    ("board", "program", "says", "expected"),
    [
        (
            "tang-nano-9k",
            "openFPGALoader",
            "unable to open ftdi device: -3 (device not found)",
            "no tang-nano-9k was found",
        ),
        (
            "orangecrab-85f",
            "dfu-util",
            "dfu-util: No DFU capable USB device available",
            "while you hold its button down",
        ),
        (
            "icebreaker",
            "iceprog",
            "Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014).",
            "no icebreaker was found",
        ),
        (
            "tang-primer-20k",
            "openFPGALoader",
            "Error: cannot find board 'tangprimer20k'",
            "too old for tang-primer-20k",
        ),
        ("ulx3s-25f", "openFPGALoader", "flash chip is on fire", "failed with exit code 7 (flash"),
        ("ulx3s-25f", "openFPGALoader", "", "it printed nothing"),
    ],
)
def test_failures(bench, board, program, says, expected):
    bench.install(program, says, 7)
    message = refused(bench.build(board), "--board", board)
    assert expected in message
    assert says in message
    assert "udev" not in message


def test_killed_program(bench):
    bench.install("openFPGALoader", does="os.kill(os.getpid(), 9)")
    assert "killed by signal 9" in refused(bench.build("ulx3s-25f"))


def test_program_that_cannot_run(bench):
    path = bench.install("openFPGALoader")
    path.write_text("#!/no/such/interpreter\n")
    assert "cannot be run" in refused(bench.build("ulx3s-25f"))


def test_program_that_hangs(bench, monkeypatch):
    monkeypatch.setattr(flash_run, "LIMIT_SECONDS", 1)
    pid = bench.folder / "pid"
    bench.install(
        "openFPGALoader", does=f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    assert "was not done after 1 s and was ended" in refused(bench.build("ulx3s-25f"))
    assert not (Path("/proc") / (pid.read_text() if pid.exists() else "none")).exists()


def test_program_that_closes_its_output_and_hangs(bench, monkeypatch):
    monkeypatch.setattr(flash_run, "LIMIT_SECONDS", 1)
    bench.install("openFPGALoader", does="os.close(1); os.close(2); time.sleep(600)")
    assert "was not done after 1 s" in refused(bench.build("ulx3s-25f"))


def test_interrupt(bench, monkeypatch):
    ended = []

    def interrupted(process, *_):
        ended.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(flash_run, "_follow", interrupted)
    bench.install("openFPGALoader", does="time.sleep(600)")
    assert "may hold half a bitstream" in refused(bench.build("ulx3s-25f"))
    assert ended[0].returncode == -9


def test_boot_loader_that_leaves_before_the_last_status(bench):
    says = (
        "Download done.\ndfu-util: unable to read DFU status after completion "
        "(LIBUSB_ERROR_NO_DEVICE)"
    )
    bench.install("dfu-util", says, 74)
    assert mgd(bench.build("orangecrab-25f")).exit_code == 0
    # Half-way it is an error.
    bench.install("dfu-util", says.replace("Download done", "Download 50 %"), 74)
    message = refused(bench.folder / "build of orangecrab-25f")
    assert "failed with exit code 74" in message


def test_udev_rules():
    rules = mgd("--udev").stdout
    assert rules == (ROOT / "boards" / "flash" / "udev" / "60-mgd-fpga.rules").read_text()
    for device in ("0403:6010", "0403:6015", "1209:5af0", "10c4:ea60", "1a86:7523", "0403:6001"):
        vendor, product = device.split(":")
        assert f'ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}"' in rules
    statements = [line for line in rules.splitlines() if line and not line.startswith("#")]
    targets = {part.split('"')[1] for s in statements for part in s.split(", ") if "GOTO" in part}
    labels = {s.split('"')[1] for s in statements if s.startswith("LABEL")}
    assert targets == labels
    assert all(s.count('"') % 2 == 0 for s in statements)


def test_udev_rules_are_packaged():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "udev/*.rules" in project["tool"]["setuptools"]["package-data"]["mgd.boards.flash"]


def test_every_board_names_its_file():
    for board, how in flash.FLASHING.items():
        for flasher in how.flashers:
            assert flasher.write.count(flash.BITSTREAM) == 1, board
            assert flasher.load.count(flash.BITSTREAM) <= 1, board


def test_all_boards_can_be_flashed_as_they_are_described():
    assert set(flash.FLASHING) == set(boards())
    for board in boards().values():
        how = flash.flashing(board)
        assert how.flashers[0].program == shlex.split(board.flash)[0]


OWN = """
from mgd.boards.board import Board
MINE = Board(
    name="mine", title="My own", platform="x:Y", device_name="LFE5U-25F", clock_hz=25_000_000,
    serial="USB", flash={flash!r},
)
"""


def test_own_board(bench):
    bench.install("ecpprog")
    file = bench.folder / "own.py"
    file.write_text(OWN.format(flash="ecpprog -S {bitstream}"))
    folder = bench.build("ulx3s-25f", named="mine")
    assert mgd(folder, "--board", f"{file}:MINE").exit_code == 0
    assert bench.called() == [["ecpprog", "-S", str(folder / "top.bin")]]
    file.write_text(OWN.format(flash="missing {bitstream}"))
    assert "missing is not installed" in refused(folder, "--board", f"{file}:MINE")
    file.write_text(OWN.format(flash="by hand"))
    assert "is no command with {bitstream} in it" in refused(folder, "--board", f"{file}:MINE")
