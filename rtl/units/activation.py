"""Activation functions, one result per clock."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from mgd.golden_model.activations import activate
from mgd.golden_model.network import ACT_BITS, ACT_FRAC, Network
from mgd.rtl.lib.piecewise import LATENCY as TABLE_LATENCY
from mgd.rtl.lib.piecewise import interpolate, rescaled
from mgd.rtl.lib.unit import Unit
from mgd.rtl.units.activations import KINDS, Direct, Kind, Tabulated


def used_kinds(network: Network) -> list[Kind]:
    """The activations of hidden nodes and, if they are others, of the outputs."""
    names = [network.hidden] * (network.depth > 1) + [network.output] * (not network.reads_sums)
    return [KINDS[name] for name in dict.fromkeys(names or ["identity"])]


def has_table(network: Network) -> bool:
    """Whether any of them takes an interpolated table."""
    return any(isinstance(kind, Tabulated) for kind in used_kinds(network))


class Activation(Unit):
    """One activation per clock.

    i: {value: pre-activation, output: output node rather than hidden, tag}; o: {value: Q1.14,
    saturated, output, tag}, `latency` clocks later; stalls as a whole.
    `stores` is high while a hidden node's result is on `o`.
    The network's hidden and output activations are both built; `output` selects one.  Those that
    have a table take one multiplier for both, with `dsp` in a DSP block, and with `table_memory`
    two block RAMs for the tables, which are in logic otherwise; or none of these, with
    `shared_tables`: then a rtl.lib.piecewise.SharedTables is asked at `table_position`, with
    `table_beyond`, in the clocks in which `table_asked` is high.  Nothing may stall then.
    position_register: a table's position has a register, behind the logic that limits a
    pre-activation to the table; it is a clock more.  (Without it the shared tables limit it:
    table_beyond.)
    """

    model = staticmethod(activate)

    def __init__(
        self,
        network: Network,
        tag_shape,
        *,
        dsp: bool = True,
        shared_tables: bool = False,
        table_memory: bool = False,
        position_register: bool = False,
    ) -> None:
        self.network, self.dsp, self.shared_tables = network, dsp, shared_tables
        self.table_memory, self.position_register = table_memory, position_register
        self.latency = self.latency_of(position_register)
        common = {"output": 1, "tag": tag_shape}
        self.kinds = used_kinds(network)
        self.tables = [kind for kind in self.kinds if isinstance(kind, Tabulated)]
        self.position_bits = max(
            (table.position_bits(network.pre_frac) for table in self.tables), default=1
        )
        beyond = 1 if position_register else max(network.pre_bits - self.position_bits + 1, 1)
        tables = {
            "table_asked": Out(1),
            "table_position": Out(self.position_bits),
            "table_beyond": Out(beyond),
            "table_value": In(signed(ACT_BITS)),
        }
        super().__init__(
            {
                "i": In(
                    stream.Signature(
                        data.StructLayout({"value": signed(network.pre_bits), **common})
                    )
                ),
                "o": Out(
                    stream.Signature(
                        data.StructLayout({"value": signed(ACT_BITS), "saturated": 1, **common})
                    )
                ),
                "stores": Out(1),
                **(tables if shared_tables else {}),
            }
        )

    @classmethod
    def latency_of(cls, position_register: bool = False) -> int:
        """Clocks from `i` to `o`."""
        return 1 + TABLE_LATENCY + position_register

    def elaborate(self, platform):
        m = Module()
        enable = Signal()
        m.d.comb += [enable.eq(~self.o.valid | self.o.ready), self.i.ready.eq(enable)]

        results = self._tabulated(m, enable)
        for kind in self.kinds:
            if isinstance(kind, Direct):
                results[kind.name] = self._direct(m, kind, enable)
        hidden, at_output = results[self.kinds[0].name], results[self.kinds[-1].name]

        valid = self.i.valid
        output, tag = self.i.payload.output, self.i.payload.tag
        for _ in range(self.latency):
            previous_valid, previous_output = valid, output
            valid_next, output_next = Signal(), Signal()
            tag_next = Signal.like(tag)
            with m.If(enable):
                m.d.sync += [
                    valid_next.eq(valid),
                    output_next.eq(output),
                    tag_next.eq(tag),
                ]
            valid, output, tag = valid_next, output_next, tag_next

        # A register beside those of the last stage: the activation memory is far away.
        with m.If(enable):
            m.d.sync += self.stores.eq(previous_valid & ~previous_output)
        value = self.o.payload
        m.d.comb += [
            self.o.valid.eq(valid),
            Cat(value.value, value.saturated).eq(Mux(output, Cat(*at_output), Cat(*hidden))),
            value.output.eq(output),
            value.tag.eq(tag),
        ]
        return m

    def _delay(self, m: Module, enable, signals):
        """Registers that take the signals in every clock with `enable`."""
        registers = [Signal.like(signal) for signal in signals]
        with m.If(enable):
            m.d.sync += [
                register.eq(signal) for register, signal in zip(registers, signals, strict=True)
            ]
        return registers

    def _direct(self, m: Module, kind: Direct, enable):
        z = self.i.payload.value
        wide = Signal(signed(len(z) + ACT_FRAC))
        m.d.comb += wide.eq(rescaled(z, self.network.pre_frac, ACT_FRAC))
        y, over = Signal(signed(ACT_BITS)), Signal()
        value, saturates = kind.gates(wide)
        with m.If(enable):
            m.d.sync += [y.eq(value), over.eq(saturates)]
        for _ in range(self.latency - 1):
            y, over = self._delay(m, enable, (y, over))
        return y, over

    def _tabulated(self, m: Module, enable) -> dict[str, tuple]:
        """One interpolator for the tables of both; `output` says which table it is."""
        if not self.tables:
            return {}
        z, pre_frac, bits = self.i.payload.value, self.network.pre_frac, self.position_bits
        # Zeros below a position leave it the same, so both tables take the wider position.
        positions = [
            table.position(z, pre_frac) << (bits - table.position_bits(pre_frac))
            for table in self.tables
        ]
        asked, output = self.i.valid, self.i.payload.output
        if self.shared_tables and not self.position_register:
            position, beyond = self.tables[0].unlimited_position(z, pre_frac)
            m.d.comb += self.table_beyond.eq(beyond)
        else:
            position = Signal(bits)
            m.d.comb += position.eq(Mux(output, positions[-1], positions[0]))
        if self.position_register:
            asked, output, position = self._delay(m, enable, (asked, output, position))
        if self.shared_tables:
            # The tables answer TABLE_LATENCY clocks later; the register behind them is this unit's.
            m.d.comb += [self.table_asked.eq(asked), self.table_position.eq(position)]
            found = self.table_value
        else:
            found = interpolate(
                m,
                [table.table for table in self.tables],
                position,
                which=output if len(positions) > 1 else None,
                enable=enable,
                dsp=self.dsp,
                memory=self.table_memory,
            )
        results = {}
        for table in self.tables:
            y = Signal(signed(ACT_BITS))
            with m.If(enable):
                m.d.sync += y.eq(table.value(found))
            results[table.name] = (y, Signal())
        return results
