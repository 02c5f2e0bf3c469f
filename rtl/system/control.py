"""The registers and memories that the host sees: the bus's responder."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import Network
from mgd.protocol.framing import Space, Status
from mgd.protocol.identity import Identity
from mgd.protocol.layout.base import CoreLayout
from mgd.protocol.registers import (
    CLOCK_BITS,
    EPOCH_BITS,
    EPOCH_SHIFT,
    EVAL_COUNT_BITS,
    FIRST_READABLE,
    REGISTERS,
    Mode,
    Register,
    Role,
)
from mgd.rtl.interface import (
    COMMAND_SHAPE,
    SETTINGS_LAYOUT,
    cost_sum_bits,
    evaluation_layout,
    weight_request_layout,
    weight_shape,
)
from mgd.rtl.lib.counter import accumulated
from mgd.rtl.lib.delay import delayed
from mgd.rtl.system.bus import WORD_BITS as WORD
from mgd.rtl.system.bus import BusSignature


def status_layout(config: CoreLayout) -> data.StructLayout:
    """The reports of core and link, as read through the registers."""
    widths: dict[str, int] = {r.field: r.bits for r in Register if r.role is Role.REPORT}
    return data.StructLayout({"busy": 1, **widths, "cost_sum": cost_sum_bits(config.network)})


class _Access:
    """Where an address leads."""

    def __init__(self) -> None:
        self.found = Signal()
        """There is such a register or word."""
        self.known = Signal()
        """It may be accessed in this direction."""
        self.blocked = Signal()
        """Not while the core is busy."""
        self.in_core = Signal()
        """In one of the core's memories: a request to the core reads or writes it."""
        self.writes_high = Signal()
        """The high bits of an accumulator: held until the low ones are written."""


class Control(wiring.Component):
    """Maps the spaces and registers of protocol/ onto a core and a sample memory.

    Three clocks to the acknowledge of a write, to read three more than the sample memory's
    `sample_latency`, to access a weight or an accumulator four more than the core takes.
    While the core is busy the host may only access the identity, the registers that are read and
    STEP_TARGET, and write samples; everything else answers BUSY.  A write of samples then waits
    until the memory accepts it.
    """

    def __init__(
        self, config: CoreLayout, sample_memory: int, clock_hz: int, sample_latency: int = 1
    ) -> None:
        self.config = config
        self.sample_memory = sample_memory
        self.sample_latency = sample_latency
        network: Network = config.network
        self.high_bits = max(config.host_gradient_bits - WORD, 0)
        """Bits of an accumulator that a word of the bus does not hold."""
        self.identity = Identity.of(
            network,
            config.lanes,
            config.lane_words,
            sample_memory,
            clock_hz,
            config.constant_words,
            config.variant.word(),
        )
        super().__init__(
            {
                "bus": In(BusSignature()),
                "settings": Out(SETTINGS_LAYOUT),
                "command": Out(stream.Signature(COMMAND_SHAPE)),
                "evaluation": In(stream.Signature(evaluation_layout(config))),
                "weight_request": Out(stream.Signature(weight_request_layout(config))),
                "weight_reply": In(stream.Signature(weight_shape(config))),
                "status": In(status_layout(config)),
                "train_end": Out(range(sample_memory)),
                "eval_test": Out(1),
                "sample_address": Out(range(max(sample_memory // 2, 2))),
                "sample_write": Out(1),
                "sample_ready": In(1),
                "sample_write_data": Out(WORD),
                "sample_read_data": In(WORD),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bus, status = self.bus, self.status
        request = self.weight_request.payload
        rom_data = self._identity_rom(m)
        high = Signal(self.high_bits)
        m.d.comb += [
            self.sample_address.eq(bus.address),
            self.sample_write_data.eq(bus.write_data),
            request.lane.eq(bus.address[16:]),
            request.word.eq(bus.address[:16]),
            request.accumulator.eq(bus.space != Space.WEIGHTS),
            request.write.eq(bus.write),
            request.data.eq(Cat(bus.write_data, high)),
        ]
        # Address ─► where it leads ─► whether it is granted ─► one access ─► acknowledge.
        # A command that the core has not taken counts, so that no access slips in before it.
        busy = status.busy | self.command.valid
        access = self._look_up(m)
        write_register = self._access(m, access, busy, high)
        with m.If(self.command.ready):
            m.d.sync += self.command.valid.eq(0)
        epoch = Signal(EPOCH_BITS)
        self._writable_registers(m, write_register, epoch)
        status_word = Cat(busy, Const(0, EPOCH_SHIFT - 1), epoch)
        self._read_data(m, self._readable_registers(m, status_word), rom_data)
        return m

    def _identity_rom(self, m: Module) -> Value:
        """The identity record's word at the bus's address, as late as a sample's."""
        words = self.identity.words()
        m.submodules.identity = rom = Memory(
            shape=16, depth=len(words), init=words, attrs={"ram_style": "block"}
        )
        port = rom.read_port()
        m.d.comb += port.addr.eq(self.bus.address)
        # Where samples take longer, block RAM is slow: it gets a register here as well.
        return delayed(m, port.data, 1) if self.sample_latency > 1 else port.data

    def _look_up(self, m: Module) -> _Access:
        """Where the bus's address leads."""
        bus, address, access = self.bus, self.bus.address, _Access()
        lane, word = address[16:], address[:16]
        m.d.comb += access.writes_high.eq((bus.space == Space.ACCUMULATORS_HIGH) & bus.write)
        with m.Switch(bus.space):
            with m.Case(Space.REGISTERS):
                readable = address >= FIRST_READABLE
                m.d.comb += [
                    access.found.eq(address < REGISTERS),
                    access.known.eq(readable ^ bus.write),
                    access.blocked.eq(bus.write & (address != Register.STEP_TARGET)),
                ]
            with m.Case(Space.IDENTITY):
                found = address < len(self.identity.words())
                m.d.comb += [access.found.eq(found), access.known.eq(~bus.write)]
            with m.Case(Space.SAMPLES):
                found = address < self.sample_memory // 2
                m.d.comb += [access.found.eq(found), access.known.eq(1)]
                m.d.comb += access.blocked.eq(~bus.write)
            with m.Case(*self._core_spaces()):
                found = (lane < self.config.lanes) & (word < self.config.lane_words)
                m.d.comb += [
                    access.found.eq(found),
                    access.known.eq(1),
                    access.blocked.eq(1),
                    access.in_core.eq(1),
                ]
        return access

    def _access(self, m: Module, access: _Access, busy, high: Signal) -> Signal:
        """The state machine of one access; the signal that writes a register."""
        bus = self.bus
        status, granted = Signal(range(max(Status) + 1)), Signal()
        m.d.comb += bus.status.eq(status)
        # Registered: a write happens in ANSWER, a clock after it was granted.
        write_register, to_register, to_samples = Signal(), Signal(), Signal()
        m.d.sync += [
            to_register.eq(granted & bus.write & (bus.space == Space.REGISTERS)),
            to_samples.eq(granted & bus.write & (bus.space == Space.SAMPLES)),
        ]
        # Registered: the comparisons of the address are long, so they get a clock of their own.
        found, known, blocked = (
            delayed(m, bit, 1) for bit in (access.found, access.known, access.blocked)
        )
        with m.FSM():
            with m.State("IDLE"), m.If(bus.strobe):
                m.next = "LOOKED_UP"
            with m.State("LOOKED_UP"):
                m.d.sync += granted.eq(found & known & ~(blocked & busy))
                with m.If(~found):
                    m.d.sync += status.eq(Status.BAD_ADDRESS)
                with m.Elif(~known):
                    m.d.sync += status.eq(Status.BAD_REQUEST)
                with m.Elif(blocked & busy):
                    m.d.sync += status.eq(Status.BUSY)
                with m.Else():
                    m.d.sync += status.eq(Status.OK)
                m.next = "DECIDED"
            with m.State("DECIDED"):
                m.next = "ANSWER"
                with m.If(~bus.write):
                    m.next = f"READ_{self.sample_latency}"
                with m.If(granted & access.in_core & ~access.writes_high):
                    m.d.sync += self.weight_request.valid.eq(1)
                    m.next = "WEIGHT"
            # Besides the memory's latency: registers before and behind the choice of the source.
            for left in range(self.sample_latency, 0, -1):
                with m.State(f"READ_{left}"):
                    m.next = "ANSWER" if left == 1 else f"READ_{left - 1}"
            with m.State("ANSWER"):
                m.d.comb += [write_register.eq(to_register), self.sample_write.eq(to_samples)]
                # The upper bits wait here for the word of the lower ones, whose write takes both to
                # the core.
                with m.If(granted & access.writes_high):
                    m.d.sync += high.eq(bus.write_data)
                with m.If(~self.sample_write | self.sample_ready):
                    m.d.comb += bus.ack.eq(1)
                    m.next = "IDLE"
                m.d.comb += self.weight_reply.ready.eq(1)
            with m.State("WEIGHT"), m.If(self.weight_request.ready):
                m.d.sync += self.weight_request.valid.eq(0)
                m.next = "WEIGHT_READ"
                with m.If(bus.write):
                    m.next = "ANSWER"
            with m.State("WEIGHT_READ"), m.If(self.weight_reply.valid):
                m.next = "ANSWER"
        return write_register

    def _read_data(self, m: Module, registers: dict[int, Value], rom_data: Value) -> None:
        """The word that the bus reads, two clocks behind its address and source."""
        bus, space = self.bus, self.bus.space
        in_registers = space == Space.REGISTERS
        number = bus.address[: (REGISTERS - 1).bit_length()]
        sources = [
            (in_registers & (number == register), value) for register, value in registers.items()
        ]
        reply = self.weight_reply.payload.as_unsigned()
        sources += [
            (space == Space.IDENTITY, rom_data),
            (space == Space.SAMPLES, self.sample_read_data),
            ((space == Space.WEIGHTS) | (space == Space.ACCUMULATORS), reply[:WORD]),
        ]
        if self.high_bits:
            sources.append((space == Space.ACCUMULATORS_HIGH, reply[WORD:]))
        # AND and OR take fewer LUTs of four inputs than a multiplexer.
        read_data = Const(0, WORD)
        for source, value in sources:
            chosen = Signal()
            m.d.sync += chosen.eq(source)
            read_data |= Mux(chosen, value, 0)
        m.d.sync += bus.read_data.eq(read_data)

    def _core_spaces(self) -> list[Space]:
        """The spaces of those memories of this core that the host may access."""
        spaces = [Space.WEIGHTS]
        if self.config.host_gradient_bits:
            spaces.append(Space.ACCUMULATORS)
        if self.high_bits:
            spaces.append(Space.ACCUMULATORS_HIGH)
        return spaces

    def _writable_registers(self, m: Module, write: Signal, epoch: Signal) -> None:
        """Registers of their fields' widths, which take the bus's data where `write` is high."""
        address, value = self.bus.address, self.bus.write_data
        mode = Signal(Register.MODE.bits)
        ports: dict[Register, Any] = {
            register: getattr(self.settings, register.field)
            for register in Register
            if register.role in (Role.SETTING, Role.RUN) and register is not Register.MODE
        }
        ports |= {r: getattr(self, r.field) for r in Register if r.role is Role.SAMPLES}
        ports |= {Register.MODE: mode, Register.EPOCH: epoch}
        m.d.comb += [getattr(self.settings, bit.field).eq((mode & bit.value).any()) for bit in Mode]
        registers = {r: Signal(len(port), name=f"{r.field}_register") for r, port in ports.items()}
        m.d.comb += [port.eq(registers[register]) for register, port in ports.items()]
        with m.If(write), m.Switch(address[: (FIRST_READABLE - 1).bit_length()]):
            for register, signal in registers.items():
                for word in range(register.words):
                    with m.Case(register + word):
                        m.d.sync += signal[word * WORD : (word + 1) * WORD].eq(value)
            with m.Case(int(Register.COMMAND)):
                m.d.sync += [self.command.payload.code.eq(value), self.command.valid.eq(1)]

    def _readable_registers(self, m: Module, status_word) -> dict[int, Value]:
        """The word at each address: counters of this unit, and the reports of core and link."""
        e = self.evaluation.payload
        correct = Signal(EVAL_COUNT_BITS)
        m.d.comb += self.evaluation.ready.eq(1)
        # Registered: the first result of an evaluation comes much later.
        begins = delayed(m, self.command.valid & self.command.ready, 1)
        counts = delayed(m, self.evaluation.valid & e.correct, 1)
        with m.If(begins):
            m.d.sync += correct.eq(0)
        with m.Elif(counts):
            m.d.sync += correct.eq(correct + 1)
        cost_bits = len(e.cost) + EVAL_COUNT_BITS
        cost = accumulated(m, cost_bits, e.cost, enable=self.evaluation.valid, clear=begins)
        values = {r: getattr(self.status, r.field) for r in Register if r.role is Role.REPORT}
        values |= {
            Register.STATUS: status_word,
            Register.EVAL_CORRECT: correct,
            Register.EVAL_COST: cost,
            Register.CLOCKS: accumulated(m, CLOCK_BITS, 1),
        }
        return {
            register + k // WORD: values[register][k : k + WORD]
            for register in sorted(values)
            for k in range(0, len(values[register]), WORD)
        }
