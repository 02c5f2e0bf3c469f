"""Shift registers that keep signals in step with a pipeline."""

from __future__ import annotations

from amaranth import Module, Signal


def delayed(m: Module, signal, clocks: int):
    """`signal` as it was `clocks` clocks ago.  Reset values are those of the signal."""
    for _ in range(clocks):
        register = Signal.like(signal)
        m.d.sync += register.eq(signal)
        signal = register
    return signal
