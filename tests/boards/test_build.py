"""The build with tools that only pretend: clocks, seeds, cache, and every way to fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mgd.boards.board import Board
from mgd.boards.devices import DEVICES
from mgd.boards.estimate.kinds import fitted, make_design
from mgd.boards.families import pll
from mgd.boards.flow import build as building
from mgd.boards.flow import commands as flow
from mgd.boards.flow import steps, timing_closure
from mgd.boards.flow.build import Built, build
from mgd.boards.flow.timing_closure import Options
from mgd.boards.registry import find_board
from mgd.boards.tools import changed_environment
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.host.task.names import find_task, read_task
from mgd.host.task.task import Task
from mgd.protocol.build_options import BuildOptions
from mgd.protocol.fixed_settings import Fixed
from mgd.rtl.folded.config import CoreConfig
from mgd.scripts.cli import main
from mgd.scripts.commands.build import finished_report, task_design
from mgd.scripts.common.build_folder import check_build_folder, write_build
from tests.support.paths import ROOT

XOR = Task.load("xor")
WAIT_SECONDS = 240
"""A watchdog; nothing here takes seconds."""

YOSYS = """
import sys, pathlib
pathlib.Path("top.json").write_text("netlist of " + pathlib.Path("top.il").read_text())
pathlib.Path("cells.json").write_text('{"design": {"num_cells_by_type": {"SB_LUT4": 100}}}')
pathlib.Path(sys.argv[sys.argv.index("-l") + 1]).write_text(LOG + "End of script.\\n")
"""
NEXTPNR = """
import json, pathlib, sys
def option(name):
    return sys.argv[sys.argv.index(name) + 1]
fmax = FMAX.get(int(option("--seed")), 0.0)
counts = {"ICESTORM_LC": {"used": 100, "available": 5280}}
clock = {"achieved": fmax, "constraint": float(option("--freq"))}
pathlib.Path(option("--report")).write_text(
    json.dumps({"fmax": {"clk": clock}, "utilization": counts}))
netlist = pathlib.Path("top.json").read_text()
pathlib.Path(option("--asc")).write_text(f"seed {option('--seed')} {netlist}")
with open(CALLS, "a") as calls:
    calls.write(f"{option('--freq')} {option('--seed')} {option('--placer')}\\n")
"""
ICEPACK = """
import pathlib, sys
pathlib.Path(sys.argv[2]).write_text("packed " + pathlib.Path(sys.argv[1]).read_text())
"""


class Tools:
    """Programs that stand in for Yosys, nextpnr and icepack."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.set("YOSYS", "LOG = 'all well\\n'" + YOSYS)
        self.fmax({1: 41.0, 2: 42.5, 3: 43.0})
        self.set("ICEPACK", ICEPACK)
        for name in ("YOSYS", "NEXTPNR_ICE40", "ICEPACK"):
            monkeypatch.setenv(name, str(folder / name))

    def set(self, name: str, text: str) -> None:
        path = self.folder / name
        # A version is asked for, too.
        guard = "import sys\nif '--version' in sys.argv: sys.exit(print('pretended 1.0'))\n"
        path.write_text(f"#!{sys.executable}\n{guard}{text}\n")
        path.chmod(0o755)

    def fmax(self, by_seed: dict[int, float]) -> None:
        self.set("NEXTPNR_ICE40", f"FMAX, CALLS = {by_seed!r}, {str(self.calls)!r}" + NEXTPNR)

    def _runs(self) -> list[list[str]]:
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line.split() for line in lines]

    def routed(self) -> list[tuple[float, int]]:
        """(MHz, seed) of all runs of nextpnr."""
        return [(float(mhz), int(seed)) for mhz, seed, _ in self._runs()]

    def placers(self) -> list[str]:
        return [placer for *_, placer in self._runs()]


@pytest.fixture
def tools(tmp_path, monkeypatch) -> Tools:
    monkeypatch.setenv("MGD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(timing_closure, "check_cells", lambda *_: None)
    # Whatever clock cores reach today, the tests begin here.
    up5k = replace(DEVICES["iCE40UP5K"], start_hz=42_000_000)
    monkeypatch.setitem(DEVICES, "iCE40UP5K", up5k)

    def elaborate(design, clock_plan):
        text = f"{design.config.lanes} lanes, {float(clock_plan.output_hz)} Hz\n"
        return flow.Sources(design, clock_plan, (("top.il", text), ("synth.ys", "")), ("--up5k",))

    monkeypatch.setattr(flow, "elaborate", elaborate)
    return Tools(tmp_path, monkeypatch)


@pytest.fixture
def design():
    return make_design(find_board("icebreaker"), XOR.core_layout(), 16)


def silent(_step: str, _seconds: float | None, _detail: str) -> None:
    pass


def left_over(tmp_path: Path) -> list[str]:
    """What lies in the cache but locks and logs."""
    builds = tmp_path / "cache" / "builds"
    return [p.name for p in builds.iterdir() if p.suffix not in (".lock", ".log")]


# -- clock and seeds ------------------------------------------------------------------------


def test_clock_follows_fmax_down_until_a_seed_closes(tools, design):
    tools.fmax({1: 30.0, 2: 29.0, 3: 31.0})
    report = build(design, Options(), silent).report
    # One look with the first seed, then the fastest setting a little below what it reached.
    first, *rest = tools.routed()
    assert first == (42.0, 1)
    assert rest == [(29.625, 1)]
    assert report["core_hz"] == 29_625_000
    assert report["fmax_mhz"] == 30.0
    assert report["timing_met"]
    assert [a["timing_met"] for a in report["attempts"]] == [False, True]


def test_seeds_are_tried_in_order_and_recorded(tools, design):
    tools.fmax({1: 39.0, 2: 39.5, 3: 41.0})
    report = build(design, Options(clock_hz=40_000_000), silent).report
    assert tools.routed() == [(39.75, 1), (39.75, 2), (39.75, 3)]
    assert (report["seed"], report["core_hz"]) == (3, 39_750_000)
    assert [a["seed"] for a in report["attempts"]] == [1, 2, 3]


def test_clock_goes_up_where_there_is_more(tools, design):
    tools.fmax({1: 60.0})
    report = build(design, Options(), silent).report
    assert tools.routed() == [(42.0, 1), (59.25, 1)]
    assert report["core_hz"] == 59_250_000


def test_the_slower_clock_is_kept_where_the_faster_one_fails(tools, design):
    # Like a real placement: what it reaches hangs on what is asked of it.
    tools.set(
        "NEXTPNR_ICE40",
        f"FMAX, CALLS = {{}}, {str(tools.calls)!r}\n"
        + NEXTPNR.replace(
            'FMAX.get(int(option("--seed")), 0.0)', '46.0 if option("--freq")[:2] == "42" else 42.3'
        ),
    )
    report = build(design, Options(seeds=(1, 2)), silent).report
    assert tools.routed()[:3] == [(42.0, 1), (45.0, 1), (45.0, 2)]
    assert report["core_hz"] == 42_000_000
    assert report["timing_met"]


def test_failing_timing_fails_the_build(tools, design, tmp_path):
    tools.fmax({1: 38.0, 2: 39.0, 3: 37.0})
    with pytest.raises(UserError, match=r"slowest path allows 39\.00 MHz and the clock is 39\.75"):
        build(design, Options(clock_hz=40_000_000), silent)
    assert left_over(tmp_path) == []
    allowed = build(design, Options(clock_hz=40_000_000, allow_timing_fail=True), silent)
    assert not allowed.report["timing_met"]
    assert allowed.report["allow_timing_fail"]
    assert allowed.report["seed"] == 2


def test_another_constraint_than_asked_for_is_an_error(tools, design):
    tools.set(
        "NEXTPNR_ICE40",
        f"FMAX, CALLS = {{1: 100.0}}, {str(tools.calls)!r}\n"
        + NEXTPNR.replace('"constraint": float(option("--freq"))', '"constraint": 12.0'),
    )
    with pytest.raises(UserError, match=r"was to close 42\.000 MHz and looked at 12\.000 MHz"):
        build(design, Options(), silent)


def test_never_closing_ends(tools, design):
    tools.set(
        "NEXTPNR_ICE40",
        f"FMAX, CALLS = {{}}, {str(tools.calls)!r}\n"
        + NEXTPNR.replace('FMAX.get(int(option("--seed")), 0.0)', 'float(option("--freq")) - 0.5'),
    )
    with pytest.raises(UserError, match="timing fails"):
        build(design, Options(), silent)
    assert len(tools.routed()) == 1 + 3 * (timing_closure.ROUNDS - 1)


# -- cache and determinism ------------------------------------------------------------------


def test_same_build_is_not_run_twice(tools, design):
    first = build(design, Options(), silent)
    runs = len(tools.routed())
    second = build(design, Options(), silent)
    assert (first.cached, second.cached) == (False, True)
    assert len(tools.routed()) == runs
    assert second.bitstream.read_bytes().startswith(b"packed seed")


@pytest.mark.parametrize(
    "other",
    [
        Options(seeds=(1,)),
        Options(clock_hz=42_000_000),
        Options(allow_timing_fail=True),
    ],
)
def test_other_options_are_another_build(tools, design, other):
    one, two = build(design, Options(), silent), build(design, other, silent)
    assert one.folder != two.folder


def test_rebuild_gives_the_same_bytes(tools, design, tmp_path, monkeypatch):
    first = build(design, Options(), silent)
    monkeypatch.setenv("MGD_CACHE", str(tmp_path / "other"))
    second = build(design, Options(), silent)
    assert not second.cached
    for name in (first.bitstream.name, "report.json"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


# -- tools that fail ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("YOSYS", "import sys; print('ERROR: no such cell'); sys.exit(1)",
         "yosys failed with exit code 1: ERROR: no such cell"),
        ("YOSYS", "LOG = 'Warning: Driver-driver conflict for x\\n'" + YOSYS, "Driver-driver"),
        ("YOSYS", "import os; os.kill(os.getpid(), 9)", r"yosys was killed by signal 9 \(SIGK"),
        ("NEXTPNR_ICE40", "import sys; sys.exit(137)", r"killed by signal 9 \(SIGKILL\)"),
        ("NEXTPNR_ICE40", "print('Info: ICESTORM_LC:  5516/  5280  104%')\nraise SystemExit(1)",
         r"2-2-1 on 2 lanes does not fit icebreaker: it takes 5,516 of 5,280 logic cells"),
        ("NEXTPNR_ICE40", "print('last words')", "left no nextpnr.json: last words"),
        ("ICEPACK", "print('No space left on device')\nraise SystemExit(1)", "no room is left"),
        ("ICEPACK", "import sys; open(sys.argv[2], 'w')", "left no top.bin"),
    ],
)  # fmt: skip
def test_failing_tool_is_one_line_and_leaves_nothing(tools, design, tmp_path, name, text, words):
    tools.set(name, text)
    with pytest.raises(UserError, match=words) as caught:
        build(design, Options(), silent)
    assert "\n" not in str(caught.value)
    assert left_over(tmp_path) == []
    # The log is kept, and named.
    assert Path(str(caught.value).rpartition("log: ")[2].rstrip(")")).is_file()


def test_missing_tool_is_named_with_its_remedy(tools, design, monkeypatch):
    monkeypatch.delenv("NEXTPNR_ICE40")
    monkeypatch.setattr("mgd.boards.tools.pip_script", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"nextpnr-ice40 is not installed.*pip install yowasp-"):
        build(design, Options(), silent)
    assert tools.routed() == []


def test_full_disk(tools, design, tmp_path, monkeypatch):
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(steps.shutil, "disk_usage", lambda _path: full)
    with pytest.raises(UserError, match="no room is left"):
        build(design, Options(), silent)
    assert left_over(tmp_path) == []


def test_no_room_for_our_own_files(tools, design, tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(flow, "write_sources", refuse)
    with pytest.raises(UserError, match="No space left on device; builds are cached there"):
        build(design, Options(), silent)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_while_the_tool_is_being_started(tmp_path, monkeypatch, number):
    started = []
    start = subprocess.Popen

    def interrupted(*args, **options):
        started.append(start(*args, **options))
        os.kill(os.getpid(), number)
        return started[0]

    monkeypatch.setattr(steps.subprocess, "Popen", interrupted)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        steps.run_tool("tool", ["sleep", "600"], tmp_path, (), "log")
    assert started[0].poll() == -signal.SIGKILL
    assert signal.getsignal(number) is before


def test_a_tool_without_an_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "LOOK_SECONDS", 0.05)
    script = "echo 1 round; sleep 600 & echo $! > child; echo 2 rounds; wait"
    with pytest.raises(steps.HopelessError, match="tool came to no end: 2 rounds"):
        steps.run_tool("tool", ["sh", "-c", script], tmp_path, (), "log", lambda log: "2 " in log)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + WAIT_SECONDS
    while _alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # The same where it ended before anybody looked.
    with pytest.raises(steps.HopelessError):
        steps.run_tool("tool", ["echo", "2 rounds"], tmp_path, (), "log", lambda log: "2 " in log)
    said = steps.run_tool("tool", ["echo", "1 round"], tmp_path, (), "log", lambda log: "2 " in log)
    assert said == "1 round\n"


@pytest.mark.parametrize(
    ("log", "never"),
    [
        ("Info: Routing 100 arcs.\nInfo:       4000 |   1\n", False),
        ("Info: Routing 100 arcs.\nInfo:       4000 |   1\nInfo:       5000 |   1\n", True),
        ("Info: Routing 0 arcs.\nInfo:          0 |   1\n", False),
        ("Info:     iter=300 wires=5 overused=1\n", False),
        ("Info:     iter=301 wires=5 overused=1\n", True),
        ("Info:     iter=900 density=5\n", False),
        ("", False),
    ],
)
def test_a_router_that_goes_on_for_ever(log, never):
    assert flow.never_routed(log) == never


def test_placers_take_turns(tools, design):
    tools.fmax({1: 20.0, 2: 20.0, 3: 60.0})
    build(design, Options(clock_hz=40_000_000), silent)
    assert tools.placers() == ["static", "heap", "static"]


def test_a_placement_without_a_way_goes_to_the_other_placer(tools, design):
    program = tools.folder / "NEXTPNR_ICE40"
    text = program.read_text()
    never = "print('Info:     iter=301 wires=5 overused=1')"
    program.write_text(f"{text}\nif option('--placer') == 'static': {never}\n")
    report = build(design, Options(clock_hz=40_000_000), silent).report
    assert (report["seed"], tools.placers()) == (1, ["static", "heap"])
    # What the first one left is not taken for the other's.
    start = "import json, pathlib, sys\n"
    silent_heap = text.replace(start, f"{start}if 'heap' in sys.argv: sys.exit()\n", 1)
    program.write_text(f"{silent_heap}\n{never}\n")
    with pytest.raises(UserError, match=r"left no nextpnr\.json"):
        build(design, Options(clock_hz=38_000_000), silent)
    program.write_text(f"{text}\n{never}\n")
    with pytest.raises(UserError, match=r"cannot route some nets \(seed 1\)"):
        build(design, Options(clock_hz=39_000_000), silent)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_the_tool_and_its_children(tmp_path, number):
    """A tool that starts another program, as those from PyPI do; both must go."""
    script = (
        "import sys, pathlib; from mgd.boards.flow.steps import run_tool\n"
        "run_tool('tool', ['sh', '-c', 'sleep 600 & echo $! > child; wait'],"
        " pathlib.Path(sys.argv[1]), (), 'log')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    child = tmp_path / "child"
    deadline = time.monotonic() + WAIT_SECONDS
    while not (child.exists() and child.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    process.wait(timeout=WAIT_SECONDS)
    while _alive(int(child.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -- what fits ------------------------------------------------------------------------------


def most_lanes(board: Board, network: Network, fixed: Fixed = ()) -> int:
    return fitted(board, CoreConfig(network, 1, fixed=fixed)).with_most_lanes(16).config.lanes


def test_auto_lanes_takes_no_lane_that_saves_no_clock():
    network = Network((64, 32, 10), cost="cross_entropy", sample_bits=5)
    # 17 to 28 lanes take two and one groups of neurons, as 16 do.
    assert most_lanes(find_board("ulx3s-25f"), network) == 16
    assert most_lanes(find_board("ulx3s-85f"), network) == 32
    # There are eight multipliers, but not the logic for so many lanes of every method.
    assert most_lanes(find_board("icebreaker"), network) == 6
    fixed = (("method", "np"), ("difference", "antithetic"))
    assert most_lanes(find_board("icebreaker"), network, fixed) == 8


def test_accumulators_take_lanes_away():
    plain = Network((64, 20, 10), cost="cross_entropy", shift_max=13)
    carried = Network((64, 20, 10), cost="cross_entropy", shift_max=13, accumulators=True)
    board = find_board("icebreaker")
    assert most_lanes(board, carried) < most_lanes(board, plain)


def test_weights_that_do_not_fit():
    network = Network((784, 400, 10), cost="cross_entropy")
    with pytest.raises(UserError, match="does not fit icebreaker even on one lane"):
        most_lanes(find_board("icebreaker"), network)
    with pytest.raises(UserError, match="has 8 multipliers"):
        make_design(find_board("icebreaker"), CoreConfig(network, 9), 16)
    with pytest.raises(UserError, match=r"leave 0 words for samples"):
        make_design(find_board("ulx3s-25f"), CoreConfig(network, 8), 16)


def test_where_samples_go():
    network = Network((64, 32, 10), cost="cross_entropy", sample_bits=5)
    up5k = make_design(find_board("icebreaker"), CoreConfig(network, 8), 1000)
    assert dict(up5k.top_options) == {"storage": "spram"}
    assert up5k.sample_memory == 32768
    assert up5k.config.shared_dsps == 0
    ecp5 = make_design(find_board("ulx3s-25f"), CoreConfig(network, 8), 59_303)
    assert ecp5.top_options == ()
    # 56 blocks, less 8 of weights and 4 others, each 1,024 words.
    assert ecp5.sample_memory == 44 * 1024
    assert ecp5.config.shared_dsps == 4


def test_baud_out_of_range(design):
    board = find_board("tang-nano-9k")
    with pytest.raises(UserError, match="baud = 3000000: must be 9,600 to 2,000,000"):
        building.check_baud(make_design(board, XOR.core_layout(), 16, 3_000_000))


# -- the folder and the command -------------------------------------------------------------


def test_folder_is_replaced_by_the_next_build_and_by_nothing_else(tools, design, tmp_path):
    built = build(design, Options(), silent)
    out = tmp_path / "out"
    for clocks in (50.0, 60.0):
        check_build_folder(out)
        write_build(out, built, finished_report(built, XOR, clocks))
    report = json.loads((out / "report.json").read_text())
    assert report["clocks_per_step"] == 60.0
    assert (out / report["bitstream"]).read_bytes() == built.bitstream.read_bytes()
    assert {"task", "board", "digest", "core_hz", "fmax_mhz", "tools"} <= report.keys()
    assert sorted(p.name for p in tmp_path.glob(".out*")) == []
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds thesis\.tex, which no build wrote"):
        check_build_folder(out)


def test_broken_write_keeps_the_old_folder(tools, design, tmp_path):
    built = build(design, Options(), silent)
    out = tmp_path / "out"
    write_build(out, built, finished_report(built, XOR, None))
    before = (out / "report.json").read_text()
    broken = Built(tmp_path / "gone", built.report, False)
    with pytest.raises(UserError, match="cannot write the build"):
        write_build(out, broken, finished_report(built, XOR, 1.0))
    assert (out / "report.json").read_text() == before
    assert sorted(p.name for p in tmp_path.glob(".out*")) == []


def test_command(tools, tmp_path):
    done = CliRunner().invoke(
        main, ["build", "xor", "--board", "icebreaker", "--no-measure", "--out", f"{tmp_path}/b"]
    )
    assert done.exit_code == 0, done.output
    assert "place and route" in done.output
    assert "timing met" in done.output
    machine = CliRunner().invoke(
        main,
        [
            "build",
            "xor",
            "--board",
            "icebreaker",
            "--no-measure",
            "--json",
            "--out",
            f"{tmp_path}/b",
        ],
    )
    assert json.loads(machine.stdout)["board"] == "icebreaker"
    assert "built before" in machine.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--board", "icebraker"], "did you mean 'icebreaker'"),
        (["--board", "icebreaker", "--lanes", "many"], "many"),
        (["--board", "icebreaker", "--lanes", "3"], "lanes = 3"),
        (["--board", "icebreaker", "--clock", "0"], "--clock 0: must be 1 to 1000 MHz"),
        (["--board", "icebreaker", "--clock", "10"], "no PLL setting gives 10.000 MHz"),
        (["--board", "icebreaker", "--baud", "1"], "baud = 1: must be"),
        (["--board", "icebreaker", "--seeds", "0"], "seeds"),
        (["--board", "icebreaker", "--out", "/dev/null"], "is a file"),
    ],
)
def test_bad_input_is_one_line(tools, arguments, words):
    done = CliRunner().invoke(main, ["build", "xor", *arguments])
    assert done.exit_code == 2
    assert words in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_steps_are_told_with_their_times(tools, design):
    heard: list[tuple[str, float | None]] = []
    build(design, Options(clock_hz=40_000_000), lambda s, t, _d: heard.append((s, t)))
    finished = [step for step, seconds in heard if seconds is not None]
    assert finished == ["elaborate", "synthesise", "place and route", "pack"]
    assert [step for step, seconds in heard if seconds is None] == finished


def test_environment_is_as_before(monkeypatch):
    monkeypatch.setenv("OPENFPGALOADER", "mine")
    monkeypatch.delenv("DFU_SUFFIX", raising=False)
    with changed_environment(OPENFPGALOADER="true", DFU_SUFFIX="true"):
        assert os.environ["DFU_SUFFIX"] == "true"
    assert os.environ["OPENFPGALOADER"] == "mine"
    assert "DFU_SUFFIX" not in os.environ
    assert pll.MHZ == 1_000_000


@pytest.mark.parametrize("board", ["icebreaker", "ulx3s-25f"])
@pytest.mark.parametrize(
    "key",
    [
        'perturbation = "walsh"',
        'scope = "layer"',
        "decay_exp = 5",
        'difference = "highpass"',
    ],
)
def test_a_board_is_built_for_its_tasks_variant(tmp_path, board, key):
    text = read_task(find_task("xor")).replace("[training]", f"[training]\n{key}")
    (tmp_path / "mine.toml").write_text(text)
    task = Task.load(tmp_path / "mine.toml")
    config = task_design(find_board(board), task, most_lanes=True).config
    assert config.variant == task.core_layout().variant == BuildOptions.of(task.spec.settings)
    assert config.variant != BuildOptions()
