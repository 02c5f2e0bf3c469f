"""The loops over layer, pass, group and input: one token a clock.

A sweep is the whole forward pass of a step.  The first layer is swept once for both passes
(unless it is also the last), every other layer once per pass.  The update of the previous step
rides on the first sweep of each layer.
"""

from __future__ import annotations

from amaranth import Array, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.collector import group_layout
from rtl.config import CoreConfig
from rtl.lane import Lane


def token_layout(config: CoreConfig) -> data.StructLayout:
    """One input of one group of neurons.

    input: number within the layer's inputs; bias: the last one, 1.0; first: the first input;
    group: through the whole network; word: address in the lanes' memories; layer_0: inputs
    come from the sample; hidden: where the inputs start among the hidden activations;
    second: the second pass; lead: the first sweep of this layer in this step, on which the
    previous step's update rides.
    """
    return data.StructLayout(
        {
            "input": range(max(config.network.layers[:-1]) + 1),
            "first": 1,
            "bias": 1,
            "group": range(max(sum(config.groups), 2)),
            "word": range(max(config.lane_words, 2)),
            "layer_0": 1,
            "hidden": range(max(config.hidden_nodes, 2)),
            "second": 1,
            "lead": 1,
        }
    )


class Sweeper(wiring.Component):
    """Issues the tokens of one step.

    `start` begins; `busy` falls after the last token.  passes (bit 0 first, bit 1 second)
    and flush (one sweep per layer, no results) are stable while busy.  A token is issued
    whenever `valid` is high; `finished` describes the group of a bias token.

    It waits where a pass needs the previous layer's activations: `ready` has a bit per pass,
    `taken` clears it.  It waits before a group's last token until the previous group has left
    the lanes' output registers (`collected`).
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "passes": In(2),
                "flush": In(1),
                "ready": In(2),
                "taken": Out(2),
                "collected": In(1),
                "valid": Out(1),
                "token": Out(token_layout(config)),
                "finished": Out(group_layout(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, net = self.config, self.config.network
        depth = net.depth

        def of_layer(values):
            return Array([Const(v, range(max(max(values) + 1, 2))) for v in values])[layer]

        layer = Signal(range(depth))
        first_pass_done = Signal()
        group_in_layer = Signal(range(max(cfg.groups)))
        token = self.token
        j, word, group = Signal.like(token.input), Signal.like(token.word), Signal.like(token.group)
        node = Signal.like(self.finished.node)
        outstanding = Signal()

        is_bias, last_group, first_layer = Signal(), Signal(), Signal()
        starts_pass, may_go = Signal(), Signal()
        # A weight may be read again once it was written: a short layer's second pass waits.
        turnaround = Lane.update_latency(cfg) + 1
        since_first = Signal(range(turnaround + 1))
        # The first layer's sums serve both passes.  Where it is also the last one, the passes
        # must reach the cost unit one after the other, as those of any last layer.
        both = Signal()
        second = Signal()
        pass_bits = Mux(both, self.passes, Mux(second, 2, 1))
        m.d.comb += [
            is_bias.eq(j == of_layer(net.layers[:-1])),
            last_group.eq(group_in_layer == of_layer([g - 1 for g in cfg.groups])),
            first_layer.eq(layer == 0),
            both.eq(first_layer & (depth > 1)),
            second.eq(~both & ~self.flush & (first_pass_done | ~self.passes[0])),
            starts_pass.eq((j == 0) & (group_in_layer == 0)),
        ]
        with m.If(~self.flush):
            with m.If(starts_pass):
                m.d.comb += may_go.eq(
                    (first_layer | Mux(second, self.ready[1], self.ready[0]))
                    & (~(second & self.passes[0]) | (since_first == turnaround))
                )
            with m.Else():
                m.d.comb += may_go.eq(~is_bias | ~outstanding)
        with m.Else():
            m.d.comb += may_go.eq(1)
        m.d.comb += self.valid.eq(self.busy & may_go)
        with m.If(self.valid & starts_pass & ~first_layer & ~self.flush):
            m.d.comb += self.taken.eq(Mux(second, 2, 1))

        m.d.comb += [
            token.input.eq(j),
            token.first.eq(j == 0),
            token.bias.eq(is_bias),
            token.group.eq(group),
            token.word.eq(word),
            token.layer_0.eq(first_layer),
            token.hidden.eq(of_layer([cfg.hidden_offset(max(k - 1, 0)) for k in range(depth)])),
            token.second.eq(second),
            token.lead.eq(~second | ~self.passes[0]),
            self.finished.node.eq(node),
            self.finished.active.eq(
                Mux(
                    last_group,
                    of_layer([cfg.active(k, cfg.groups[k] - 1) for k in range(depth)]),
                    cfg.lanes,
                )
            ),
            self.finished.passes.eq(pass_bits),
            self.finished.last.eq(last_group),
            self.finished.output.eq(layer == depth - 1),
        ]

        with m.If(since_first != turnaround):
            m.d.sync += since_first.eq(since_first + 1)
        with m.If(self.valid & starts_pass & ~second):
            m.d.sync += since_first.eq(1)
        with m.If(self.collected):
            m.d.sync += outstanding.eq(0)
        with m.If(self.valid):
            m.d.sync += [j.eq(j + 1), word.eq(word + 1)]
            with m.If(is_bias):
                m.d.sync += [
                    j.eq(0),
                    group.eq(group + 1),
                    group_in_layer.eq(group_in_layer + 1),
                    node.eq(node + cfg.lanes),
                    outstanding.eq(~self.flush),
                ]
                with m.If(last_group):
                    m.d.sync += group_in_layer.eq(0)
                    with m.If(~both & ~second & self.passes[1] & ~self.flush):
                        m.d.sync += [
                            first_pass_done.eq(1),
                            word.eq(of_layer(cfg.first_word)),
                            group.eq(of_layer(cfg.first_group)),
                            node.eq(of_layer(self._first_nodes())),
                        ]
                    with m.Else():
                        m.d.sync += [
                            first_pass_done.eq(0),
                            layer.eq(layer + 1),
                            node.eq(of_layer([*self._first_nodes()[1:], 0])),
                        ]
                        with m.If(layer == depth - 1):
                            m.d.sync += self.busy.eq(0)
        with m.If(self.start):
            m.d.sync += [
                self.busy.eq(1),
                layer.eq(0),
                first_pass_done.eq(0),
                group_in_layer.eq(0),
                j.eq(0),
                word.eq(0),
                group.eq(0),
                node.eq(0),
                outstanding.eq(0),
            ]
        return m

    def _first_nodes(self) -> list[int]:
        """Number of each layer's first node among the hidden ones; outputs start at 0."""
        depth = self.config.network.depth
        return [self.config.hidden_offset(k) if k < depth - 1 else 0 for k in range(depth)]
