"""Fixed settings: settings with a register that a build holds as constants instead."""

from __future__ import annotations

from collections.abc import Sequence

from mgd.golden_model.rules import check
from mgd.golden_model.settings import METHODS, ROUNDINGS, Settings
from mgd.protocol import rules
from mgd.protocol.registers import Mode, Register, settings_in_registers

FIXABLE = (
    *(name for name in settings_in_registers() if name not in Register.INPUT_SHIFT.settings),
    *Register.INPUT_SHIFT.settings,
)
"""The settings that a build can fix.  The identity record of a core that has any of them fixed ends
with a word for each, in this order: its value, or the number of its name in NAMED; NOT_FIXED where
it is a register."""
NOT_FIXED = -1
FIXED_MAX = 0x7FFF
"""Largest value of such a word."""
DIFFERENCES = ("antithetic", "forward")
"""Of golden_model.settings.DIFFERENCES those that can be fixed."""
NAMED = {"method": METHODS, "difference": DIFFERENCES, "rounding": ROUNDINGS}
"""Settings whose values are names; the others' are numbers."""
Fixed = tuple[tuple[str, str | int], ...]
"""(name, value) of each fixed setting."""


def fixed_settings(settings: Settings, names: Sequence[str]) -> Fixed:
    """The named settings, fixed at their values.  Raises UserError for unknown names."""
    check(rules.FIXED_NAMES, names=names, fixable=FIXABLE)
    return tuple((name, getattr(settings, name)) for name in FIXABLE if name in names)


def check_fixed(fixed: Fixed, fixable: Sequence[str] = FIXABLE) -> None:
    """Raise UserError where no core of this kind can have these settings fixed."""
    check(rules.FIXED, fixed=fixed, fixable=fixable, named=NAMED, most=FIXED_MAX)


def fixed_words(fixed: Fixed) -> tuple[int, ...]:
    """The words of the identity record: none, or one for each of FIXABLE."""
    values = dict(fixed)
    if not values:
        return ()
    return tuple(
        NOT_FIXED
        if (value := values.get(name)) is None
        else NAMED[name].index(str(value))
        if name in NAMED
        else int(value)
        for name in FIXABLE
    )


def fixed_of_words(words: Sequence[int]) -> Fixed:
    """The inverse of fixed_words."""
    return tuple(
        (name, NAMED[name][value] if name in NAMED else value)
        for name, value in (zip(FIXABLE, words, strict=True) if words else ())
        if value != NOT_FIXED
    )


def constant_fields(fixed: Fixed) -> dict[str, int]:
    """The fixed settings as fields of a core's settings (protocol.registers.core_fields)."""
    bits = {bit.setting: bit for bit in Mode}
    return {
        (bits[name].field if name in bits else name): (
            int(value == bits[name].chosen) if name in bits else int(value)
        )
        for name, value in fixed
    }


def longest(fixed: Fixed, name: str, most: int) -> int:
    """The largest value of a time constant: `most` where it is a register."""
    return int(dict(fixed).get(name, most))
