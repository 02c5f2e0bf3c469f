"""The run-time registers: each is declared once, and everything else is made from that.

The gateware's settings layout (rtl.interface), the Control unit's address map, the values that a
host writes before a run (protocol.run_setup), the settings that a build can hold as constants
(protocol.fixed_settings) and the tables in docs/protocol.md (protocol.tables) all come from the
declarations below.
"""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag

from mgd.golden_model.network import DELTA_EXP_MAX, TAU_MAX
from mgd.golden_model.settings import STEPS_MAX
from mgd.golden_model.signs.sequence import STATE_BITS

WORD_BITS = 32
"""Bits at a register's address; a wider register takes the next address too, low word first."""
STEP_BITS = STEPS_MAX.bit_length()
CLOCK_BITS = 48
"""Of a count of clocks: 32 days at 100 MHz."""
EVAL_COUNT_BITS = 24
EPOCH_BITS = 8
EPOCH_SHIFT = 8
"""Position of EPOCH's lowest bit in STATUS, whose bit 0 is `busy`."""

FOLDED, SPATIAL = "folded", "spatial"
"""The kinds of cores (protocol.core_kinds)."""


class Command(IntEnum):
    """Written to Register.COMMAND.  `meaning`: as docs/protocol.md has it."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Command:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    INIT = (
        1,
        "loads the sign streams of the layers from SIGN_LAYER on, and the rounding stream, from "
        "SEED; sets STEP to 0, clears accumulators and counters; weights and the other streams "
        "stay",
    )
    TRAIN = (
        2,
        "runs until STEP is STEP_TARGET or more; the last update stays pending, but in a core "
        "whose updates are late all are made",
    )
    EVALUATE = (
        3,
        "applies the pending update, then runs EVAL_COUNT samples without perturbation",
    )
    FLUSH = 4, "applies the pending update"
    CODES = (
        5,
        "between INIT and TRAIN, where the core's build options need it: takes from SEED the "
        "number that SIGN_LAYER names (below)",
    )


class Mode(IntFlag):
    """Bits of Register.MODE: 1 where the setting `setting` is `chosen`."""

    field: str
    """Name in the core's settings (rtl.interface.SETTINGS_LAYOUT)."""
    setting: str
    """Name in golden_model.settings.Settings."""
    chosen: str

    def __new__(cls, bit: int, field: str, setting: str, chosen: str) -> Mode:
        member = int.__new__(cls, bit)
        member._value_ = bit
        member.field, member.setting, member.chosen = field, setting, chosen
        return member

    NODES = 1, "nodes", "method", "np"
    ANTITHETIC = 2, "antithetic", "difference", "antithetic"
    """A core for the continuous form ignores it."""
    ACCUMULATE = 4, "accumulates", "rounding", "residual"


class Role(Enum):
    """Where a register's value comes from, or goes to."""

    SETTING = "setting"
    """Written: settings of golden_model.settings.Settings, to the core."""
    RUN = "run"
    """Written: to the core, for the command that follows."""
    SAMPLES = "samples"
    """Written: to the sample memory."""
    CONTROL = "control"
    """Written to or read from rtl.system.control.Control itself."""
    REPORT = "report"
    """Read: counters of the core or the link."""


class Access(Enum):
    WRITE = "write"
    READ = "read"


EVERY_CORE = (FOLDED, SPATIAL)


class Register(IntEnum):
    """Word addresses in Space.REGISTERS."""

    role: Role
    access: Access
    bits: int
    """Width; the largest one, where network or sample memory decide."""
    meaning: str
    """As docs/protocol.md has it."""
    cores: tuple[str, ...]
    """Kinds of cores in which it is a register; in the others it is a constant of the build."""

    def __new__(
        cls,
        address: int,
        access: Access,
        role: Role,
        bits: int,
        meaning: str,
        cores: tuple[str, ...] = EVERY_CORE,
    ) -> Register:
        member = int.__new__(cls, address)
        member._value_ = address
        member.access, member.role, member.bits = access, role, bits
        member.meaning, member.cores = meaning, cores
        return member

    COMMAND = 0, Access.WRITE, Role.CONTROL, max(Command).bit_length(), "starts a command"
    STEP_TARGET = (
        *(1, Access.WRITE, Role.RUN, STEP_BITS),
        "TRAIN ends at the first step boundary from this step on; may be written while the core "
        "is busy",
    )
    MODE = (
        *(2, Access.WRITE, Role.SETTING, len(Mode)),
        "bits: " + ", ".join(f"{bit.name} = {bit.value}" for bit in Mode),
        (FOLDED,),
    )
    DELTA_EXP = (
        *(3, Access.WRITE, Role.SETTING, DELTA_EXP_MAX.bit_length()),
        "perturbation 2^-DELTA_EXP",
    )
    ETA_EXP = 4, Access.WRITE, Role.SETTING, 5, "learning rate over tau_theta, 2^-ETA_EXP"
    INPUT_SHIFT = (
        *(5, Access.WRITE, Role.SETTING, 4),
        "left shift that makes a sample's code an activation",
        (FOLDED,),
    )
    TAU_X = 6, Access.WRITE, Role.SETTING, TAU_MAX.bit_length(), "steps per sample"
    TAU_P = 7, Access.WRITE, Role.SETTING, TAU_MAX.bit_length(), "steps per perturbation"
    TAU_THETA = 8, Access.WRITE, Role.SETTING, TAU_MAX.bit_length(), "steps per weight update"
    SEED = (
        *(9, Access.WRITE, Role.RUN, STATE_BITS),
        "start state of the sign sequence for INIT; for CODES the number itself",
    )
    TRAIN_END = (
        *(11, Access.WRITE, Role.SAMPLES, WORD_BITS),
        "16-bit words of training samples, which begin at word 0",
    )
    EVAL_TEST = (
        *(12, Access.WRITE, Role.SAMPLES, 1),
        "0: EVALUATE begins at the first training sample, 1: at the sample behind the last of "
        "these",
    )
    EVAL_COUNT = 13, Access.WRITE, Role.RUN, EVAL_COUNT_BITS, "samples to evaluate"
    SIGN_LAYER = (
        *(14, Access.WRITE, Role.RUN, 8),
        "first layer of weights, counted from 0, whose signs INIT loads; the number of layers: "
        "none; for CODES: which number SEED holds",
    )
    EPOCH = 15, Access.WRITE, Role.CONTROL, EPOCH_BITS, "chosen by the host; 0 at power-up"
    STATUS = (
        *(16, Access.READ, Role.CONTROL, EPOCH_SHIFT + EPOCH_BITS),
        f"bit 0: busy; bits {EPOCH_SHIFT} to {EPOCH_SHIFT + EPOCH_BITS - 1}: EPOCH; the others "
        "are 0",
    )
    STEP = 17, Access.READ, Role.REPORT, STEP_BITS, "steps done since INIT"
    EVAL_CORRECT = 18, Access.READ, Role.CONTROL, EVAL_COUNT_BITS, "samples classified right"
    EVAL_COST = (
        *(19, Access.READ, Role.CONTROL, 2 * WORD_BITS),
        "sum of the costs of the evaluated samples in 2^-cost_frac",
    )
    COST_SUM = (
        *(21, Access.READ, Role.REPORT, 2 * WORD_BITS),
        "sum of C⁺ + C⁻ (or 2·C) over the steps since INIT, in 2^-cost_frac",
    )
    CLOCKS = 23, Access.READ, Role.CONTROL, CLOCK_BITS, "clocks since power-up"
    TRAIN_CLOCKS = 25, Access.READ, Role.REPORT, CLOCK_BITS, "clocks spent in TRAIN since INIT"
    WEIGHT_SATURATIONS = (
        *(27, Access.READ, Role.REPORT, WORD_BITS),
        "weights that met the end of their range",
    )
    ACTIVATION_SATURATIONS = (
        *(28, Access.READ, Role.REPORT, WORD_BITS),
        "activations that met the end of their range",
    )
    FRAME_ERRORS = (
        *(29, Access.READ, Role.REPORT, 16),
        "frames with a wrong CRC or length, modulo 65,536",
    )

    @property
    def words(self) -> int:
        """Addresses that it takes."""
        return -(-self.bits // WORD_BITS)

    @property
    def field(self) -> str:
        """Its name as a field of the core's settings or status."""
        return self.name.lower()

    @property
    def settings(self) -> tuple[str, ...]:
        """Fields of golden_model.settings.Settings that it carries."""
        if self is Register.MODE:
            return tuple(bit.setting for bit in Mode)
        return (self.field,) if self.role is Role.SETTING else ()


CORE_REPORTS = tuple(
    r for r in Register if r.role is Role.REPORT and r is not Register.FRAME_ERRORS
)
"""The reports that are ports of a core; the link counts FRAME_ERRORS."""
REGISTERS = 32
"""Size of Space.REGISTERS."""
FIRST_READABLE = min(register for register in Register if register.access is Access.READ)
"""Registers below it can only be written, the others only be read."""


def core_fields() -> dict[str, int]:
    """Width of each field of a core's settings (rtl.interface.SETTINGS_LAYOUT), in order."""
    fields: dict[str, int] = {}
    for register in Register:
        if register is Register.MODE:
            fields |= dict.fromkeys((bit.field for bit in Mode), 1)
        elif register.role in (Role.SETTING, Role.RUN):
            fields[register.field] = register.bits
    return fields


def settings_in_registers(core: str | None = None) -> tuple[str, ...]:
    """Settings that are registers in cores of this kind, or in any core."""
    return tuple(
        name
        for register in Register
        if core is None or core in register.cores
        for name in register.settings
    )
