"""Which synapses had an input: the others take no part of the cost change (gate_zeros)."""

from __future__ import annotations

from amaranth import Cat, Module, Signal, signed
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.golden_model.measurement import Measurement
from mgd.golden_model.network import ACT_BITS
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.unit import Unit


class InputGate(Unit):
    """golden_model.measurement.Measurement.nonzero, a token at a time.

    D is made of two passes: C⁺ and C⁻, or the current C0 and C⁺.  `x` is the token's input in the
    first of them, a clock behind the token, as the update takes it.  Of the second one a bit is
    kept for each hidden node: `stores` writes it, and `sample`, `node` and `set_read` of the token
    are those of its input, which is `node` among all hidden nodes unless it comes from the sample.
    `open` leaves `latency` clocks behind the token.  Node perturbation has no gates, and does not
    notice this one: its update term is 0 wherever `x` is.

    A step writes the bits of one set while the update of the step before, which rides on its sweep,
    reads the other.
    Cost: a memory of two bits per hidden node and about ten cells.
    """

    latency = 3
    model = Measurement

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        node = In(range(max(config.hidden_nodes, 2)))
        super().__init__(
            {
                "x": In(signed(ACT_BITS)),
                "sample": In(1),
                "node": node,
                "set_read": In(1),
                "stores": In(1),
                "set_written": In(1),
                "node_written": node,
                "value": In(signed(ACT_BITS)),
                "open": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.bits = bits = Memory(shape=1, depth=self.config.gate_words, init=[])
        read, write = bits.read_port(), bits.write_port()
        m.d.comb += [
            read.addr.eq(Cat(self.node, self.set_read)),
            write.addr.eq(Cat(self.node_written, self.set_written)),
            write.data.eq(self.value.any()),
            write.en.eq(self.stores),
        ]
        # Out of two memories: a LUT, a register and another LUT.
        # Behind the token: x and the kept bit in clock 1, `parts` and `second` in clock 2, `open`
        # in 3.
        parts = Signal((ACT_BITS + 3) // 4)
        second = Signal()
        m.d.sync += [
            parts.eq(Cat(self.x[k : k + 4].any() for k in range(0, ACT_BITS, 4))),
            second.eq(read.data & ~delayed(m, self.sample, 1)),
            self.open.eq(parts.any() | second),
        ]
        return m
