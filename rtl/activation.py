"""Activation functions, one result per clock."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.network import ACT_BITS, ACT_FRAC, Network
from golden_model.tables import TANH, TANH_RANGE_LOG2
from rtl.arithmetic import saturated
from rtl.piecewise import LATENCY as TABLE_LATENCY
from rtl.piecewise import interpolate, rescaled


class Activation(wiring.Component):
    """Equals golden_model.activations.activate.

    i: {value: pre-activation, output: output node rather than hidden, tag}; o: {value: Q1.14,
    saturated, output, tag}.  Latency LATENCY clocks, one result per clock; stalls as a whole.
    `stores` is high while a hidden node's result is on `o`.
    The network's hidden and output activations are both there, chosen by `output`.  tanh takes
    a multiplier, with `dsp` in a DSP block; or none, with `shared_tables`: then it asks a
    rtl.piecewise.SharedTables at `table_position` in the clock in which `i` is taken.  Nothing may
    stall then.
    """

    LATENCY = 1 + TABLE_LATENCY

    def __init__(
        self, network: Network, tag_shape, *, dsp: bool = True, shared_tables: bool = False
    ) -> None:
        self.network, self.dsp, self.shared_tables = network, dsp, shared_tables
        common = {"output": 1, "tag": tag_shape}
        # The position is z + 4 of [0, 8).
        self.position_bits = network.pre_frac + TANH_RANGE_LOG2 + 1
        tables = {
            "table_position": Out(self.position_bits),
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

    def elaborate(self, platform):
        m = Module()
        enable = Signal()
        m.d.comb += [enable.eq(~self.o.valid | self.o.ready), self.i.ready.eq(enable)]

        z = self.i.payload.value
        hidden_kind, output_kind = self._kinds()
        results = {
            kind: getattr(self, f"_{kind}")(m, z, enable)
            for kind in sorted({hidden_kind, output_kind})
        }

        valid = self.i.valid
        output, tag = self.i.payload.output, self.i.payload.tag
        for _ in range(self.LATENCY):
            last_valid, last_output = valid, output
            valid_next, output_next = Signal(), Signal()
            tag_next = Signal.like(tag)
            with m.If(enable):
                m.d.sync += [
                    valid_next.eq(valid),
                    output_next.eq(output),
                    tag_next.eq(tag),
                ]
            valid, output, tag = valid_next, output_next, tag_next

        with m.If(enable):
            m.d.sync += self.stores.eq(last_valid & ~last_output)
        value = self.o.payload
        m.d.comb += [
            self.o.valid.eq(valid),
            Cat(value.value, value.saturated).eq(
                Mux(output, Cat(*results[output_kind]), Cat(*results[hidden_kind]))
            ),
            value.output.eq(output),
            value.tag.eq(tag),
        ]
        return m

    def _kinds(self) -> tuple[str, str]:
        """Activations of hidden and output nodes; where one is not used, the other's."""
        net = self.network
        has_hidden, has_output = net.depth > 1, net.cost == "mse"
        if not has_hidden and not has_output:
            return "identity", "identity"
        hidden = net.hidden if has_hidden else net.output
        return hidden, net.output if has_output else hidden

    def _tanh(self, m: Module, z, enable):
        # The position is z + 4, limited to the table's range [0, 8): flipping the sign bit of
        # [−4, 4) adds 4.  So near its end the table rounds to its last value, that from 4 on.
        bits = self.position_bits
        assert 2 * (TANH.values[-1] - TANH.values[-2]) < 1 << (bits - TANH.segment_bits)
        limited, _ = saturated(z, bits)
        position = Cat(limited[:-1], ~limited[-1])
        y = Signal(signed(ACT_BITS))
        if self.shared_tables:
            m.d.comb += self.table_position.eq(position)
            found = self.table_value
        else:
            found = interpolate(m, [TANH], position, enable=enable, dsp=self.dsp)
        with m.If(enable):
            m.d.sync += y.eq(found)
        return y, Signal()

    def _identity(self, m: Module, z, enable):
        wide = Signal(signed(len(z) + ACT_FRAC))
        m.d.comb += wide.eq(rescaled(z, self.network.pre_frac, ACT_FRAC))
        y, over = Signal(signed(ACT_BITS)), Signal()
        limited, overflow = saturated(wide, ACT_BITS)
        with m.If(enable):
            m.d.sync += [y.eq(limited), over.eq(overflow)]
        for _ in range(self.LATENCY - 1):
            y_next, over_next = Signal.like(y), Signal()
            with m.If(enable):
                m.d.sync += [y_next.eq(y), over_next.eq(over)]
            y, over = y_next, over_next
        return y, over

    def _relu(self, m: Module, z, enable):
        positive = Signal.like(z)
        m.d.comb += positive.eq(Mux(z < 0, 0, z))
        return self._identity(m, positive, enable)
