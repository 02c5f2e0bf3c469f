"""boards.simulated.board: the process, its clock, its trace, its cache, and who may use its
port."""

from __future__ import annotations

import subprocess
import time

import pytest

from mgd.api.backends import sample_words
from mgd.boards.cache import cache_folder
from mgd.boards.simulated import board as simulated
from mgd.boards.simulated import verilator
from mgd.boards.simulated.trace import Trace
from mgd.golden_model.errors import UserError
from mgd.golden_model.seeds import initial_weights
from mgd.host.link.board_link import Link
from mgd.host.link.transport import SerialTransport
from mgd.host.session.board import BoardSession
from mgd.protocol.registers import Register
from mgd.rtl.core_kinds import config_for
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.core import probe_layout
from tests.support.simulation import WAIT_SECONDS, XOR, built, mgd, refused, start_board, table_task


def start() -> simulated.SimulatedBoard:
    """Builds, too."""
    return simulated.start(config_for(XOR.core_layout()), sample_words(XOR))


@pytest.fixture
def board():
    board = start_board(XOR)
    yield board
    board.close()


def load(session: BoardSession) -> None:
    session.load_samples(*XOR.datasets())
    session.write_weights(initial_weights(XOR.spec.network, XOR.spec.seed))
    session.start(XOR.spec.settings, XOR.spec.seed)


def test_the_clock_stands_still_while_nothing_happens(board):
    link = Link(SerialTransport(board.port))
    before = link.read_register64(Register.CLOCKS)
    time.sleep(0.5)
    after = link.read_register64(Register.CLOCKS)
    link.close()
    # A read takes some hundred clocks, and it stops some ten thousand after the last byte; half a
    # second would be millions.
    assert 100 < after - before < 100_000


def test_training_needs_no_host(board):
    """The clock runs on while the core is busy and nothing is on the wire."""
    link = Link(SerialTransport(board.port))
    with BoardSession(link.transport, XOR.spec.network, backend="sim") as session:
        load(session)
        before = link.read_register64(Register.CLOCKS)
        link.write_register(Register.STEP_TARGET, 2000)
        link.write_register(Register.COMMAND, 2)
        deadline = time.monotonic() + WAIT_SECONDS
        while link.read_register(Register.STATUS) & 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert link.read_register(Register.STEP) == 2000
        assert link.read_register64(Register.CLOCKS) - before > 2000 * 30


def test_damaged_frames_are_counted(board):
    with BoardSession(board.port, XOR.spec.network, backend="sim") as session:
        load(session)
        assert session.counters().link_errors == 0
        for _ in range(2):
            session.link.transport.write(b"\x05abcd\x7e")  # a frame without a CRC
        assert session.link.read_register(Register.FRAME_ERRORS) == 2
        assert session.counters().link_errors == 2
        session.train(1)  # and the board goes on


def test_it_ends_when_its_standard_input_closes(board):
    assert board.process.poll() is None
    board.process.stdin.close()
    assert board.process.wait(WAIT_SECONDS) == 0
    board.close()
    board.close()


def test_it_ends_while_its_core_is_busy(board):
    with BoardSession(board.port, XOR.spec.network, backend="sim") as session:
        load(session)
        session.link.write_register(Register.STEP_TARGET, 1 << 31)
        session.link.write_register(Register.COMMAND, 2)
        assert session.link.read_register(Register.STATUS) & 1
        board.process.stdin.close()
        assert board.process.wait(WAIT_SECONDS) == 0


def test_a_second_host_is_refused(board, tmp_path):
    link = Link(SerialTransport(board.port))
    with pytest.raises(UserError, match=f"port {board.port} is in use by another program") as error:
        BoardSession(board.port, XOR.spec.network)
    assert "\n" not in str(error.value)
    line = refused(mgd("train", "xor", "--backend", board.port, cwd=tmp_path))
    assert f"port {board.port} is in use" in line
    assert list(tmp_path.iterdir()) == []
    assert link.identify().layers == (2, 2, 1)  # the first one goes on
    link.close()
    with BoardSession(board.port, XOR.spec.network) as session:
        assert session.lanes == XOR.spec.core.lanes


def test_a_board_that_vanishes(board):
    with BoardSession(board.port, XOR.spec.network) as session:
        load(session)
        board.process.kill()
        board.process.wait(WAIT_SECONDS)
        with pytest.raises(UserError, match=f"port {board.port} is gone") as error:
            session.train(5)
        assert "\n" not in str(error.value)


def test_the_trace_holds_every_event(tmp_path):
    config, steps = CoreConfig(XOR.spec.network, XOR.spec.core.lanes), 25
    file = tmp_path / "trace"
    file.touch()
    trace = Trace(file, config)
    board = start_board(XOR, trace=file)
    try:
        with BoardSession(board.port, XOR.spec.network) as session:
            load(session)
            session.train(steps)
            session.read_weights()  # flushes the last update
    finally:
        board.close()
    events = list(trace.events())
    assert list(trace.events()) == []
    offsets = {name: field.offset for name, field in probe_layout(config)}

    def count(name: str) -> int:
        return sum(event >> offsets[name] & 1 for event in events)

    assert count("cost_valid") == 2 * steps
    assert count("delta_valid") == steps
    assert count("write") == steps * config.lane_words
    trace.drop_read()
    assert file.stat().st_size == 0
    assert list(trace.events()) == []


def test_without_a_trace_nothing_is_written(board, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with BoardSession(board.port, XOR.spec.network) as session:
        load(session)
        session.train(3)
    assert list(tmp_path.iterdir()) == []


# -- building -------------------------------------------------------------------------------


def test_a_board_is_compiled_once(tmp_path, monkeypatch):
    # A cache of its own: in the others' some other board may be under way.
    runtime = verilator.runtime()
    monkeypatch.setattr(verilator, "runtime", lambda: runtime)
    monkeypatch.setenv("MGD_CACHE", str(tmp_path))
    build = simulated.build
    first = build(config_for(XOR.core_layout()), sample_words(XOR))
    made = first.stat().st_mtime_ns
    assert first.parent == tmp_path / "boards"
    assert build(config_for(XOR.core_layout()), sample_words(XOR)) == first
    assert first.stat().st_mtime_ns == made
    assert not list(first.parent.glob("building-*"))


def test_where_boards_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("MGD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "mgd"
    monkeypatch.setenv("MGD_CACHE", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x"


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MGD_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="MGD_CACHE") as error:
        start()
    assert "\n" not in str(error.value)


def test_a_compiler_that_fails_leaves_its_log_and_no_program(monkeypatch, tmp_path):
    monkeypatch.setenv("MGD_CACHE", str(tmp_path))
    compiler = tmp_path / "broken-c++"
    compiler.write_text("#!/bin/sh\necho no room for objects >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(UserError, match="make failed with exit code") as error:
        start()
    message = str(error.value)
    assert "\n" not in message
    assert "mgd doctor" in message
    (log,) = tmp_path.glob("*/*.log")
    assert str(log) in message
    assert "no room for objects" in log.read_text()
    assert {p.suffix for p in tmp_path.glob("*/*")} == {".log", ".lock"}
    # The same where Verilator's own part is there already.
    monkeypatch.setattr(verilator, "runtime", lambda: tmp_path)
    with pytest.raises(UserError, match="verilator failed with exit code"):
        start()
    (log,) = (tmp_path / "boards").glob("*.log")
    assert "no room for objects" in log.read_text()
    assert {p.suffix for p in (tmp_path / "boards").iterdir()} == {".log", ".lock"}


def test_the_runtime_is_compiled_once_for_each_compiler(monkeypatch, tmp_path):
    first = verilator.runtime()
    assert {path.name for path in first.iterdir()} == set(verilator.RUNTIME)
    made = first.stat().st_mtime_ns
    assert verilator.runtime() == first
    assert first.stat().st_mtime_ns == made
    # Another one is asked, and this one can only say who it is.
    other = tmp_path / "other-c++"
    other.write_text("#!/bin/sh\necho other\ntest $1 = --version\n")
    other.chmod(0o755)
    monkeypatch.setenv("CXX", str(other))
    with pytest.raises(UserError, match="make failed with exit code"):
        verilator.runtime()


def test_a_missing_compiler_is_named(tmp_path):
    done = mgd("train", "xor", "--out", "out", cwd=tmp_path, PATH="/nowhere", MGD_CACHE=".cache")
    line = refused(done)
    assert "c++ is not on PATH" in line
    assert "apt-get install g++" in line
    assert not (tmp_path / "out").exists()


def test_a_program_that_does_not_start(monkeypatch, tmp_path):
    program = tmp_path / "board"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(simulated, "build", lambda *_: program)
    with pytest.raises(UserError, match="did not start") as error:
        start()
    assert str(program) in str(error.value)


def test_lanes_that_do_not_fit_are_refused_before_any_build(tmp_path, monkeypatch):
    monkeypatch.setenv("MGD_CACHE", str(tmp_path / "cache"))
    network = table_task(tmp_path).spec.network
    with pytest.raises(UserError, match="lanes = 6"):
        simulated.start(CoreConfig(network, 6), 100)
    assert not (tmp_path / "cache").exists()


def test_the_program_alone_prints_its_port():
    program = built(config_for(XOR.core_layout()), sample_words(XOR))
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"/dev/")
        process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0
