"""The registers and commands that a host writes before a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mgd.golden_model.network import ROUND_BITS, Network
from mgd.golden_model.rules import check
from mgd.golden_model.seeds import start_state
from mgd.golden_model.settings import Settings
from mgd.golden_model.signs.sequence import start_states_at
from mgd.protocol import rules
from mgd.protocol.registers import WORD_BITS, Access, Command, Mode, Register, Role
from mgd.protocol.run_codes import PERTURBATION_CODES, run_codes

PERIODS = (Register.TAU_X, Register.TAU_P, Register.TAU_THETA)
"""Time constants: each counts steps and restarts at 0."""


def register_fields(settings: Settings) -> dict[str, int]:
    """The fields of a core's settings (protocol.registers.core_fields) that `settings` decides, in
    a step whose learning rate no schedule has changed (Settings.eta_exp_at)."""
    fields = {bit.field: int(getattr(settings, bit.setting) == bit.chosen) for bit in Mode}
    for register in Register:
        if register.role is Role.SETTING and register is not Register.MODE:
            fields[register.field] = getattr(settings, register.field)
    return fields


def sign_starts(
    network: Network, settings: Settings, seed: int, step: int
) -> list[tuple[int, int]]:
    """(first layer, start state) of each INIT that puts the sign streams where `step` steps leave
    them.

    Each one loads the layers from its first on, and the rounding stream; network.depth as first
    layer is the rounding stream alone.
    """
    code = PERTURBATION_CODES.get(settings.perturbation)
    advance = code is None or code.draws_advance_streams
    states = start_states_at(
        start_state(seed),
        settings.learning.widths_of(network.layers),
        draws=step // settings.tau_p if advance else 0,
        random_bits=ROUND_BITS * step,
    )
    return [(k, state) for k, state in enumerate(states) if k == 0 or state != states[k - 1]]


def words_of(register: Register, value: int) -> dict[int, int]:
    """Address and word of each part of a value."""
    return {
        register + k: value >> WORD_BITS * k & (1 << WORD_BITS) - 1 for k in range(register.words)
    }


@dataclass(frozen=True)
class RunSetup:
    """The writes between the samples and the weights of a run, in this order: `registers`, INIT,
    then `loads`."""

    registers: Mapping[Register, int]
    """A value for every register that a host writes, but for COMMAND and EPOCH."""
    loads: list[tuple[Command, int, int]]
    """Command, SIGN_LAYER and SEED of the commands after the first INIT."""
    periods: dict[Register, tuple[int, int]] = field(default_factory=dict)
    """Time constants that are shorter in `registers`, to end the period that the run is in: the
    step at which it ends, and the value from there on."""

    @classmethod
    def of(
        cls,
        network: Network,
        settings: Settings,
        seed: int,
        step: int,
        samples: int,
        train_end: int,
        fixed: Mapping[str, str | int],
    ) -> RunSetup:
        """For a run whose next step is number `step`.

        samples: for training; train_end: the 16-bit words of those in memory.  fixed: settings that
        are constants in this core.  Raises UserError where a core cannot go on from this step, or
        cannot number so many samples.
        """
        (layer, start), *others = sign_starts(network, settings, seed, step)
        fields = register_fields(settings)
        fields["eta_exp"] = settings.eta_exp_at(step, network)
        values = {
            register: 0
            for register in Register
            if register.access is Access.WRITE and register.role is not Role.CONTROL
        }
        values |= {r: fields[r.field] for r in values if r.field in fields}
        values |= {
            Register.MODE: sum(int(bit) for bit in Mode if fields[bit.field]),
            Register.SEED: start,
            Register.SIGN_LAYER: layer,
            Register.TRAIN_END: train_end,
        }
        periods = {}
        for register in PERIODS:
            period = values[register]
            if over := step % period:
                check(
                    rules.PERIOD,
                    step=step,
                    period=period,
                    name=register.field,
                    fixed=fixed,
                    s=settings,
                )
                values[register] = period - over
                periods[register] = (step - over + period, period)
        loads = [(Command.INIT, *other) for other in others]
        loads += [
            (Command.CODES, *code) for code in run_codes(network, settings, seed, samples, step)
        ]
        return cls(values, loads, periods)

    def words(self) -> list[int]:
        """The words of `registers`, from the first one's address on without a gap."""
        words: dict[int, int] = {}
        for register, value in self.registers.items():
            words |= words_of(register, value)
        return [words[address] for address in range(self.first, self.first + len(words))]

    @property
    def first(self) -> Register:
        """The register at the lowest address."""
        return min(self.registers)
