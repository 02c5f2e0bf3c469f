"""A training run over a link with every fault there is: the same weights, or one clear line."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.host.link.board_link import Link
from mgd.host.link.faults import SILENCE_S, FaultyTransport, HostDiedError, Rates
from mgd.host.link.transport import PortError, SerialTransport
from mgd.host.runs.progress import Progress
from mgd.host.runs.training import Checkpointer, Reporter, RunResult, run_training
from mgd.host.session.board import BoardSession
from mgd.host.session.golden import GoldenSession
from mgd.protocol.framing import Op, Space
from mgd.protocol.registers import Register
from tests.support.fake_board import FakeBoard, encode
from tests.support.simulation import XOR, mgd, refused, start_board, table_task

pytestmark = pytest.mark.xdist_group("faults")

KINDS = ("flip", "drop", "duplicate", "swap", "truncate")
SEED = 4


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return table_task(tmp_path_factory.mktemp("table")).with_overrides(steps=40)


@pytest.fixture(scope="module")
def expected(task) -> RunResult:
    return run_training(GoldenSession(task.spec.network), task)


@pytest.fixture(scope="module")
def board(task):
    board = start_board(task, 2)
    yield board
    board.close()


def faulty(board, rates: Rates = Rates(), seed: int = SEED) -> FaultyTransport:  # noqa: B008
    print(f"seed {seed}, {rates}")
    return FaultyTransport(SerialTransport(board.port), rates, seed)


def assert_same(result: RunResult, expected: RunResult) -> None:
    for found, wanted in zip(result.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert [p.test_cost for p in result.curve] == [p.test_cost for p in expected.curve]
    assert [p.train_cost for p in result.curve] == [p.train_cost for p in expected.curve]


# -- noise ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e-3, 1e-2])
@pytest.mark.parametrize("kind", KINDS)
def test_noise_changes_no_weight(board, task, expected, kind, rate):
    transport = faulty(board, Rates(**{kind: rate}))
    with BoardSession(transport, task.spec.network, "sim") as session:
        result = run_training(session, task)
    assert_same(result, expected)
    if rate == 1e-2:  # where luck, good or bad, cannot hide it
        assert transport.counts[kind] > 0
        assert result.counters.link_repeats > 0
        assert result.counters.link_errors > 0


def test_silence_is_waited_for(board, task, expected):
    transport = faulty(board, Rates(silence=0.02))
    with BoardSession(transport, task.spec.network, "sim") as session:
        assert session.link.timeout_s < SILENCE_S
        result = run_training(session, task)
    assert_same(result, expected)
    assert transport.counts["silence"] > 0


def test_a_line_that_stays_silent(board, task):
    transport = faulty(board)
    with BoardSession(transport, task.spec.network, "sim") as session:
        session.load_samples(*task.datasets())
        transport.rates = Rates(drop=1.0)
        with pytest.raises(UserError, match="no answer from the board") as error:
            session.start(task.spec.settings, 1)
        assert "\n" not in str(error.value)


def test_what_the_transport_does_to_bytes():
    """Each fault alone does what its name says, as often as its rate says."""
    data = bytes(random.Random(1).randbytes(20_000))

    def through(**rates: float) -> tuple[bytes, int]:
        inner = FakeBoard()
        sent = bytearray()
        inner.write = sent.extend  # type: ignore[method-assign,assignment]
        transport = FaultyTransport(inner, Rates(**rates), SEED)
        transport.write(data)
        return bytes(sent), sum(transport.counts.values())

    assert through() == (data, 0)
    flipped, count = through(flip=0.01)
    wrong = [a ^ b for a, b in zip(data, flipped, strict=True) if a != b]
    assert len(wrong) == count
    assert 140 < count < 260
    assert all(bits.bit_count() == 1 for bits in wrong)
    fewer, count = through(drop=0.01)
    assert len(fewer) == len(data) - count < len(data)
    more, count = through(duplicate=0.01)
    assert len(more) == len(data) + count > len(data)
    swapped, count = through(swap=0.01)
    assert sorted(swapped) == sorted(data)
    assert sum(a != b for a, b in zip(data, swapped, strict=True)) > count
    cut, count = through(truncate=0.001)
    assert count == 1
    assert data.startswith(cut)
    assert len(cut) < len(data)
    assert through(silence=1.0) == (b"", 1)


# -- ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 7, 33])
def test_a_host_that_dies_within_a_frame(board, task, expected, size):
    """The next host's first flag ends what is left of it; the run continues from its checkpoint."""
    kept: list[Progress] = []
    transport = faulty(board)

    class Dies(Reporter):
        def progress(self, step):
            if step >= 17:
                transport.cut_after(size)

    with (
        pytest.raises(HostDiedError),
        BoardSession(transport, task.spec.network, "sim") as session,
    ):
        run_training(session, task, Dies(), checkpointer=Checkpointer(5, kept.append))
    assert kept[-1].state.step >= 10
    with BoardSession(board.port, task.spec.network, "sim") as session:
        saves = Checkpointer(5, kept.append)
        result = run_training(session, task, checkpointer=saves, progress=kept[-1])
    assert_same(result, expected)


def test_a_port_that_vanishes(board, task, expected):
    kept: list[Progress] = []
    transport = faulty(board)

    class Unplugs(Reporter):
        def progress(self, step):
            if step >= 17:
                transport.vanish()

    with (
        pytest.raises(PortError, match="is gone") as error,
        BoardSession(transport, task.spec.network, "sim") as session,
    ):
        run_training(session, task, Unplugs(), checkpointer=Checkpointer(5, kept.append))
    assert "\n" not in str(error.value)
    with BoardSession(board.port, task.spec.network, "sim") as session:
        result = run_training(session, task, progress=kept[-1])
    assert_same(result, expected)


def test_a_second_host_is_refused(board, task, expected, tmp_path):
    """And does the first one no harm."""
    lines: list[str] = []

    class Asks(Reporter):
        def evaluated(self, point):
            if not lines:
                line = refused(mgd("train", "xor", "--backend", board.port, cwd=tmp_path))
                lines.append(line)

    with BoardSession(board.port, task.spec.network, "sim") as session:
        assert_same(run_training(session, task, Asks()), expected)
    assert "in use by another program" in lines[0]


def test_a_wrong_bitstream(board, tmp_path):
    with pytest.raises(UserError, match="core for another network"):
        BoardSession(faulty(board, Rates(flip=0.003)), XOR.spec.network)


def test_errors_are_in_run_json(board, task, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from mgd.scripts.commands import train as command

    def open_faulty(task, _backend, _baud=None, _record=None):
        return BoardSession(faulty(board, Rates(flip=0.003)), task.spec.network, "sim")

    monkeypatch.setattr(command, "open_session", open_faulty)
    out = tmp_path / "run"
    arguments = [str(Path(task.folder) / "table.toml"), "--steps", "40", "--out", str(out)]
    result = CliRunner().invoke(command.train, arguments, catch_exceptions=False)
    values = json.loads((out / "run.json").read_text())
    assert values["link_errors"] > 0
    assert values["link_repeats"] > 0
    assert values["board_losses"] == 0
    errors, repeats = values["link_errors"], values["link_repeats"]
    assert f"{errors} damaged frames, {repeats} requests sent again" in result.output


# -- the link's tactics ---------------------------------------------------------------------


def test_long_requests_are_cut_until_they_get_through():
    board = FakeBoard()
    link = Link(board, timeout_s=0.02, attempts=3)
    board.spoil = lambda number, reply: b"" if board.requests[number][3] > 10 else reply
    link.read_register(Register.STEP)
    words = list(range(200))
    link.write(Space.WEIGHTS, 0, words)
    assert [board.words[Space.WEIGHTS, k] for k in range(200)] == words
    assert link._size <= 20, "twice what gets through, at most"
    assert link.read(Space.WEIGHTS, 0, 200) == words
    board.spoil = lambda _number, reply: reply
    for _ in range(200):
        link.read(Space.WEIGHTS, 0, 200)
    assert link._size == 255, "and become longer again"


def test_a_reply_that_is_passed_by_a_later_one_is_asked_for_at_once():
    board = FakeBoard()
    link = Link(board, timeout_s=60.0)  # the test would take a minute
    board.spoil = lambda number, reply: b"" if number == 2 else reply
    link.write(Space.WEIGHTS, 0, list(range(600)))
    assert link.repeats == 1
    assert [board.words[Space.WEIGHTS, k] for k in range(600)] == list(range(600))


# -- the gateware's parser ------------------------------------------------------------------

FUZZ_CLOCKS = 1_000_000


def spoilt_frames(random: random.Random) -> bytes:
    """Garbage of many kinds, with nothing in it that the board should execute but reads."""
    read = encode(bytes([random.randrange(256), Op.READ, random.randrange(2), 1, 3, 0, 0, 0]))
    kind = random.randrange(6)
    if kind == 0:
        return random.randbytes(random.randrange(1, 600))
    if kind == 1:
        return bytes(random.choice(b"\x7d\x7e\x5d\x5e\x00\xff") for _ in range(300))
    if kind == 2:
        return read[: random.randrange(len(read))]
    if kind == 3:
        return read * random.randrange(1, 3)
    body = bytes([9, Op.WRITE, Space.WEIGHTS, 60, 0, 0, 0, 0]) + random.randbytes(240)
    write = encode(body)
    if kind == 4:  # a write whose CRC is wrong
        place = random.randrange(len(write) - 1)
        damaged = bytearray(write)
        damaged[place] ^= 1 << random.randrange(8)
        return bytes(damaged)
    crc = zlib.crc32(body[:7]).to_bytes(4, "little")
    return body[:7] + crc + b"\x7e"  # a short frame whose CRC is right


@pytest.mark.parametrize("seed", [1, 2])
def test_the_parser_survives_a_million_clocks_of_garbage(board, task, seed):
    print(f"seed {seed}")
    rng = random.Random(seed)
    with BoardSession(board.port, task.spec.network, "sim") as session:
        session.load_samples(*task.datasets())
        session.start(task.spec.settings, SEED)
        weights = session.read_weights()
        link = session.link
        begin = link.read_register64(Register.CLOCKS)
        frame_errors = link.read_register(Register.FRAME_ERRORS)
        while link.read_register64(Register.CLOCKS) - begin < FUZZ_CLOCKS:
            link.transport.write(b"".join(spoilt_frames(rng) for _ in range(40)))
            while link.transport.read(0.05):
                pass  # replies to the whole reads among it
        assert link.identify() == session.identity
        counted = link.read_register(Register.FRAME_ERRORS) - frame_errors
        assert counted % (1 << 16) > 100
        for found, wanted in zip(session.read_weights(), weights, strict=True):
            np.testing.assert_array_equal(found, wanted)
        session.train(20)
        assert session.counters().step == 20
