"""Networks as JSON, interesting integers, and stream latencies, for the component tests."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from cocotb.triggers import FallingEdge, ReadOnly

from mgd.golden_model.network import Network
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig


def network_of(fields: dict[str, Any]) -> Network:
    """The network whose fields went through JSON."""
    return Network(**{**fields, "layers": tuple(fields["layers"])})


def config_of(given: dict[str, Any]) -> CoreConfig:
    """The configuration whose `network`, `lanes`, `fixed` and `variant`, where given, went through
    JSON."""
    fixed = tuple((name, value) for name, value in given.get("fixed", ()))
    variant = BuildOptions(**given.get("variant", {}))
    return CoreConfig(network_of(given["network"]), given["lanes"], fixed=fixed, variant=variant)


def payload_layout(component, port: str):
    """Layout of a stream port's payload."""
    return getattr(component, port).payload.shape()


def as_signed(value: int, bits: int) -> int:
    """The low `bits` bits of `value` as two's complement."""
    half = 1 << (bits - 1)
    return ((value & ((1 << bits) - 1)) ^ half) - half


def field(layout, value: int, name: str) -> int:
    """One signed field of a packed vector."""
    place = layout[name]
    return as_signed(value >> place.offset, place.width)


def spread(rng: random.Random, low: int, high: int) -> int:
    """An integer of [low, high]: an end, near zero, or of a random magnitude."""
    kind = rng.random()
    if kind < 0.2:
        return rng.choice((low, high))
    if kind < 0.3:
        return max(low, min(high, rng.randint(-2, 2)))
    if kind < 0.6:
        size = rng.randint(0, max(high.bit_length(), (-low).bit_length()))
        return max(low, min(high, rng.randint(-(1 << size), 1 << size)))
    return rng.randint(low, high)


def around(points: Sequence[int], low: int, high: int, reach: int = 1) -> list[int]:
    """The points and their neighbours that lie in [low, high]."""
    near = {p + d for p in points for d in range(-reach, reach + 1)}
    return sorted(p for p in near if low <= p <= high)


async def clocks_until(dut, valid, limit: int = 1000) -> int:
    """Falling edges until the pin `valid` is high; 0 where it is high already."""
    for clocks in range(limit):
        await ReadOnly()
        high = int(valid.value)
        await FallingEdge(dut.clk)
        if high:
            return clocks
    raise AssertionError(f"not valid within {limit} clocks")


def packed_array(values: Iterable[int], bits: int) -> int:
    """An array port's vector: two's complement, the first element in the lowest bits."""
    return sum((value & ((1 << bits) - 1)) << k * bits for k, value in enumerate(values))


def signed_array(vector: int, count: int, bits: int) -> list[int]:
    """The inverse of packed_array."""
    return [as_signed(vector >> k * bits, bits) for k in range(count)]
