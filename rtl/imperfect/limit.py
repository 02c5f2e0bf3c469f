"""Limits that are no powers of two."""

from __future__ import annotations

from amaranth import Mux


def limited(value, bound: int):
    """A signed `value` limited to −bound … bound: golden_model.formats.saturate."""
    return Mux(value > bound, bound, Mux(value < -bound, -bound, value))
