"""The link protocol: one definition for gateware and host.  No Amaranth in here.

A frame ends with the byte FLAG, which occurs nowhere else, so any garbage on the wire is over at
the next one: a data byte FLAG or ESCAPE is sent as ESCAPE and the byte with one bit inverted
(RFC 1662's HDLC-like framing).  What is framed is a header, words of 32 bits and a CRC-32, all
little-endian:

    request:  seq u8, op u8, space u8, count u8, address u24, zero u8, [words], crc u32
    reply:    seq u8, op u8, [words], status u8, left u8, crc u32

The board answers every request whose CRC is right, and nothing else.  It reads or writes word
by word and stops at the first status other than OK; `left` is how many words were not done.  A
reply to READ carries exactly the words done.  A WRITE has 1 to MAX_WRITE words, a READ 1 to
MAX_READ.  A host may have two requests without a reply, and more WRITEs (see docs/protocol.md).

Every request may be repeated: reading and writing the same words twice, and starting a command
whose end is given as an absolute step number, change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from mgd.golden_model.costs import COSTS
from mgd.golden_model.network import ACTIVATIONS, Network

MAGIC = 0x3144474D
"""'MGD1' read as a little-endian word."""
VERSION = 6
"""Protocol version; host and board must have the same."""

FLAG = 0x7E
ESCAPE = 0x7D
ESCAPE_XOR = 0x20
"""The bit that is inverted in the byte after an ESCAPE."""

REQUEST_HEADER = 8
REPLY_HEADER = 2
REPLY_TAIL = 2
"""Status and words not done."""
CRC_BYTES = 4
FRAME_MAX = 512
"""Most bytes of a request, escapes undone, without the flag."""
MAX_WRITE = (FRAME_MAX - REQUEST_HEADER - CRC_BYTES) // 4
"""Most words in a WRITE."""
SHORTER = 16
"""A WRITE may follow others that were not answered if the one before it is not more than this
many times shorter than the longest of those: that one is then done before it has arrived."""
MAX_READ = 255
"""Most words in a READ; they need no room in the board."""


class Op(IntEnum):
    READ = 1
    WRITE = 2


class Status(IntEnum):
    OK = 0
    BAD_REQUEST = 1
    """Unknown op or space, a count the frame does not hold, or a register that can only be read
    or only be written."""
    BAD_ADDRESS = 2
    BUSY = 3
    """The core is running: what is read of the registers and the identity is there, and STEP_TARGET
    and samples may be written."""


class Space(IntEnum):
    REGISTERS = 0
    IDENTITY = 1
    SAMPLES = 2
    """Sample memory: word k holds the 16-bit words 2k (lower half) and 2k + 1.  It may be written
    while the core is busy."""
    WEIGHTS = 3
    """Weight memories: address = lane << 16 | word; two's complement in the low weight_bits,
    the bits above are read as 0."""
    ACCUMULATORS = 4
    """The gradient accumulators' low 32 bits, addressed as the weights are; BAD_ADDRESS in a core
    that has none, or cannot show them.  The bits above the accumulator's width are read as 0."""
    ACCUMULATORS_HIGH = 5
    """Their bits from 32 on; BAD_ADDRESS where they have no more than 32.  A word written to any of
    its addresses goes with every word that is written to ACCUMULATORS after it."""


class Command(IntEnum):
    """Written to Register.COMMAND."""

    INIT = 1
    """Load the sign streams of the layers from SIGN_LAYER on, and of rounding, from SEED; step = 0,
    clear accumulators and counters.  Weights and the other layers' streams stay.  A run that goes
    on has a SEED for each layer whose position in its streams differs, the first layer's first."""
    TRAIN = 2
    """Run steps until STEP is STEP_TARGET or more.  The last update stays pending."""
    EVALUATE = 3
    """Flush, then run EVAL_COUNT samples from EVAL_BASE without perturbation."""
    FLUSH = 4
    """Apply the pending update."""
    CODES = 5
    """Of a core of a variant: SEED holds a number that it needs, SIGN_LAYER says which
    (rtl.run_codes).  After INIT, before TRAIN."""


class Flag(IntFlag):
    """Bits of Register.MODE."""

    NODES = 1
    """Node perturbation; else weight perturbation."""
    ANTITHETIC = 2
    """Antithetic difference; else forward.  Not looked at by a core for the continuous form."""
    ACCUMULATE = 4
    """Residual rounding with accumulators; else stochastic rounding."""


class Register(IntEnum):
    """Word addresses in Space.REGISTERS.  Values above 32 bits: low word first."""

    COMMAND = 0
    STEP_TARGET = 1
    """May be written while the core is busy: TRAIN ends at the first step boundary, from there on,
    for which no sample was fetched ahead."""
    MODE = 2
    DELTA_EXP = 3
    ETA_EXP = 4
    INPUT_SHIFT = 5
    TAU_X = 6
    TAU_P = 7
    TAU_THETA = 8
    SEED = 9
    """61-bit start state of the sign sequence (golden_model.seeds.start_state), two words."""
    TRAIN_END = 11
    """16-bit words of training samples; they begin at word 0."""
    EVAL_TEST = 12
    """EVALUATE begins at 0: the first training sample, 1: the sample behind the last of these."""
    EVAL_COUNT = 13
    SIGN_LAYER = 14
    """The first layer of weights, counted from 0, whose streams INIT loads; their number: none.
    For CODES: which."""
    EPOCH = 15
    """Any number of 8 bits that the host chooses; 0 at power-up.  Read back in STATUS."""
    STATUS = 16
    """Bit 0: busy.  Bits 8 to 15: EPOCH."""
    STEP = 17
    EVAL_CORRECT = 18
    EVAL_COST = 19
    """Sum of the costs of the evaluated samples, two words, units of 2^-cost_frac."""
    COST_SUM = 21
    """Sum over steps of C⁺ + C⁻ (antithetic) or 2·C (else) since INIT, two words."""
    CLOCKS = 23
    """Clocks since power-up, two words, 48 bits."""
    TRAIN_CLOCKS = 25
    """Clocks spent in TRAIN since INIT, two words, 48 bits."""
    WEIGHT_SATURATIONS = 27
    ACTIVATION_SATURATIONS = 28
    FRAME_ERRORS = 29
    """Frames received with a wrong CRC or length, modulo 2^16."""


REGISTERS = 32
"""Size of Space.REGISTERS."""
EPOCH_BITS = 8
EPOCH_SHIFT = 8
"""Place of EPOCH's lowest bit in STATUS."""
FIRST_READABLE = 16
"""Registers below it can only be written, the others only be read."""


WIRING = ("nodes", "antithetic", "input_shift", "shift_low", "shift_high", "update_delay")
"""Fields of rtl.spatial.config.SpatialConfig at the end of a spatial core's identity record; one
that has settings fixed beside has those of FIXABLE behind them."""

FIXABLE = (
    *("method", "difference", "rounding"),
    *("delta_exp", "eta_exp", "tau_x", "tau_p", "tau_theta", "input_shift"),
)
"""Settings that a core may have as wiring.  The identity record of one that has any ends with a
word for each: the value or its number, NOT_FIXED where it is a register."""
NOT_FIXED = -1
FIXED_MAX = 0x7FFF
"""Largest value of such a word."""


@dataclass(frozen=True)
class Identity:
    """What a board says of itself: the core it holds and the clock it runs at."""

    digest: int
    """First 64 bits of Network.digest()."""
    layers: tuple[int, ...]
    hidden: str
    output: str
    cost: str
    weight_bits: int
    lanes: int
    lane_words: int
    """Weight words per lane."""
    sample_memory: int
    """16-bit words of sample memory."""
    accumulators: bool
    tau_theta_max: int
    clock_hz: int
    variant: int = 0
    """What it was built for beside its network: protocol.build_options.Variant.word(), in two
    words that it shares with `accumulators`."""
    wiring: tuple[int, ...] = ()
    """What is no register there, in this order: WIRING of a spatial core, then FIXABLE where a core
    has any of those fixed; else nothing."""

    @classmethod
    def of(
        cls,
        network: Network,
        lanes: int,
        lane_words: int,
        sample_memory: int,
        clock_hz: int,
        wiring: tuple[int, ...] = (),
        variant: int = 0,
    ):
        """The identity record of a core for `network`."""
        return cls(
            digest=int(network.digest()[:16], 16),
            layers=network.layers,
            hidden=network.hidden,
            output=network.output,
            cost=network.cost,
            weight_bits=network.weight_bits,
            lanes=lanes,
            lane_words=lane_words,
            sample_memory=sample_memory,
            accumulators=network.accumulators,
            tau_theta_max=network.tau_theta_max,
            clock_hz=clock_hz,
            variant=variant,
            wiring=wiring,
        )

    def words(self) -> list[int]:
        """The record in words of 16 bits: magic, version, number of words, then the fields.

        A field that may need more than 16 bits takes two or four words, low one first.
        """
        fields = [
            *_halves(self.digest, 4),
            ACTIVATIONS.index(self.hidden) | ACTIVATIONS.index(self.output) << 8,
            COSTS.index(self.cost),
            self.weight_bits,
            self.lanes,
            *_halves(self.lane_words, 2),
            *_halves(self.sample_memory, 2),
            *_halves(int(self.accumulators) | self.variant, 2),
            *_halves(self.tau_theta_max, 2),
            *_halves(self.clock_hz, 2),
            len(self.layers),
            *self.layers,
            *(value & 0xFFFF for value in self.wiring),
        ]
        head = _halves(MAGIC, 2)
        return [*head, VERSION, len(head) + 2 + len(fields), *fields]

    @classmethod
    def from_words(cls, words: list[int]):
        """Inverse of words().  Raises ValueError where this is no identity record."""
        if words[:2] != _halves(MAGIC, 2):
            raise ValueError(f"no identity record: it starts with {words[:2]}, not {MAGIC:#x}")
        if words[2] != VERSION:
            raise ValueError(f"the board speaks protocol version {words[2]}, this host {VERSION}")
        f = words[4 : words[3]]

        def wide(first: int, count: int) -> int:
            return sum(half << 16 * k for k, half in enumerate(f[first : first + count]))

        return cls(
            digest=wide(0, 4),
            layers=tuple(f[19 : 19 + f[18]]),
            wiring=tuple((value ^ 0x8000) - 0x8000 for value in f[19 + f[18] :]),
            hidden=ACTIVATIONS[f[4] & 0xFF],
            output=ACTIVATIONS[f[4] >> 8],
            cost=COSTS[f[5]],
            weight_bits=f[6],
            lanes=f[7],
            lane_words=wide(8, 2),
            sample_memory=wide(10, 2),
            accumulators=bool(f[12] & 1),
            variant=wide(12, 2) & ~1,
            tau_theta_max=wide(14, 2),
            clock_hz=wide(16, 2),
        )


def _halves(value: int, count: int) -> list[int]:
    """`value` in `count` words of 16 bits, low one first."""
    return [value >> 16 * k & 0xFFFF for k in range(count)]
