"""The loops over layer, pass, group and input: one token a clock.

A sweep is the whole forward pass of a step.  The first layer is swept once for both passes
(unless it is also the last), every other layer once per pass.  The update of the previous step
rides on the first sweep of each layer.
"""

from __future__ import annotations

from amaranth import Array, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lane import Lane
from mgd.rtl.folded.nonzero_inputs import visit_layout


def token_layout(config: CoreConfig) -> data.StructLayout:
    """One input of one group of neurons.

    input: number within the layer's inputs; bias: the last one, 1.0; first: the first input;
    group: through the whole network; word: address in the lanes' memories; layer_0: inputs
    come from the sample; hidden: where the inputs start among the hidden activations;
    second: the second pass; lead: the first sweep of this layer in this step, on which the
    previous step's update rides.  now, before: those of rtl.folded.nonzero_inputs.visit_layout, in
    a core that has it; 1 behind the first layer.
    """
    lit = {"now": 1, "before": 1} if config.variant.skip_zeros else {}
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
            **lit,
        }
    )


class Sweeper(wiring.Component):
    """Issues the tokens of one step.

    `start` begins; `busy` falls a clock after the last token's.  passes (bit 0 first, bit 1 second)
    and flush (one sweep per layer, no results) are stable while busy.  A token is issued
    whenever `valid` is high; `serves` has a bit per pass that
    the token's group has results for.

    It waits where a token needs an activation of the previous layer that is not there yet:
    `arrives` has a bit per pass, high for a clock when the next one in order is being written,
    so that the token may follow in the next clock.  And it waits before a group's last token, so
    that the previous group has left the lanes' output registers when this one's sums get there:
    two last tokens are as far apart as the first one's values take to leave, one a clock.  No
    token is issued in the clock after a group's last one.

    With skip_zeros the first layer's tokens are those of `visits`, from rtl.folded.nonzero_inputs.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        visits = {"visits": In(stream.Signature(visit_layout(config)))}
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "passes": In(2),
                "flush": In(1),
                "arrives": In(2),
                "valid": Out(1),
                "token": Out(token_layout(config)),
                "serves": Out(2),
                **(visits if config.variant.skip_zeros else {}),
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
        # Clocks until the lanes' output registers are free for a group that ends now.
        leaving = Signal(range(2 * cfg.lanes))
        # Whether there are none left.  In the clock after a bias token it is not, but no other
        # bias token comes as soon as that.
        free = Signal()
        m.d.sync += free.eq(leaving <= 1)

        is_bias, last_group, first_layer = Signal(), Signal(), Signal()
        # By the count of inputs, which the first layer may have another way to.
        skips = cfg.variant.skip_zeros
        at_bias = Signal() if skips else is_bias
        first_group, may_go = Signal(), Signal()
        # A weight may be read again once it was written: a short layer's second pass waits, for
        # what the layer's own length does not cover.
        turnaround = Lane.update_latency(cfg) + 1
        lengths = [g * (n + 1) for g, n in zip(cfg.groups, net.layers, strict=False)]
        if skips:
            lengths[0] = 2 * cfg.groups[0]
        waits = [max(turnaround - length, 0) for length in lengths]
        # Counted up to 0: the sign tells without a comparison whether there are any left.
        wait = Signal(range(-max(waits), 1))
        waiting = wait[-1] if max(waits) else Const(0)
        # The first layer's sums serve both passes.  Where it is also the last one, the passes
        # must reach the cost unit one after the other, as those of any last layer.
        both = Signal()
        second = Signal()
        pass_bits = Mux(both, self.passes, Mux(second, 2, 1))
        m.d.comb += [
            last_group.eq(group_in_layer == of_layer([g - 1 for g in cfg.groups])),
            first_layer.eq(layer == 0),
            both.eq(first_layer & (depth > 1)),
            first_group.eq(group_in_layer == 0),
        ]
        # Layer and group change behind a group's last token, and then there is a clock without any:
        # time for a register.  Only a sweep that begins with a second pass has none.
        is_second = ~both & ~self.flush & (first_pass_done | ~self.passes[0])
        m.d["sync" if depth > 1 else "comb"] += second.eq(is_second)
        follows = Signal()  # reads the activations of the layer before as they come
        m.d.sync += follows.eq(first_group & ~first_layer & ~self.flush)
        # Activations that are there and were not read yet.  The first group of a pass reads them
        # as they come; all are there when the next group asks.
        there = Signal(2)  # the counts are not 0
        # A clock in which the lanes' sums are taken and cleared.
        pauses = Signal()
        for k in range(2):
            count = Signal(range(max(net.layers[1:-1], default=0) + 1), name=f"there_{k}")
            # Of `valid` only what it is where such a token may be: that is known sooner.
            may_use, used, changes = Signal(), Signal(), Signal()
            m.d.comb += [
                may_use.eq(follows & ~is_bias & (second == k) & self.busy & ~pauses & ~waiting),
                used.eq(may_use & there[k]),
                changes.eq(self.arrives[k] ^ used),
            ]
            # All that came are read before a sweep ends, so the next one starts at 0.
            with m.If(changes):
                m.d.sync += [
                    count.eq(Mux(used, count - 1, count + 1)),
                    there[k].eq(~used | (count != 1)),
                ]
        # A flush begins when the lanes are free, and nothing of its own keeps it waiting.
        with m.If(is_bias):
            m.d.comb += may_go.eq(free)
        with m.Else():
            m.d.comb += may_go.eq((~follows | there.bit_select(second, 1)) & ~waiting)
        goes = self.busy & may_go & ~pauses
        ends = Signal()  # a group's last token
        m.d.sync += pauses.eq(ends)
        if skips:
            visit, here, begins = self.visits.payload, Signal(), Signal(init=1)
            m.d.comb += here.eq(~first_layer | self.visits.valid)
            with m.If(self.valid):
                m.d.sync += begins.eq(is_bias)
            # What keeps the first layer waiting, and nothing that keeps the others.
            goes_first = Mux(visit.bias, free, ~waiting)
            m.d.comb += [
                self.visits.ready.eq(first_layer & self.busy & ~pauses & goes_first),
                is_bias.eq(Mux(first_layer, visit.bias, at_bias)),
                self.valid.eq(goes & here),
                ends.eq(self.valid & is_bias),
            ]
        else:
            # Of `valid` only what keeps a last token waiting: that is known sooner.
            m.d.comb += [
                self.valid.eq(goes),
                ends.eq(is_bias & free & self.busy & ~pauses),
            ]

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
            self.serves.eq(pass_bits),
        ]
        if skips:
            # There `word` is the group's first one.
            m.d.comb += [token.now.eq(1), token.before.eq(1)]
            with m.If(first_layer):
                m.d.comb += [
                    token.input.eq(visit.input),
                    token.first.eq(begins),
                    token.word.eq(word + visit.input),
                    token.now.eq(visit.now),
                    token.before.eq(visit.before),
                ]

        # What comes behind a group, known before its last token: it has two or more, and what
        # decides is right from the first one on.
        repeats, advances, finishes = Signal(), Signal(), Signal()
        again = ~both & ~second & self.passes[1] & ~self.flush
        m.d.sync += [
            repeats.eq(last_group & again),
            advances.eq(last_group & ~again),
            finishes.eq(last_group & ~again & (layer == depth - 1)),
        ]
        # In the clock without a token there is time to end.
        ended = Signal()
        m.d.sync += ended.eq(0)
        with m.If(ended):
            m.d.sync += self.busy.eq(0)
        with m.If(waiting):
            m.d.sync += wait.eq(wait + 1)
        with m.If(leaving != 0):
            m.d.sync += leaving.eq(leaving - 1)
        with m.If(self.valid):
            m.d.sync += [
                j.eq(j + 1),
                at_bias.eq(j == of_layer([n - 1 for n in net.layers[:-1]])),
                word.eq(word + 1),
            ]
            if skips:
                with m.If(first_layer):
                    width = net.layers[0] + 1
                    m.d.sync += [j.eq(0), at_bias.eq(0), word.eq(word + Mux(is_bias, width, 0))]
        with m.If(ends):
            m.d.sync += [
                j.eq(0),
                group.eq(group + 1),
                group_in_layer.eq(group_in_layer + 1),
            ]
            # Values of two passes: a full turn of the ring, then those of the second.
            with m.If(~self.flush):
                turn = Mux(pass_bits.all(), cfg.lanes, 0)
                in_last = of_layer([cfg.active(k, cfg.groups[k] - 1) for k in range(depth)])
                active = Mux(last_group, in_last, cfg.lanes)
                m.d.sync += leaving.eq(active + turn - 1)
            with m.If(last_group):
                m.d.sync += group_in_layer.eq(0)
            with m.If(repeats):
                m.d.sync += [
                    first_pass_done.eq(1),
                    wait.eq(Array([Const(-n, wait.shape()) for n in waits])[layer]),
                    word.eq(of_layer(cfg.first_word)),
                    group.eq(of_layer(cfg.first_group)),
                ]
            with m.If(advances):
                m.d.sync += [first_pass_done.eq(0), layer.eq(layer + 1)]
            # All is then as the next sweep needs it.
            with m.If(finishes):
                m.d.sync += [ended.eq(1), layer.eq(0), word.eq(0), group.eq(0)]
        with m.If(self.start):
            m.d.sync += self.busy.eq(1)
        return m
