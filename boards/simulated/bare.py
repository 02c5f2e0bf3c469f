"""The core alone in a bare Verilator loop: the yardstick for the simulated board's speed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mgd.boards.simulated.verilator import compiled
from mgd.boards.tools import to_verilog
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.registers import Command
from mgd.protocol.run_setup import register_fields
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.core import FoldedCore
from mgd.rtl.interface import COMMAND_SHAPE, SETTINGS_LAYOUT, cost_sum_bits, packed_fields
from mgd.rtl.memory.samples import SampleMemory


class CoreWithSamples(wiring.Component):
    """A core with a sample memory of `depth` words and nothing else.

    `load` takes settings and command into registers, as a board has them: pins that reach
    logic at once would make Verilator work on every edge of the clock.
    """

    def __init__(self, config: CoreConfig, depth: int) -> None:
        self.config = config
        self.depth = depth
        super().__init__(
            {
                "settings": In(SETTINGS_LAYOUT),
                # No stream: Verilator mangles the double underscore of its pins.
                "command": In(COMMAND_SHAPE),
                "load": In(1),
                "busy": Out(1),
                # These keep Verilator from removing all logic that does not decide `busy`.
                "cost_sum": Out(cost_sum_bits(config.network)),
                "weight": Out(config.network.weight_bits),
                "saturations": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        network = self.config.network
        m.submodules.core = core = FoldedCore(self.config)
        m.submodules.samples = samples = SampleMemory(network, self.depth)
        samples.serve(m, core)
        settings, command = Signal(SETTINGS_LAYOUT), Signal(COMMAND_SHAPE)
        with m.If(self.load):
            m.d.sync += [settings.eq(self.settings), command.eq(self.command)]
        m.d.sync += core.command.valid.eq(self.load)
        m.d.comb += [
            core.settings.eq(settings),
            core.command.payload.eq(command),
            samples.train_end.eq(self.depth // network.sample_words * network.sample_words),
            core.evaluation.ready.eq(1),
            self.busy.eq(core.busy),
            self.cost_sum.eq(core.cost_sum),
            self.weight.eq(core.weight_reply.payload),
            self.saturations.eq(core.weight_saturations ^ core.activation_saturations),
        ]
        return m


def build(network: Network, lanes: int, sample_words: int, settings: Settings) -> Path:
    """The program; give it a number of clocks.  Raises UserError where a tool fails."""
    design = CoreWithSamples(CoreConfig(network, lanes), sample_words)
    fields = register_fields(settings)
    fields |= {"step_target": (1 << 32) - 1, "seed": 0x123456789ABCDEF}
    packed = packed_fields(SETTINGS_LAYOUT, **fields)
    words = [packed >> (32 * k) & 0xFFFFFFFF for k in range(-(-SETTINGS_LAYOUT.size // 32))]
    header = (
        f"static const uint32_t SETTINGS[] = {{{', '.join(map(str, words))}}};\n"
        f"constexpr int INIT = {int(Command.INIT)}, TRAIN = {int(Command.TRAIN)};\n"
    )
    return compiled(to_verilog(design, "top", reset=False), header, "bare.cpp")


def seconds(program: Path, clocks: int) -> float:
    """Processor seconds of `clocks` clocks of training."""
    done = subprocess.run([str(program), str(clocks)], capture_output=True, text=True, check=True)
    return float(done.stdout)
