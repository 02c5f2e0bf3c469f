"""The registers and memories that the host sees: the bus's responder."""

from __future__ import annotations

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.network import Network
from rtl.bus import WORD_BITS as WORD
from rtl.bus import BusSignature
from rtl.config import CoreConfig
from rtl.core import weight_request_layout
from rtl.protocol import REGISTERS, Flag, Identity, Register, Space, Status
from rtl.schedule import COMMAND_SHAPE, SETTINGS_LAYOUT, evaluation_layout


def status_layout() -> data.StructLayout:
    """What the core and the link report, as read through the registers."""
    return data.StructLayout(
        {
            "busy": 1,
            "step": 32,
            "cost_sum": 64,
            "train_clocks": 64,
            "weight_saturations": 32,
            "activation_saturations": 32,
            "frame_errors": 32,
        }
    )


class Control(wiring.Component):
    """Maps rtl.protocol's spaces onto a core and a sample memory.

    Clocks to the acknowledge: registers 2, identity 3, samples 4, weights 3 (write) or 6 (read).
    While the core is busy only the registers can be read; everything else answers BUSY, so a
    run cannot be disturbed.
    """

    def __init__(self, config: CoreConfig, sample_memory: int, clock_hz: int) -> None:
        self.config = config
        self.sample_memory = sample_memory
        network: Network = config.network
        self.identity = Identity.of(
            network, config.lanes, config.lane_words, sample_memory, clock_hz
        )
        address = range(sample_memory)
        super().__init__(
            {
                "bus": In(BusSignature()),
                "settings": Out(SETTINGS_LAYOUT),
                "command": Out(stream.Signature(COMMAND_SHAPE)),
                "evaluation": In(stream.Signature(evaluation_layout(config))),
                "weight_request": Out(stream.Signature(weight_request_layout(config))),
                "weight_reply": In(stream.Signature(signed(network.weight_bits))),
                "status": In(status_layout()),
                "train_base": Out(address),
                "train_count": Out(32),
                "eval_base": Out(address),
                "sample_address": Out(address),
                "sample_write": Out(1),
                "sample_write_data": Out(WORD),
                "sample_read_data": In(WORD),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        address = bus.address
        writable = self._writable_registers(m)
        readable = {**writable, **self._read_only_registers(m)}

        identity = self.identity.words()
        m.submodules.identity = rom = Memory(shape=WORD, depth=len(identity), init=identity)
        rom_port = rom.read_port()
        busy = Signal()
        value, read_only = Signal(WORD), Signal()
        m.d.comb += [
            busy.eq(self.status.busy | self.command.valid),
            rom_port.addr.eq(address),
        ]
        with m.Switch(address):
            for register, word in readable.items():
                with m.Case(register):
                    m.d.comb += [value.eq(word), read_only.eq(register not in writable)]
            with m.Case(int(Register.COMMAND)):
                pass
            with m.Default():
                m.d.comb += read_only.eq(1)
        with m.If(self.command.ready):
            m.d.sync += self.command.valid.eq(0)

        answer, answer_status = Signal(WORD), Signal(range(max(Status) + 1))
        m.d.comb += [
            bus.read_data.eq(answer),
            bus.status.eq(answer_status),
            self.sample_address.eq(address),
            self.sample_write_data.eq(bus.write_data),
            self.weight_request.payload.lane.eq(address[16:]),
            self.weight_request.payload.word.eq(address[:16]),
            self.weight_request.payload.write.eq(bus.write),
            self.weight_request.payload.data.eq(bus.write_data),
        ]
        weight_known = (address[16:] < self.config.lanes) & (address[:16] < self.config.lane_words)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += answer_status.eq(Status.OK)
                with m.If(bus.strobe):
                    m.next = "REFUSE"
                    with m.Switch(bus.space):
                        with m.Case(Space.REGISTERS):
                            with m.If(address >= REGISTERS):
                                m.d.sync += answer_status.eq(Status.BAD_ADDRESS)
                            with m.Elif(bus.write & read_only):
                                m.d.sync += answer_status.eq(Status.BAD_REQUEST)
                            with m.Elif(bus.write & busy):
                                m.d.sync += answer_status.eq(Status.BUSY)
                            with m.Else():
                                m.d.sync += answer.eq(value)
                                m.next = "REGISTER"
                        with m.Case(Space.IDENTITY):
                            with m.If(bus.write):
                                m.d.sync += answer_status.eq(Status.BAD_REQUEST)
                            with m.Elif(address >= len(identity)):
                                m.d.sync += answer_status.eq(Status.BAD_ADDRESS)
                            with m.Else():
                                m.next = "IDENTITY"
                        with m.Case(Space.SAMPLES):
                            with m.If(busy):
                                m.d.sync += answer_status.eq(Status.BUSY)
                            with m.Elif((address >= self.sample_memory) | address[0]):
                                m.d.sync += answer_status.eq(Status.BAD_ADDRESS)
                            with m.Else():
                                m.next = "SAMPLE"
                        with m.Case(Space.WEIGHTS):
                            with m.If(busy):
                                m.d.sync += answer_status.eq(Status.BUSY)
                            with m.Elif(~weight_known):
                                m.d.sync += answer_status.eq(Status.BAD_ADDRESS)
                            with m.Else():
                                m.next = "WEIGHT"
                        with m.Default():
                            m.d.sync += answer_status.eq(Status.BAD_REQUEST)
            with m.State("REFUSE"):
                m.d.comb += bus.ack.eq(1)
                m.next = "IDLE"
            with m.State("REGISTER"):
                m.d.comb += bus.ack.eq(1)
                with m.If(bus.write):
                    self._write_register(m, writable)
                m.next = "IDLE"
            with m.State("IDENTITY"):
                m.d.sync += answer.eq(rom_port.data)
                m.next = "REFUSE"
            with m.State("SAMPLE"):
                m.d.comb += self.sample_write.eq(bus.write)
                m.next = "SAMPLE_READ"
            with m.State("SAMPLE_READ"):
                m.d.sync += answer.eq(self.sample_read_data)
                m.next = "REFUSE"
            with m.State("WEIGHT"):
                m.d.comb += self.weight_request.valid.eq(1)
                with m.If(self.weight_request.ready):
                    m.next = "WEIGHT_READ"
                    with m.If(bus.write):
                        m.next = "REFUSE"
            with m.State("WEIGHT_READ"):
                m.d.comb += self.weight_reply.ready.eq(1)
                with m.If(self.weight_reply.valid):
                    m.d.sync += answer.eq(self.weight_reply.payload)
                    m.next = "REFUSE"
        return m

    def _writable_registers(self, m: Module) -> dict[int, Signal]:
        """Registers of their fields' widths, wired to the settings."""
        s = self.settings
        plain = {
            Register.STEP_TARGET: s.step_target,
            Register.DELTA_EXP: s.delta_exp,
            Register.ETA_EXP: s.eta_exp,
            Register.INPUT_SHIFT: s.input_shift,
            Register.TAU_X: s.tau_x,
            Register.TAU_P: s.tau_p,
            Register.TAU_THETA: s.tau_theta,
            Register.TRAIN_BASE: self.train_base,
            Register.TRAIN_COUNT: self.train_count,
            Register.EVAL_BASE: self.eval_base,
            Register.EVAL_COUNT: s.eval_count,
        }
        registers: dict[int, Signal] = {}
        for register, field in plain.items():
            registers[int(register)] = Signal(len(field), name=register.name.lower())
            m.d.comb += field.eq(registers[int(register)])
        mode = registers[int(Register.MODE)] = Signal(len(Flag), name="mode")
        low, high = Signal(WORD, name="seed_low"), Signal(len(s.seed) - WORD, name="seed_high")
        registers[int(Register.SEED)] = low
        registers[Register.SEED + 1] = high
        m.d.comb += [
            s.nodes.eq((mode & Flag.NODES).any()),
            s.antithetic.eq((mode & Flag.ANTITHETIC).any()),
            s.accumulates.eq((mode & Flag.ACCUMULATE).any()),
            s.seed.eq(Cat(low, high)),
        ]
        return registers

    def _read_only_registers(self, m: Module) -> dict:
        """What is counted here, and what the core reports."""
        s, e = self.status, self.evaluation.payload
        clocks, correct, cost = Signal(64), Signal(32), Signal(64)
        last_class, last_cost = Signal(len(e.category)), Signal(len(e.cost))
        m.d.sync += clocks.eq(clocks + 1)
        m.d.comb += self.evaluation.ready.eq(1)
        with m.If(self.evaluation.valid):
            m.d.sync += [
                correct.eq(correct + e.correct),
                cost.eq(cost + e.cost),
                last_class.eq(e.category),
                last_cost.eq(e.cost),
            ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [correct.eq(0), cost.eq(0)]

        named = {
            Register.STATUS: s.busy | self.command.valid,
            Register.STEP: s.step,
            Register.EVAL_CORRECT: correct,
            Register.LAST_CLASS: last_class,
            Register.LAST_COST: last_cost,
            Register.WEIGHT_SATURATIONS: s.weight_saturations,
            Register.ACTIVATION_SATURATIONS: s.activation_saturations,
            Register.FRAME_ERRORS: s.frame_errors,
        }
        registers: dict = {int(register): word for register, word in named.items()}
        for register, wide in (
            (Register.EVAL_COST, cost),
            (Register.COST_SUM, s.cost_sum),
            (Register.CLOCKS, clocks),
            (Register.TRAIN_CLOCKS, s.train_clocks),
        ):
            registers[int(register)] = wide[:WORD]
            registers[register + 1] = wide[WORD:]
        return registers

    def _write_register(self, m: Module, writable: dict[int, Signal]) -> None:
        with m.Switch(self.bus.address):
            for register, signal in writable.items():
                with m.Case(register):
                    m.d.sync += signal.eq(self.bus.write_data)
            with m.Case(int(Register.COMMAND)):
                m.d.sync += [
                    self.command.payload.code.eq(self.bus.write_data),
                    self.command.valid.eq(1),
                ]
