"""Recordings of a link: what is replayed is what was, and nothing else is accepted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mgd.api.backends import open_session
from mgd.golden_model.errors import UserError
from mgd.host.link.board_link import Link
from mgd.host.link.recorder import RecordingTransport
from mgd.host.link.recording import RecordingWriter, read_recording
from mgd.host.link.replay import ReplayError, ReplayTransport
from mgd.host.link.transport import PortError, Transport
from mgd.protocol.framing import Space
from mgd.protocol.registers import Register
from tests.support.fake_board import FakeBoard
from tests.support.simulation import XOR, mgd, refused

TIMEOUT_S = 0.02
FIXTURE = Path(__file__).parent / "recordings" / "xor.rec"
RECORD = "mgd train xor --seed 2 --record tests/recordings/xor.rec"
"""Makes FIXTURE; needed anew whenever the host sends other requests than before."""


class Watched(Transport):
    """Notes every portion that the host reads."""

    def __init__(self, inner: Transport) -> None:
        self.inner, self.name = inner, inner.name
        self.reads: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.inner.write(data)

    def read(self, timeout_s: float) -> bytes:
        data = self.inner.read(timeout_s)
        self.reads += [data] if data else []
        return data

    def discard(self) -> None:
        self.inner.discard()

    def close(self) -> None:
        self.inner.close()


def transfers(link: Link, seed: int = 1) -> list[object]:
    """What a host does, and all that it can know afterwards."""
    rng = random.Random(seed)
    known: list[object] = []
    for _ in range(8):
        count, address = rng.randint(1, 150), rng.randint(0, 1000)
        link.write(Space.SAMPLES, address, [rng.getrandbits(32) for _ in range(count)])
        known.append(link.read(Space.SAMPLES, address + 1, count))
    link.write_register(Register.STEP_TARGET, 120)
    return [*known, link.errors, link.repeats]


def recorded(path: Path, board: Transport, host: Callable[[Link], object] = transfers):
    """(what the host came to know or was told, the portions it read) of a recorded session."""
    return session(RecordingTransport(board, path), host)


def session(transport: Transport, host: Callable[[Link], object] = transfers):
    watched = Watched(transport)
    try:
        known = host(Link(watched, timeout_s=TIMEOUT_S, attempts=6))
    except PortError as error:
        known = str(error)
    watched.close()
    return known, watched.reads


def unreliable(seed: int) -> FakeBoard:
    """Loses, spoils and delays replies, and divides them."""
    rng = random.Random(seed)
    board = FakeBoard()

    def spoil(_number: int, reply: bytes) -> bytes:
        kind = rng.randrange(8)
        if kind == 0:
            return b""
        if kind == 1:
            return reply[: len(reply) // 2] + b"?" + reply[len(reply) // 2 :]
        if kind == 2:
            board.inject(reply[:3])
            return reply[3:]
        return reply

    board.spoil = spoil
    return board


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_host_cannot_tell(tmp_path, seed):
    board = unreliable(seed)
    before, read_before = recorded(tmp_path / "a.rec", board)
    assert before[-1] > 0, "no request was repeated"
    replay = ReplayTransport(tmp_path / "a.rec")
    after, read_after = session(replay)
    assert after == before
    assert read_after == read_before
    replay.check_finished()
    assert board.closed == 1


def test_a_read_waits_where_nothing_came(tmp_path, monkeypatch):
    recorded(tmp_path / "a.rec", FakeBoard(), steps(1))
    waited: list[float] = []
    monkeypatch.setattr("mgd.host.link.replay.time.sleep", waited.append)
    replay = ReplayTransport(tmp_path / "a.rec")
    assert replay.read(0.25) == b""
    assert waited == [0.25]


def test_how_the_host_divides_its_bytes_does_not_matter(tmp_path):
    before, _ = recorded(tmp_path / "a.rec", FakeBoard())

    class Dribbling(ReplayTransport):
        def write(self, data: bytes) -> None:
            for byte in data:
                super().write(bytes([byte]))

    assert session(Dribbling(tmp_path / "a.rec"))[0] == before


@pytest.mark.parametrize("call", ["read", "write", "discard"])
def test_a_port_that_fails_fails_again(tmp_path, call):
    class Vanishing(FakeBoard):
        calls = 0

    def fail(*args):
        Vanishing.calls += 1
        if Vanishing.calls == 9:
            raise PortError("port fake is gone (unplugged): check the cable")
        return original(board, *args)

    board = Vanishing()
    original = getattr(FakeBoard, call)
    setattr(board, call, fail)
    before, _ = recorded(tmp_path / "a.rec", board)
    assert before == "port fake is gone (unplugged): check the cable"
    replay = ReplayTransport(tmp_path / "a.rec")
    assert session(replay)[0] == before
    replay.check_finished()


def steps(*targets: int) -> Callable[[Link], None]:
    def host(link: Link) -> None:
        for target in targets:
            link.write_register(Register.STEP_TARGET, target)

    return host


def test_another_byte_is_one_error_that_names_the_frame(tmp_path):
    recorded(tmp_path / "a.rec", FakeBoard(), steps(1, 2, 3))
    with pytest.raises(ReplayError) as caught:
        session(ReplayTransport(tmp_path / "a.rec"), steps(1, 5, 3))
    message = str(caught.value)
    assert "\n" not in message
    assert "frame 2 differs from the recording in byte 9: sent 0x05 " in message
    assert "sent 0x05 (WRITE REGISTERS STEP_TARGET, 1 word: 0x5)" in message
    assert "recorded 0x02 (WRITE REGISTERS STEP_TARGET, 1 word: 0x2)" in message


def test_more_frames_than_recorded(tmp_path):
    recorded(tmp_path / "a.rec", FakeBoard(), steps(1, 2))
    with pytest.raises(ReplayError, match=r"sent frame 3, WRITE .* 0x9; the recording has 2 "):
        session(ReplayTransport(tmp_path / "a.rec"), steps(1, 2, 9))


def test_fewer_frames_than_recorded(tmp_path):
    recorded(tmp_path / "a.rec", FakeBoard(), steps(1, 2, 3))
    replay = ReplayTransport(tmp_path / "a.rec")
    session(replay, steps(1))
    with pytest.raises(ReplayError, match=r"ended before frame 2, .* 1 word: 0x2\)?:"):
        replay.check_finished()


def test_a_host_that_was_stopped_while_it_waited(tmp_path):
    def stopped(link: Link) -> None:
        link.transport.write(b"\x7eabc\x7e")

    recorded(tmp_path / "a.rec", FakeBoardOnceMute(), stopped)
    replay = ReplayTransport(tmp_path / "a.rec")
    replay.write(b"\x7eabc\x7e")
    with pytest.raises(ReplayError, match="ends here, after 1 frames"):
        replay.read(TIMEOUT_S)


class FakeBoardOnceMute(FakeBoard):
    def write(self, data: bytes) -> None:
        pass


# -- the file -------------------------------------------------------------------------------


@pytest.fixture
def lines(tmp_path) -> list[str]:
    """A recording of every kind of line, in tmp_path / "a.rec"."""
    writer = RecordingWriter(tmp_path / "a.rec", {"name": "é", "baud": None})
    for k in range(3):
        writer.sent(bytes([k, 1, 2]))
        writer.received(b"ab")
        writer.received(b"c")
    writer.failed("read", "gone:\n once for all")
    writer.close()
    header, events = read_recording(tmp_path / "a.rec")
    assert header == {"name": "é", "baud": None}
    assert [event.data for event in events[:3]] == [b"\0\1\2", b"ab", b"c"]
    assert (events[-1].call, events[-1].message) == ("read", "gone: once for all")
    return (tmp_path / "a.rec").read_text().splitlines(keepends=True)


def why_refused(tmp_path: Path, text: str) -> str:
    (tmp_path / "b.rec").write_text(text)
    with pytest.raises(UserError) as caught:
        ReplayTransport(tmp_path / "b.rec")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_change_of_a_byte_is_found(tmp_path, lines):
    text = "".join(lines)
    for place, old in enumerate(text):
        new = "0" if old != "0" else "1"
        why_refused(tmp_path, text[:place] + new + text[place + 1 :])


def test_every_cut_is_found(tmp_path, lines):
    text = "".join(lines)
    for length in range(len(text)):
        why_refused(tmp_path, text[:length])


def test_lines_that_are_missing_doubled_or_moved_are_found(tmp_path, lines):
    for k in range(1, len(lines)):
        why_refused(tmp_path, "".join(lines[:k] + lines[k + 1 :]))
        why_refused(tmp_path, "".join(lines[: k + 1] + lines[k:]))
        moved = [*lines[: k - 1], lines[k], lines[k - 1], *lines[k + 1 :]]
        why_refused(tmp_path, "".join(moved))


def test_what_is_wrong_with_a_file_is_said(tmp_path, lines):
    assert "cut off after line 4" in why_refused(tmp_path, "".join(lines[:4]))
    assert "line 3 or what" in why_refused(tmp_path, "".join(lines[:2] + lines[3:]))
    version = lines[0].replace("mgd-recording 1", "mgd-recording 7")
    assert "of version 7" in why_refused(tmp_path, "".join([version, *lines[1:]]))
    assert "is no recording" in why_refused(tmp_path, "step,cost\n")
    assert "is no recording" in why_refused(tmp_path, "")
    for path in (tmp_path / "none.rec", tmp_path):
        with pytest.raises(UserError):
            ReplayTransport(path)


def test_a_recording_has_its_name_once_it_is_whole(tmp_path):
    path = tmp_path / "a.rec"
    transport = RecordingTransport(FakeBoard(), path)
    transport.write(b"\x7e")
    assert [p.name for p in tmp_path.iterdir()] == ["a.rec.part"]
    transport.close()
    transport.close()
    assert [p.name for p in tmp_path.iterdir()] == ["a.rec"]
    board = FakeBoard()
    with pytest.raises(UserError, match="never overwritten"):
        RecordingTransport(board, path)
    assert board.closed == 1


def test_a_recording_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="none is no folder"):
        RecordingTransport(FakeBoard(), tmp_path / "none" / "a.rec")
    writer = RecordingWriter(tmp_path / "a.rec", {})
    writer._file.close()
    writer._file = open("/dev/full", "w")  # noqa: SIM115
    with pytest.raises(UserError, match=r"a\.rec: cannot be written: No space left"):
        writer.sent(bytes(1_000_000))
    with pytest.raises(UserError, match="No space left"):
        writer.close()
    assert not (tmp_path / "a.rec").exists()


# -- the command ----------------------------------------------------------------------------


def result(folder: Path) -> dict:
    values = json.loads((folder / "run.json").read_text())
    with np.load(folder / "weights.npz") as weights:
        values["weights"] = [weights[f"weights_{k}"].tolist() for k in (1, 2)]
    for key in ("backend", "wall_seconds"):
        del values[key]
    return values


def test_the_recording_kept_with_the_tests_trains(tmp_path):
    """Without a board, without Verilator: through all of the host."""
    replay = mgd("train", "xor", "--seed", 2, "--backend", f"replay:{FIXTURE}", "--out", "a",
                 cwd=tmp_path)  # fmt: skip
    assert replay.returncode == 0, f"{replay.stderr}\nif the host was changed: {RECORD}"
    golden = mgd("train", "xor", "--seed", 2, "--backend", "golden", "--out", "b", cwd=tmp_path)
    assert golden.returncode == 0
    a, b = result(tmp_path / "a"), result(tmp_path / "b")
    assert a["weights"] == b["weights"]
    assert a["train_clocks"] > 0
    assert (a["accuracy"], a["cost"], a["steps"]) == (b["accuracy"], b["cost"], b["steps"])
    assert f"backend replay:{FIXTURE}" in replay.stdout
    assert FIXTURE.stat().st_size < 100_000


def test_a_run_on_the_simulated_board_is_recorded_and_replayed(tmp_path):
    done = mgd("train", "xor", "--steps", 60, "--record", "x.rec", "--out", "sim", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = mgd("train", "xor", "--steps", 60, "--backend", "replay:x.rec", "--out", "replay",
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert result(tmp_path / "sim") == result(tmp_path / "replay")
    for options in (
        ("--steps", 60, "--seed", 3),
        ("--steps", 40),
        ("--steps", 60, "--method", "wp"),
    ):
        done = mgd("train", "xor", *options, "--backend", "replay:x.rec", cwd=tmp_path)
        assert "differs from the recording" in refused(done)
    assert not (tmp_path / "runs").exists()


def test_a_session_that_ends_early_is_no_replay():
    replayed = open_session(XOR, f"replay:{FIXTURE}")
    with pytest.raises(ReplayError, match="the host ended before"), replayed as session:
        assert session.lanes == 2
    with pytest.raises(ZeroDivisionError), open_session(XOR, f"replay:{FIXTURE}"):
        raise ZeroDivisionError  # is not hidden by the other one


@pytest.mark.parametrize("backend", ["golden", "replay:x.rec"])
def test_what_cannot_be_recorded(tmp_path, backend):
    done = mgd("train", "xor", "--backend", backend, "--record", "y.rec", cwd=tmp_path)
    assert "no bytes go to a board" in refused(done)
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_not_begun_over_another(tmp_path):
    (tmp_path / "x.rec").write_text("mine")
    assert "never overwritten" in refused(mgd("train", "xor", "--record", "x.rec", cwd=tmp_path))
    assert (tmp_path / "x.rec").read_text() == "mine"
    line = refused(mgd("train", "xor", "--record", "none/x.rec", cwd=tmp_path))
    assert f"{tmp_path / 'none'} is no folder" in line
