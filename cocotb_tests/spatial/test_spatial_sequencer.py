"""rtl.spatial.sequencer: the tokens of golden_model.trainer.Trainer.step, each in its clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import unpack
from cocotb_tests.support.runner import rng
from cocotb_tests.support.side_by_side import Part, SideBySide, together
from cocotb_tests.support.streams import send, start_clock
from cocotb_tests.support.values import network_of
from mgd.protocol.registers import Command
from mgd.rtl.interface import COMMAND_SHAPE, SETTINGS_LAYOUT, packed_fields
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.record_memory import record_layout
from mgd.rtl.spatial.sequencer import TOKEN_LAYOUT, Sequencer

CASES: dict[str, tuple[dict[str, Any], bool]] = {
    # network, antithetic
    "bits": ({"layers": (5, 3), "sample_bits": 1}, True),
    "forward": ({"layers": (3, 2), "sample_bits": 1}, False),
    "planes": ({"layers": (2, 2), "sample_bits": 3}, True),
    "forward_planes": ({"layers": (2, 4), "sample_bits": 4}, False),
}
UPDATE = 6
"""Clocks from the last token of a window to `changed`."""
FLIGHT = 17
TAUS = [(1, 1, 1), (3, 2, 7), (2, 5, 4), (1, 3, 40)]


def configured(name: str) -> SpatialConfig:
    fields, antithetic = CASES[name]
    fields = {**fields, "accumulators": True, "tau_theta_max": max(tau for *_, tau in TAUS)}
    return SpatialConfig(network_of(fields), True, antithetic, 0, 0, 0)


@pytest.mark.simulated
def test_sequencer():
    units = {name: Sequencer(configured(name), FLIGHT) for name in CASES}
    return Row(SideBySide(units), equals_golden_schedule, seed=3)


@dataclass(frozen=True)
class Token:
    """One as it should be, and how many clocks behind the one before."""

    sample: int
    step: bool = False
    baseline: bool = False
    evaluation: bool = False
    ends_draw: bool = False
    ends_window: bool = False
    behind: int = 1


def tokens(config: SpatialConfig, taus, start: int, stop: int, dirty: bool) -> Iterator[Token]:
    """Steps `start` to `stop` of one command.  dirty: the host has written a weight before it."""
    tau_x, tau_p, tau_theta = taus
    planes = config.network.sample_bits - 1
    for t in range(start, stop):
        new_sample, new_weights = t % tau_x == 0, t % tau_theta == 0
        behind = 1
        if t > start and new_weights:
            behind = UPDATE + 1 + planes
        elif t > start and new_sample:
            behind = 1 + planes
        sample = t // tau_x
        if not config.antithetic and (new_sample or new_weights or (dirty and t == start)):
            yield Token(sample, baseline=True, behind=behind)
            behind = 1
        yield Token(
            sample,
            step=True,
            ends_draw=(t + 1) % tau_p == 0,
            ends_window=(t + 1) % tau_theta == 0,
            behind=behind,
        )


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def equals_golden_schedule(dut):
    await start_clock(dut)
    await together(*(schedule(Part(dut, name), name) for name in CASES))


async def schedule(dut, name: str) -> None:
    bench = Bench(dut, name)
    cocotb.start_soon(bench.watch())
    for taus in TAUS:
        await bench.init(taus)
        dirty = False
        step, clocks = 0, 0
        for count in (5, 1, 0, 23, 50, 2):
            expected = list(tokens(bench.config, taus, step, step + count, dirty))
            seen = await bench.command(Command.TRAIN, step_target=step + count)
            bench.compare(seen, expected, f"{name} {taus}, from step {step}")
            step += count
            assert int(dut.step.value) == step
            spent = int(dut.train_clocks.value) - clocks
            clocks += spent
            # A clock to begin with, the first record, and until the last token has arrived; not
            # the one in which the command is looked at.
            assert spent == (bench.spent - 1 if count else 0), f"{name} {taus}: clocks counted"
            bench.number = step // taus[0]  # the current sample goes on
            dirty = bench.random.random() < 0.5
            if dirty:
                await bench.written()
            if bench.random.random() < 0.5:
                evaluated = [Token(k, evaluation=True) for k in range(4)]
                for k in range(1, 4):
                    planes = bench.config.network.sample_bits - 1
                    evaluated[k] = Token(k, evaluation=True, behind=1 + planes)
                seen = await bench.command(Command.EVALUATE, eval_count=4)
                bench.compare(seen, evaluated, f"{name}: evaluation")
                bench.number = step // taus[0]


class Bench:
    """Records, updates, and what is seen of the tokens."""

    def __init__(self, dut, name: str) -> None:
        self.dut, self.config, self.random = dut, configured(name), rng()
        self.layout = record_layout(self.config)
        self.number = 0
        self.settings: dict[str, int] = {}
        self.clock = 0
        self.seen: list[tuple[int, Token]] = []
        self.planes: list[int] = []
        self.spent = 0

    def record(self, number: int) -> int:
        """Of any bits, but the same ones for the same number."""
        return hash((number, 12345)) & ((1 << self.layout.size) - 1)

    def codes(self, number: int) -> list[int]:
        bits, inputs = self.config.network.sample_bits, self.config.network.layers[0]
        packed = unpack(self.layout, self.record(number), "codes")
        return [packed >> bits * j & ((1 << bits) - 1) for j in range(inputs)]

    async def init(self, taus) -> None:
        self.settings = dict(zip(("tau_x", "tau_p", "tau_theta"), taus, strict=True))
        self.number = 0
        self.dut.settings.value = packed_fields(SETTINGS_LAYOUT, **self.settings)
        self.dut.starting.value = 1
        await send(
            self.dut,
            "command",
            [packed_fields(COMMAND_SHAPE, code=Command.INIT)],
            rng=self.random,
        )
        for _ in range(9):
            await ReadOnly()
            assert int(self.dut.busy.value), "while the signs are started"
            await FallingEdge(self.dut.clk)
        self.dut.starting.value = 0
        for _ in range(2):
            await FallingEdge(self.dut.clk)
        assert not int(self.dut.busy.value)
        assert int(self.dut.step.value) == int(self.dut.train_clocks.value) == 0

    async def written(self) -> None:
        self.dut.weights_written.value = 1
        await FallingEdge(self.dut.clk)
        self.dut.weights_written.value = 0

    async def command(self, code: Command, **settings: int) -> list[tuple[int, Token]]:
        self.settings.update(settings)
        self.dut.settings.value = packed_fields(SETTINGS_LAYOUT, **self.settings)
        self.seen, self.spent, self.planes = [], 0, []
        await send(self.dut, "command", [packed_fields(COMMAND_SHAPE, code=code)], rng=self.random)
        for _ in range(3000):
            await ReadOnly()
            busy = int(self.dut.busy.value)
            await FallingEdge(self.dut.clk)
            if not busy:
                return self.seen
            self.spent += 1
        raise AssertionError("the sequencer hangs")

    async def watch(self) -> None:
        """Every clock: serve records, answer windows, note tokens."""
        dut, position, updates = self.dut, None, []
        while True:
            dut.record__valid.value = int(position is not None)
            shown = self.random.randrange(1 << 20) if position is None else position
            dut.record__payload.value = self.record(shown)
            dut.changed.value = int(self.clock in updates)
            await ReadOnly()
            if int(dut.plane_first.value):
                self.planes = []
            self.planes.append(int(dut.plane.value))
            marks = {
                field: bool(unpack(TOKEN_LAYOUT, int(dut.token.value), field))
                for field in TOKEN_LAYOUT.members
            }
            if marks["step"] or marks["baseline"] or marks["evaluation"]:
                self.note(marks, int(dut.sample.value), int(dut.plane_last.value))
            if marks["ends_window"]:
                updates = [self.clock + UPDATE]
            taken = int(dut.record__ready.value) and position is not None
            begins, stops = int(dut.begin.value), int(dut.stop.value)
            evaluates = int(dut.evaluate.value)
            if int(dut.next_sample.value):
                self.number += 1
            if taken:
                position += 1
            if begins:
                position = 0 if evaluates else self.number
            if stops:
                position = None
            self.clock += 1
            await FallingEdge(dut.clk)

    def note(self, marks: dict[str, bool], sample: int, last: int) -> None:
        matches = [k for k in range(200) if self.record(k) == sample]
        number = matches[0] if matches else -1
        if last:
            # The planes that came with it, the highest bit of every code first.
            bits = self.config.network.sample_bits
            wanted = [
                sum((code >> k & 1) << j for j, code in enumerate(self.codes(number)))
                for k in reversed(range(bits))
            ]
            assert self.planes[-bits:] == wanted, f"planes of sample {number}"
        self.seen.append((self.clock, Token(sample, **marks)))

    def compare(self, seen: list[tuple[int, Token]], expected: list[Token], where: str) -> None:
        assert len(seen) == len(expected), where
        before = None
        for place, ((clock, got), wanted) in enumerate(zip(seen, expected, strict=True)):
            assert got.sample == self.record(wanted.sample), f"{where}: sample of token {place}"
            for mark in TOKEN_LAYOUT.members:
                assert getattr(got, mark) == getattr(wanted, mark), f"{where}: {place} {mark}"
            if before is not None:
                assert clock - before == wanted.behind, f"{where}: clock of token {place}"
            before = clock
