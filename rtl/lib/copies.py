"""Registers that are copies on purpose."""

from __future__ import annotations

from amaranth import Module, Signal


def kept_copy(m: Module, value, name: str):
    """`value` a clock later, in a register for a part of its readers: a single one would be too far
    from most of them.  The attribute keeps synthesis from merging the copies."""
    register = Signal(value.shape(), name=name, reset_less=True, attrs={"keep": 1})
    m.d.sync += register.eq(value)
    return register
