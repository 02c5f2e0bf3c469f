"""The link protocol: one definition for gateware and host.  No Amaranth in here.

A frame is COBS-encoded and ends with a zero byte, so any garbage on the wire is over at the
next zero.  Decoded, it is a header, `count` 32-bit words and a CRC-32, all little-endian:

    request:  seq u8, op u8, space u8, count u8, address u24, zero u8, [words], crc u32
    reply:    seq u8, status u8, op u8, count u8, [words], crc u32

The board answers every request whose CRC is right, and nothing else.  It reads or writes word
by word and stops at the first status other than OK; a reply's `count` is the number of words
done until then, and a reply to READ carries exactly these.  A request has 1 to MAX_WORDS words.
A host may have two requests without a reply, not more.

Every request may be repeated: reading and writing the same words twice, and starting a command
whose end is given as an absolute step number, change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from golden_model.network import ACTIVATIONS, COSTS, Network

MAGIC = 0x3144474D
"""'MGD1' read as a little-endian word."""
VERSION = 1
"""Protocol version; host and board must have the same."""

MAX_WORDS = 60
"""Most words in a frame.  Header, words and CRC then stay one COBS block (254 bytes)."""
REQUEST_HEADER = 8
REPLY_HEADER = 4
CRC_BYTES = 4


class Op(IntEnum):
    READ = 1
    WRITE = 2


class Status(IntEnum):
    OK = 0
    BAD_REQUEST = 1
    """Unknown op or space, a count the frame does not hold, or a read-only word."""
    BAD_ADDRESS = 2
    BUSY = 3
    """The core is running: memories and settings are not accessible, STATUS and STEP are."""


class Space(IntEnum):
    REGISTERS = 0
    IDENTITY = 1
    SAMPLES = 2
    """Sample memory, two 16-bit words per word, the lower address in the lower half."""
    WEIGHTS = 3
    """Weight memories: address = lane << 16 | word; sign-extended to 32 bits."""


ADDRESS_STEP = {space: 2 if space == Space.SAMPLES else 1 for space in Space}
"""How far apart the addresses of a frame's words are."""


class Command(IntEnum):
    """Written to Register.COMMAND."""

    INIT = 1
    """Load the seed, step = 0, clear accumulators and counters.  Weights stay."""
    TRAIN = 2
    """Run steps until STEP = STEP_TARGET.  The last update stays pending."""
    EVALUATE = 3
    """Flush, then run EVAL_COUNT samples from EVAL_BASE without perturbation."""
    FLUSH = 4
    """Apply the pending update."""


class Flag(IntFlag):
    """Bits of Register.MODE."""

    NODES = 1
    """Node perturbation; else weight perturbation."""
    ANTITHETIC = 2
    """Antithetic difference; else forward."""
    ACCUMULATE = 4
    """Residual rounding with accumulators; else stochastic rounding."""


class Register(IntEnum):
    """Word addresses in Space.REGISTERS.  64-bit values: low word first."""

    COMMAND = 0
    STATUS = 1
    STEP = 2
    STEP_TARGET = 3
    MODE = 4
    DELTA_EXP = 5
    ETA_EXP = 6
    INPUT_SHIFT = 7
    TAU_X = 8
    TAU_P = 9
    TAU_THETA = 10
    SEED = 11
    """61-bit start state of the sign sequence (golden_model.seeds.start_state), two words."""
    TRAIN_BASE = 13
    """16-bit word address of the first training sample's record."""
    TRAIN_COUNT = 14
    EVAL_BASE = 15
    EVAL_COUNT = 16
    EVAL_CORRECT = 17
    EVAL_COST = 18
    """Sum of the costs of the evaluated samples, two words, units of 2^-cost_frac."""
    LAST_CLASS = 20
    LAST_COST = 21
    """Class and cost of the sample evaluated last."""
    COST_SUM = 23
    """Sum over steps of C⁺ + C⁻ (antithetic) or 2·C (forward) since INIT, two words."""
    WEIGHT_SATURATIONS = 25
    ACTIVATION_SATURATIONS = 26
    CLOCKS = 27
    """Clocks since power-up, two words."""
    TRAIN_CLOCKS = 29
    """Clocks spent in TRAIN since INIT, two words."""
    FRAME_ERRORS = 31
    """Frames received with a wrong CRC or length."""


REGISTERS = 32
"""Size of Space.REGISTERS."""

READ_ONLY = frozenset(
    {Register.STATUS, Register.STEP}
    | {r for r in Register if Register.EVAL_CORRECT <= r <= Register.FRAME_ERRORS}
)


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

    @classmethod
    def of(cls, network: Network, lanes: int, lane_words: int, sample_memory: int, clock_hz: int):
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
        )

    def words(self) -> list[int]:
        """The record as 32-bit words: magic, version, number of words, then the fields."""
        kinds = (
            ACTIVATIONS.index(self.hidden)
            | ACTIVATIONS.index(self.output) << 8
            | COSTS.index(self.cost) << 16
        )
        fields = [
            self.digest & 0xFFFFFFFF,
            self.digest >> 32,
            kinds,
            self.weight_bits,
            self.lanes,
            self.lane_words,
            self.sample_memory,
            int(self.accumulators),
            self.tau_theta_max,
            self.clock_hz,
            len(self.layers),
            *self.layers,
        ]
        return [MAGIC, VERSION, len(fields) + 3, *fields]

    @classmethod
    def from_words(cls, words: list[int]):
        """Inverse of words().  Raises ValueError where this is no identity record."""
        if words[:1] != [MAGIC]:
            raise ValueError(f"no identity record: it starts with {words[:1]}, not {MAGIC:#x}")
        if words[1] != VERSION:
            raise ValueError(f"the board speaks protocol version {words[1]}, this host {VERSION}")
        f = words[3 : words[2]]
        return cls(
            digest=f[0] | f[1] << 32,
            layers=tuple(f[11 : 11 + f[10]]),
            hidden=ACTIVATIONS[f[2] & 0xFF],
            output=ACTIVATIONS[f[2] >> 8 & 0xFF],
            cost=COSTS[f[2] >> 16 & 0xFF],
            weight_bits=f[3],
            lanes=f[4],
            lane_words=f[5],
            sample_memory=f[6],
            accumulators=bool(f[7]),
            tau_theta_max=f[8],
            clock_hz=f[9],
        )
