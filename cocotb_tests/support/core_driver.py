"""Drives a FoldedCore through its stream ports and watches its probe."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from amaranth.lib import data
from cocotb.triggers import FallingEdge, ReadOnly

from cocotb_tests.support.streams import receive, send, start_clock
from mgd.golden_model.seeds import start_state
from mgd.golden_model.settings import Settings
from mgd.protocol.record import Samples, sample_records
from mgd.protocol.registers import Command
from mgd.protocol.run_setup import register_fields
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.interface import (
    COMMAND_SHAPE,
    SETTINGS_LAYOUT,
    evaluation_layout,
    packed_fields,
    weight_request_layout,
)
from mgd.rtl.lockstep import Lockstep, signed_fields


def unpack(layout: data.StructLayout, value: int, name: str) -> int:
    """One unsigned field of a packed vector."""
    place = layout[name]
    return value >> place.offset & ((1 << place.width) - 1)


def packed_record(config: CoreConfig, codes: np.ndarray, label: int) -> list[int]:
    """A sample as the 16-bit words of its record."""
    one = Samples(np.asarray(codes)[None], np.array([label]))
    return sample_records(one, config.network)[0].tolist()


class CoreDriver:
    """Serves samples, sends commands, and feeds the probe's events to a Lockstep."""

    def __init__(self, dut, config: CoreConfig, codes, labels, rng: random.Random, idle: float):
        self.dut, self.config, self.rng, self.idle = dut, config, rng, idle
        self.records = [packed_record(config, c, y) for c, y in zip(codes, labels, strict=True)]
        self.lockstep: Lockstep | None = None
        self.evaluations: list[tuple[int, ...]] = []
        self.next_train = self.next_evaluate = 0
        self.settings: dict[str, int] = {}

    async def start(self) -> None:
        await start_clock(self.dut)
        cocotb.start_soon(self._serve_samples())
        cocotb.start_soon(self._take_evaluations())
        cocotb.start_soon(self._watch())

    def configure(self, settings: Settings, seed: int, **more: int) -> None:
        self.settings = {**register_fields(settings), "seed": start_state(seed), **more}
        self._apply()

    def _apply(self) -> None:
        self.dut.settings.value = packed_fields(SETTINGS_LAYOUT, **self.settings)

    async def command(self, code: Command, **settings: int) -> None:
        """Send a command, wait until the core is idle again."""
        self.settings.update(settings)
        self._apply()
        payload = packed_fields(COMMAND_SHAPE, code=code)
        await send(self.dut, "command", [payload], idle=self.idle, rng=self.rng)
        await ReadOnly()
        while int(self.dut.busy.value):
            await FallingEdge(self.dut.clk)
            await ReadOnly()
        await FallingEdge(self.dut.clk)

    async def write_weights(self, weights: list[np.ndarray]) -> None:
        layout = weight_request_layout(self.config)
        requests = [
            packed_fields(layout, lane=lane, word=word, write=1, data=int(value))
            for lane, row in enumerate(self.config.to_lanes(weights))
            for word, value in enumerate(row)
        ]
        await send(self.dut, "weight_request", requests, idle=self.idle, rng=self.rng)

    async def read_weights(self) -> list[np.ndarray]:
        layout, cfg = weight_request_layout(self.config), self.config
        places = [(lane, word) for lane in range(cfg.lanes) for word in range(cfg.lane_words)]
        requests = [packed_fields(layout, lane=lane, word=word) for lane, word in places]
        reader = cocotb.start_soon(
            receive(self.dut, "weight_reply", len(places), stall=self.idle, rng=self.rng)
        )
        await send(self.dut, "weight_request", requests, idle=self.idle, rng=self.rng)
        memory = np.zeros((cfg.lanes, cfg.lane_words), dtype=np.int64)
        for place, raw in zip(places, await reader, strict=True):
            assert raw >> cfg.network.weight_bits == 0
            memory[place] = signed_fields(raw, 1, cfg.network.weight_bits)[0]
        return cfg.from_lanes(memory)

    async def _serve_samples(self) -> None:
        dut = self.dut
        while True:
            dut.sample_request__ready.value = 1
            await ReadOnly()
            asked = int(dut.sample_request__valid.value)
            evaluate = int(dut.sample_request__payload.value)
            restart_train = int(dut.restart_train.value)
            restart_evaluate = int(dut.restart_evaluate.value)
            await FallingEdge(dut.clk)
            if restart_train:
                self.next_train = 0
            if restart_evaluate:
                self.next_evaluate = 0
            if asked:
                dut.sample_request__ready.value = 0
                if evaluate:
                    index, self.next_evaluate = self.next_evaluate, self.next_evaluate + 1
                else:
                    index = self.next_train
                    self.next_train = (index + 1) % len(self.records)
                await send(dut, "record", self.records[index], idle=self.idle, rng=self.rng)

    async def _take_evaluations(self) -> None:
        layout = evaluation_layout(self.config)
        while True:
            (raw,) = await receive(self.dut, "evaluation", 1, stall=self.idle, rng=self.rng)
            self.evaluations.append(
                tuple(unpack(layout, raw, name) for name in ("cost", "category", "correct"))
            )

    async def _watch(self) -> None:
        while True:
            await FallingEdge(self.dut.clk)
            await ReadOnly()
            # Looked at after the wait: run_one() may take it away on the same edge.
            if self.lockstep is not None:
                self.lockstep.observe(int(self.dut.probe.value))
