"""host.session.sample_ring and host.session.streaming beside a core that trains on whatever it
finds."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.samples.window import SampleWindow
from mgd.host.link.board_link import Link
from mgd.host.session.sample_ring import SampleRing
from mgd.host.session.sample_store import SampleStore
from mgd.host.session.streaming import Streaming
from mgd.protocol.framing import Space
from mgd.protocol.record import Samples, paired, sample_records
from tests.support.fake_board import FakeBoard

NETWORK = Network((5, 3), sample_bits=8)
"""Records of 4 words; with a stride of 3 or 5 two records share a word of the link."""
SAMPLES = 23
CODES = np.arange(SAMPLES * 5).reshape(SAMPLES, 5) % 251
TRAIN = Samples(CODES, np.arange(SAMPLES) % 3)
TEST = Samples(CODES[::-1], np.arange(SAMPLES) % 3)
WINDOWS = [(1, 1), (2, 2), (6, 1), (6, 2), (6, 3), (6, 6), (23, 1), (22, 11)]


class Core:
    """Trains when it is looked at, a few steps at most, and takes each sample from memory."""

    def __init__(self, board: FakeBoard, stride: int, slots: int, tau_x: int, first_step: int):
        self.board, self.stride, self.slots, self.tau_x = board, stride, slots, tau_x
        self.phase = first_step % tau_x
        self.random = random.Random(4)
        self.fastest = 40
        self.now = self.target = self.idle = self.trains = 0
        self.busy = False
        self.records: list[list[int]] = []
        """What was in the memory for each step, in order."""

    def look(self) -> tuple[bool, int]:
        if self.busy:
            self._go(self.random.randint(0, self.fastest))
        return self.busy, self.now

    def set_target(self, step: int) -> None:
        assert step >= self.target
        self.target = step

    def send_train(self) -> None:
        assert not self.busy
        self.idle += 100
        self.busy = True
        self.trains += 1

    def clocks(self) -> tuple[int, int]:
        return self.idle + 7 * self.now, 7 * self.now

    def _go(self, steps: int) -> None:
        for _ in range(min(steps, self.target - self.now)):
            take = (self.phase + self.now) // self.tau_x
            if not self.records or (self.phase + self.now) % self.tau_x == 0:
                begin = take % self.slots * self.stride
                words = [self._word(begin + k) for k in range(self.stride)]
            else:
                words = self.records[-1]
            self.records.append(words)
            self.now += 1
        self.busy = self.now < self.target

    def _word(self, address: int) -> int:
        pair = self.board.words.get((Space.SAMPLES, address // 2), 0)
        return pair >> 16 * (address % 2) & 0xFFFF


def streamed(resident, passes, tau_x, *, stride=4, first_step=0, fastest=40, steps=300):
    """A run on a Core: what it used, and what it should have used."""
    window = SampleWindow(resident, passes)
    board = FakeBoard()
    store = SampleStore(Link(board), NETWORK, stride, (resident + 3) * stride, TRAIN, TEST)
    store.load(window, first_step // tau_x)
    core = Core(board, stride, resident, tau_x, first_step)
    core.fastest = fastest
    streaming = Streaming(core, store, tau_x, first_step, 10**9, "fake")
    seen: list[int] = []
    middle = first_step + steps // 3
    for until in (first_step + 1, middle, middle, first_step + steps):
        streaming.train(until, seen.append)
        assert core.now == until - first_step
    assert seen == sorted(seen)
    takes = np.arange(first_step, first_step + steps) // tau_x
    wanted = sample_records(TRAIN, NETWORK, stride)[window.places(takes, SAMPLES)]
    return core, streaming, wanted.tolist()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("mgd.host.session.streaming.POLL_SECONDS", (0.0, 0.0))


@pytest.mark.parametrize("fastest", [2, 10_000])
@pytest.mark.parametrize("tau_x", [1, 3])
@pytest.mark.parametrize(("resident", "passes"), WINDOWS)
def test_every_step_finds_its_sample(resident, passes, tau_x, fastest):
    core, _, wanted = streamed(resident, passes, tau_x, fastest=fastest)
    assert core.records == wanted


@pytest.mark.parametrize("words", [1, 4])
@pytest.mark.parametrize(("resident", "passes"), WINDOWS)
def test_every_step_finds_its_sample_though_little_is_sent_at_once(
    resident, passes, words, monkeypatch
):
    monkeypatch.setattr("mgd.host.session.sample_store.BATCH_WORDS", words)
    core, _, wanted = streamed(resident, passes, 1, fastest=10_000)
    assert core.records == wanted


@pytest.mark.parametrize("stride", [4, 5, 7])
@pytest.mark.parametrize("first_step", [1, 29, 60, 61])
@pytest.mark.parametrize(("resident", "passes"), WINDOWS[2:])
def test_a_run_goes_on_from_any_step(resident, passes, first_step, stride):
    core, _, wanted = streamed(resident, passes, 3, stride=stride, first_step=first_step)
    assert core.records == wanted


def test_waiting_is_counted():
    fast, fast_streaming, _ = streamed(6, 2, 1, fastest=10_000)
    slow, slow_streaming, _ = streamed(6, 2, 1, fastest=1)
    assert fast.trains > 20 > slow.trains
    for core, streaming in ((fast, fast_streaming), (slow, slow_streaming)):
        assert streaming.wait_clocks == core.idle == 100 * core.trains


def test_a_core_that_hangs(monkeypatch):
    board = FakeBoard()
    store = SampleStore(Link(board), NETWORK, 4, 40, TRAIN, TEST)
    store.load(SampleWindow(6, 2), 0)
    core = Core(board, 4, 6, 1, 0)
    core.look = lambda: (True, 5)  # type: ignore[method-assign]
    counts = iter(range(0, 10**9, 600))
    core.clocks = lambda: (next(counts), 0)  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"TRAIN has taken \d+ clocks for step 5, .* 1000"):
        Streaming(core, store, 1, 0, 1000, "fake").train(100, None)


def test_no_word_of_the_link_is_sent_twice_at_once():
    board = FakeBoard()
    store = SampleStore(Link(board), NETWORK, 5, 60, TRAIN, TEST)
    store.load(SampleWindow(6, 1), 0)
    ring = store.ring
    ring.reach(4)
    before = len(board.accesses)
    assert [change.slot for change in ring.due] == [0, 1, 2, 3]
    assert store.make(ring.due) == 4
    written = [address for _, _, address in board.accesses[before:]]
    assert sorted(set(written)) == written == list(range(10))


def test_parts_of_a_set_are_there_when_they_are_asked_for():
    board = FakeBoard()
    store = SampleStore(Link(board), NETWORK, 5, 11 * 5 + 1, TRAIN, TEST)
    store.load(SampleWindow(6), 0)
    assert store.room == 5
    for name, samples in (("test", TEST), ("train", TRAIN), ("test", TEST)):
        records = sample_records(samples, NETWORK, 5)
        first = 0
        for behind, count in store.parts(name):
            assert behind
            words = [board.words[Space.SAMPLES, 15 + k] for k in range(-(-5 * count // 2))]
            flat = paired(records[first : first + count])
            assert words[:-1] == flat[:-1]
            assert words[-1] & 0xFFFF == flat[-1] & 0xFFFF
            first += count
        assert first == SAMPLES
    # The slots were left alone.
    kept = [board.words[Space.SAMPLES, k] for k in range(15)]
    assert kept == paired(sample_records(TRAIN, NETWORK, 5)[:6])


def test_what_fits_is_written_once():
    board = FakeBoard()
    store = SampleStore(Link(board), NETWORK, 4, 2 * SAMPLES * 4, TRAIN, TEST)
    store.load(None, 5)
    written = len(board.accesses)
    assert written == SAMPLES * 4
    assert store.is_loaded(None, 5 + SAMPLES)
    assert store.is_loaded(SampleWindow(SAMPLES), 5)
    assert not store.is_loaded(None, 6)
    assert not store.is_loaded(SampleWindow(SAMPLES - 1), 5)
    assert list(store.parts("train")) == [(False, SAMPLES)]
    assert list(store.parts("test")) == [(True, SAMPLES)]
    assert len(board.accesses) == written


@pytest.mark.parametrize(
    ("memory", "window", "words"),
    [
        (6 * 4, SampleWindow(6, 2), ["resident = 6 samples", "take 28 words", "has 24",
                                     "resident = 5"]),
        (7 * 4, None, ["23 training samples", "take 96 words", "has 28", "--resident 6"]),
        (7, None, ["take 8 words", "has 7", "more sample memory"]),
        (999, SampleWindow(24), ["resident = 24", "only 23 samples"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(memory, window, words):
    board = FakeBoard()
    store = SampleStore(Link(board), NETWORK, 4, memory, TRAIN, TEST)
    with pytest.raises(UserError) as error:
        store.load(window, 0)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)
    assert board.accesses == []


def test_a_ring_that_never_moves():
    ring = SampleRing(SAMPLES, None, 7)
    ring.reach(1000)
    assert (ring.moves, list(ring.due)) == (False, [])
    assert ring.limit(3) > 10**9
    assert ring.content().tolist() == [(7 + k) % SAMPLES for k in range(SAMPLES)]
