"""host.link.board_link against a board in memory that loses, spoils, repeats and refuses."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.host.link.board_link import Link
from mgd.host.link.transfer import RefusedError
from mgd.protocol.framing import MAX_READ, MAX_WRITE, Op, Space, Status
from mgd.protocol.identity import VERSION, Identity
from mgd.protocol.registers import Register
from tests.support.fake_board import FakeBoard, encode

TIMEOUT_S = 0.02


@pytest.fixture
def board():
    return FakeBoard()


@pytest.fixture
def link(board):
    return Link(board, timeout_s=TIMEOUT_S, attempts=3)


@pytest.mark.parametrize("count", [0, 1, 124, 125, 126, 255, 256, 1500])
@pytest.mark.parametrize("space", [Space.WEIGHTS, Space.SAMPLES])
def test_transfers_of_any_length(board, link, space, count):
    random.seed(count)
    words = [random.choice([0, 0xFF, 1 << 31, random.getrandbits(32)]) for _ in range(count)]
    link.write(space, 0x1234, words)
    assert board.words == {(space, 0x1234 + k): words[k] for k in range(count)}
    assert link.read(space, 0x1234, count) == words
    assert len(board.requests) == -(-count // MAX_WRITE) + -(-count // MAX_READ)
    assert board.most_under_way <= 8
    assert (link.errors, link.repeats) == (0, 0)


def test_blocks_in_a_row(board, link):
    """Their words in the order of the blocks; no request spans two."""
    blocks = [(0x10000, 130), (5, 1), (0x20000, 300), (0x30000, 0)]
    given = [(address, list(range(address, address + count))) for address, count in blocks]
    link.write_blocks(Space.WEIGHTS, given)
    assert board.words == {(Space.WEIGHTS, w): w for _, words in given for w in words}
    assert link.read_blocks(Space.WEIGHTS, blocks) == [w for _, words in given for w in words]
    with pytest.raises(UserError, match="24 bits"):
        link.read_blocks(Space.WEIGHTS, [(0, 1), (1 << 24, 1)])


def test_a_short_write_behind_a_long_one_is_the_last_until_that_is_answered(board, link):
    sent: list[tuple[int, int]] = []
    write = board.write

    def note(data):
        write(data)
        sent.append((board.requests[-1][3], len(board._unread)))

    board.write = note
    blocks = [(0, 125), (1000, 1), (2000, 125), (3000, 8), (4000, 125), (5000, 7), (6000, 125)]
    link.write_blocks(Space.WEIGHTS, [(at, [0] * count) for at, count in blocks])
    # Words, and requests that were not answered when it had been sent.
    assert [count for count, _ in sent] == [count for _, count in blocks]
    assert [waiting for _, waiting in sent] == [1, 2, 2, 3, 4, 5, 2]


def test_reads_are_never_more_than_two_under_way(board, link):
    """A read's reply is long, and the board has room for one request beside it."""
    link.read(Space.SAMPLES, 0, 3000)
    assert board.most_under_way == 2


def test_registers(board, link):
    link.write_register(Register.TAU_X, 7)
    assert board.words[Space.REGISTERS, Register.TAU_X] == 7
    link.write(Space.REGISTERS, Register.COST_SUM, [0x9ABCDEF0, 0x12345678])
    assert link.read_register(Register.COST_SUM) == 0x9ABCDEF0
    assert link.read_register64(Register.COST_SUM) == 0x123456789ABCDEF0


def test_a_64_bit_register_that_counts_is_read_whole(board, link):
    key = (Space.REGISTERS, Register.CLOCKS)
    board.words[key] = 0xFFFFFFFF

    def carry_after_the_first_read(number, reply):
        if number == 0:
            board.words[key], board.words[key[0], key[1] + 1] = 3, 1
        return reply

    board.spoil = carry_after_the_first_read
    assert link.read_register64(Register.CLOCKS) == 0x1_00000003


def test_identify(board, link):
    identity = Identity.of(Network(layers=(64, 32, 10)), 8, 326, 1 << 16, 48_000_000)
    for at, word in enumerate(identity.words()):
        board.words[Space.IDENTITY, at] = word
    assert link.identify() == identity
    board.words[Space.IDENTITY, 2] = 9
    with pytest.raises(UserError, match="version 9"):
        link.identify()
    board.words.clear()
    with pytest.raises(UserError, match="board on fake cannot be used"):
        link.identify()


SPOILT = {
    "lost": lambda reply: b"",
    "cut short": lambda reply: reply[:-4] + b"\x7e",
    "only an escape": lambda reply: b"\x7d\x7e",
    "an escape at the end": lambda reply: reply[:-1] + b"\x7d\x7e",
    "a CRC alone": lambda reply: encode(b""),
    "no status": lambda reply: encode(bytes([1, Op.READ])),
    "half a tail": lambda reply: encode(bytes([1, Op.READ, 0])),
    "a bit changed": lambda reply: bytes([reply[0], reply[1] ^ 4]) + reply[2:],
    "other op": lambda reply: encode(bytes([1, Op.WRITE, Status.OK, 0])),
    "fewer words": lambda reply: encode(bytes([1, Op.READ]) + bytes(4) + b"\0\0"),
    "words that are not done": lambda reply: encode(bytes([1, Op.READ]) + bytes(8) + b"\x03\x02"),
    "OK, but not done": lambda reply: encode(bytes([1, Op.READ]) + bytes(4) + b"\x00\x02"),
    "refused, but done": lambda reply: encode(bytes([1, Op.READ]) + bytes(12) + b"\x03\x00"),
    "more left than asked for": lambda reply: encode(bytes([1, Op.READ]) + b"\x03\x04"),
    "without a flag": lambda reply: b"\x55" * 3000,
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_bad_reply_is_asked_for_again(board, link, kind):
    board.words.update({(Space.WEIGHTS, k): 10 + k for k in range(3)})
    board.spoil = lambda number, reply: SPOILT[kind](reply) if number == 0 else b"\x7e" + reply
    assert link.read(Space.WEIGHTS, 0, 3) == [10, 11, 12]
    assert link.repeats == 1
    assert link.errors == (0 if kind == "lost" else 1)


def test_a_board_of_an_older_protocol(board, link):
    """Its replies are not damaged, but one byte shorter."""
    board.words[Space.WEIGHTS, 0] = 1
    board.spoil = lambda number, _reply: encode(
        bytes([board.requests[number][0], Op.READ]) + bytes(4) + b"\0"
    )
    with pytest.raises(UserError, match=f"answers in another way than version {VERSION} ") as error:
        link.read(Space.WEIGHTS, 0, 1)
    assert "\n" not in str(error.value)


def test_a_transfer_survives_many_losses(board, link):
    rng = random.Random(5)
    link.attempts = 20
    board.spoil = lambda _number, reply: reply if rng.random() > 0.4 else b""
    words = [rng.getrandbits(32) for _ in range(600)]
    link.write(Space.WEIGHTS, 0, words)
    assert link.read(Space.WEIGHTS, 0, 600) == words
    assert link.repeats > 2


@pytest.mark.parametrize("attempts", [1, 3])
def test_attempts_are_bounded(board, attempts):
    link = Link(board, timeout_s=TIMEOUT_S, attempts=attempts)
    board.spoil = lambda _number, _reply: b""
    with pytest.raises(UserError, match=f"no answer .* fake to {attempts} attempts .*check"):
        link.read(Space.WEIGHTS, 0, 1)
    assert len(board.requests) == attempts
    # The same bytes each time: the protocol's promise is for repeated requests.
    assert len(set(board.requests)) == 1


def test_replies_with_another_sequence_number_are_not_taken(board, link):
    board.words[Space.WEIGHTS, 0] = 1
    stale = encode(bytes([200, Op.READ]) + b"\x63\0\0\0" + bytes([Status.OK, 0]))
    board.spoil = lambda _number, reply: stale + reply
    assert link.read(Space.WEIGHTS, 0, 1) == [1]
    board.spoil = lambda _number, _reply: stale
    with pytest.raises(UserError, match="no answer"):
        link.read(Space.WEIGHTS, 0, 1)


def test_sequence_numbers_differ_and_wrap(board, link):
    for k in range(300):
        link.write_register(Register.TAU_X, k)
    seqs = [request[0] for request in board.requests]
    assert all((b - a) % 256 == 1 for a, b in pairwise(seqs))


def test_what_came_before_a_request_is_forgotten(board, link):
    board.words[Space.WEIGHTS, 0] = 1
    board.inject(encode(bytes([1, Op.READ]) + b"\x63\0\0\0" + bytes([Status.OK, 0])))
    assert link.read(Space.WEIGHTS, 0, 1) == [1]


@pytest.mark.parametrize("status", [Status.BAD_REQUEST, Status.BAD_ADDRESS, Status.BUSY])
@pytest.mark.parametrize("op", ["read", "write"])
def test_a_refusal_says_which_word(board, link, status, op):
    board.status = lambda space, at: status if at == 0x1000 + 130 else Status.OK
    transfer = {
        "read": lambda: link.read(Space.SAMPLES, 0x1000, 300),
        "write": lambda: link.write(Space.SAMPLES, 0x1000, [0] * 300),
    }
    with pytest.raises(RefusedError, match=rf"{op} SAMPLES at 0x1082 \({status.name}\)") as caught:
        transfer[op]()
    assert caught.value.status == status
    assert caught.value.words_done == 130 % (MAX_READ if op == "read" else MAX_WRITE)
    assert "\n" not in str(caught.value)
    assert len(board.requests) <= 4, "it goes on after a refusal"
    assert link.repeats == 0


@pytest.mark.parametrize("word", [-1, 1 << 32])
def test_words_have_32_bits(board, link, word):
    with pytest.raises(UserError, match=f"word {word} for space WEIGHTS"):
        link.write(Space.WEIGHTS, 0, [0] * 70 + [word])
    assert board.requests == []


@pytest.mark.parametrize(
    ("space", "address", "count"),
    [(Space.WEIGHTS, 1 << 24, 1), (Space.WEIGHTS, -1, 1), (Space.SAMPLES, (1 << 24) - 1, 2)],
)
def test_addresses_have_24_bits(link, space, address, count):
    with pytest.raises(UserError, match="24 bits"):
        link.read(space, address, count)
