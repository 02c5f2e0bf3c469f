"""Clock, reset and stream drivers for coroutines.

A stream port `i` of a component is the pins i__valid, i__ready and i__payload.  A payload that
is a struct is one packed vector, its first field in the lowest bits.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.runner import CLOCK_NS


async def start_clock(dut, **inputs: int) -> None:
    """Set `inputs` by pin name (the others start at 0), start `clk`, hold `rst` for two clocks.

    Returns on a falling edge of the clock: change inputs there, away from the sampling edge.
    """
    for name, value in inputs.items():
        getattr(dut, name).value = value
    dut.rst.value = 1
    cocotb.start_soon(Clock(dut.clk, CLOCK_NS, unit="ns").start(start_high=False))
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst.value = 0


async def send(
    dut, prefix: str, payloads: Iterable[int], *, idle: float = 0.0, rng: random.Random
) -> None:
    """Send `payloads` into the stream `prefix`, pausing before each clock with chance `idle`.

    While it pauses the payload holds random bits, so that a component that looks at it without
    `valid` is found out.  Starts and returns on a falling edge.
    """
    valid, ready = getattr(dut, f"{prefix}__valid"), getattr(dut, f"{prefix}__ready")
    payload = getattr(dut, f"{prefix}__payload")
    for value in payloads:
        while rng.random() < idle:
            valid.value = 0
            payload.value = rng.getrandbits(len(payload))
            await FallingEdge(dut.clk)
        valid.value = 1
        payload.value = value
        taken = 0
        while not taken:
            await ReadOnly()
            taken = int(ready.value)
            await FallingEdge(dut.clk)
    valid.value = 0


async def receive(
    dut, prefix: str, count: int, *, stall: float = 0.0, rng: random.Random
) -> list[int]:
    """Take `count` payloads from the stream `prefix`, not ready in a clock with chance `stall`.

    Raises AssertionError where the component withdraws or changes an offer that was not taken.
    Starts and returns on a falling edge.
    """
    valid, ready = getattr(dut, f"{prefix}__valid"), getattr(dut, f"{prefix}__ready")
    payload = getattr(dut, f"{prefix}__payload")
    got: list[int] = []
    offered: int | None = None
    while len(got) < count:
        willing = rng.random() >= stall
        ready.value = int(willing)
        await ReadOnly()
        value = int(payload.value) if int(valid.value) else None
        if offered is not None:
            assert value == offered, f"{prefix}: offer {offered} became {value} before it was taken"
        offered = None if willing else value
        if willing and value is not None:
            got.append(value)
        await FallingEdge(dut.clk)
    ready.value = 0
    return got


def words_to_bytes(words: Iterable[int], width: int = 4) -> Iterator[int]:
    """The bytes of words, little-endian."""
    for word in words:
        yield from word.to_bytes(width, "little")
