"""The activation memories: inputs and hidden activations of this step and of the one before."""

from __future__ import annotations

from amaranth import Array, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ACT_BITS, ONE
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.program.loop_engine import token_layout
from mgd.rtl.folded.program.token_timing import BASE_AND_ADDRESS, MEMORY, TokenTiming
from mgd.rtl.lib.delay import delayed


class ActivationMemory(wiring.Component):
    """Fetches the tokens' operands, and keeps the activations that the sweep makes.

    `previous_x` is the token's activation of the step before, TokenTiming.previous_x clocks after
    the token, straight out of a memory; `early_x` that of this step, TokenTiming.early_x clocks
    after it.  Both are 1.0 for a bias, and `early_x` too where `busy` is low.

    `result_valid` writes a hidden node's activation.  `inputs` are written in the clocks without
    one.  The samples' buffers and the hidden sets are those of rtl.folded.control.sample_buffers.

    Two memories, written alike: one is read for the forward pass, the other for the update of the
    step before.  Only the first holds the second pass's activations, which no update reads.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        inputs = data.StructLayout(
            {"index": range(config.network.layers[0] + 1), "value": signed(ACT_BITS)}
        )
        nodes = max(config.hidden_nodes, config.network.outputs, 2)
        super().__init__(
            {
                "token": In(token_layout(config)),
                "sample_current": In(2),
                "sample_previous": In(2),
                "sample_next": In(2),
                "hidden_current": In(1),
                "hidden_previous": In(1),
                "busy": In(1),
                "inputs": In(stream.Signature(inputs)),
                "result_valid": In(1),
                "result": In(signed(ACT_BITS)),
                "result_node": In(range(nodes)),
                "result_second": In(1),
                "previous_x": Out(signed(ACT_BITS)),
                "early_x": Out(signed(ACT_BITS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, at = self.config, TokenTiming.of(self.config)
        first_pass_words = cfg.plus_words
        depth = first_pass_words + max(cfg.hidden_nodes, 1)
        m.submodules.now = current = Memory(shape=signed(ACT_BITS), depth=depth, init=[])
        m.submodules.before = previous = Memory(
            shape=signed(ACT_BITS), depth=first_pass_words, init=[]
        )
        ports = current.write_port(), previous.write_port()
        read_current, read_previous = current.read_port(), previous.read_port()

        token = self.token
        base, address = Signal(range(depth)), Signal(range(depth))
        hidden = Mux(token.second, first_pass_words, self._hidden(self.hidden_current))
        # There is time for a register behind each adder.
        m.d.sync += [
            base.eq(Mux(token.layer_0, self._sample(self.sample_current), hidden + token.hidden)),
            address.eq(base + delayed(m, token.input, 1)),
        ]
        hidden_previous = self._hidden(self.hidden_previous) + token.hidden
        m.d.comb += [
            read_current.addr.eq(delayed(m, address, at.read_x - BASE_AND_ADDRESS)),
            read_previous.addr.eq(
                Mux(token.layer_0, self._sample(self.sample_previous), hidden_previous)
                + token.input
            ),
        ]
        bias = delayed(m, token.bias, MEMORY)
        bias_x = delayed(m, bias, at.read_x)
        x = Signal(signed(ACT_BITS), reset_less=True)
        m.d.sync += x.eq(Mux(bias_x | ~self.busy, ONE, read_current.data))
        m.d.comb += [
            self.early_x.eq(x),
            # The broadcast has the register behind this memory.
            self.previous_x.eq(Mux(bias, ONE, read_previous.data)),
        ]

        # Results come first, the next sample's inputs are written when none is there.
        write, value = Signal(), Signal(signed(ACT_BITS))
        written = Signal(range(depth))
        with m.If(self.result_valid):
            hidden_set = Mux(
                self.result_second, first_pass_words, self._hidden(self.hidden_current)
            )
            m.d.comb += [
                write.eq(1),
                value.eq(self.result),
                written.eq(hidden_set + self.result_node),
            ]
        with m.Else():
            m.d.comb += [
                self.inputs.ready.eq(1),
                write.eq(self.inputs.valid),
                value.eq(self.inputs.payload.value),
                written.eq(self._sample(self.sample_next) + self.inputs.payload.index),
            ]
        for port in ports:
            m.d.comb += [port.addr.eq(written), port.data.eq(value)]
        m.d.comb += [
            ports[0].en.eq(write),
            ports[1].en.eq(write & ~(self.result_valid & self.result_second)),
        ]
        return m

    def _sample(self, buffer):
        """Where a buffer of inputs begins."""
        return Array([Const(k * self.config.network.layers[0]) for k in range(4)])[buffer]

    def _hidden(self, hidden_set):
        """Where a set of the first pass's hidden activations begins; the second pass's are behind
        both."""
        cfg = self.config
        return 3 * cfg.network.layers[0] + Mux(hidden_set, cfg.hidden_nodes, 0)
