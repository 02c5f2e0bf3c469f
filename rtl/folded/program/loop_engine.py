"""The loop engine: runs the rows of a program, one token a clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from amaranth import Array, Const, Module, Mux, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.program.rows import Mode, Program, Row, Source, Sweep


def token_layout(config: CoreConfig) -> data.StructLayout:
    """One input of one group of neurons.

    input: number within the layer's inputs; bias: the last one, 1.0; first: the first input;
    group: through the whole network; word: address in the lanes' memories; layer_0: inputs
    come from the sample; hidden: where the inputs start among the hidden activations;
    second: the second pass; lead: the first sweep of this layer in this step, on which the
    previous step's update rides.  current, previous, with skip_zeros: whether the input is not 0
    in this sample, and in the one before; 1 behind the first layer.  recall, with sums per node:
    its group's sums are the stored ones.
    """
    nonzero = {"current": 1, "previous": 1} if config.variant.skip_zeros else {}
    recall = {"recall": 1} if config.variant.by_node else {}
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
            **nonzero,
            **recall,
        }
    )


class LoopEngine(wiring.Component):
    """Issues the tokens of one step: those of rtl.folded.program.rows.Row.visits, row after row.

    `start` begins; `busy` falls a clock after the last token's.  passes (bit 0 first, bit 1 second)
    and flush (one sweep per layer, no results) are stable while busy, and choose the program's
    Mode; so does recall, with sums per node.  A token is issued whenever `valid` is high;
    `pass_mask` has a bit per pass that the token's group has results for.

    It waits where a token needs an activation of the previous layer that is not there yet:
    `activation_written` has a bit per pass, high for a clock when the next one in order is being
    written, so that the token may follow in the next clock.  And it waits before a group's last
    token, so that the previous group has left the lanes' output registers when this one's sums get
    there: two last tokens are as far apart as the first one's values take to leave, one a clock.
    No token is issued in the clock after a group's last one: the lanes take their sums in it, and
    here the next row is looked up.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.program = Program.of(config)
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "passes": In(2),
                "flush": In(1),
                "activation_written": In(2),
                "valid": Out(1),
                "token": Out(token_layout(config)),
                "pass_mask": Out(2),
                **({"recall": In(1)} if config.variant.by_node else {}),
                **self._ports(),
            }
        )

    def elaborate(self, platform):
        m = Module()
        token = self.token
        group_in_row = Signal(range(max(self.config.groups)))
        j, word, group = Signal.like(token.input), Signal.like(token.word), Signal.like(token.group)
        is_bias, first_group, reads_sample = Signal(), Signal(), Signal()
        # A group's last token; the last one of a row.
        ends, ends_row = Signal(), Signal()
        row, next_row = self._rows(m, ends_row)
        # In a register: it is asked for at a group's last token, and a group has two or more.
        last_group = Signal()
        m.d.sync += last_group.eq(group_in_row == self._field(row, lambda r: r.groups - 1))
        m.d.comb += [
            ends_row.eq(ends & last_group),
            first_group.eq(group_in_row == 0),
            reads_sample.eq(self._field(row, lambda r: r.source is Source.SAMPLE)),
        ]
        # By the count of inputs.
        at_bias = Signal()
        m.d.comb += is_bias.eq(self._is_bias(reads_sample, at_bias))
        # The row changes behind a group's last token, and then there is a clock without any: time
        # for a register.  Only where a mode begins with a second pass there is none.
        second, is_second = Signal(), self._field(row, lambda r: r.passes == 2)
        one_entry = len(set(self.program.entry.values())) == 1
        m.d["sync" if one_entry else "comb"] += second.eq(is_second)
        # Reads the activations of the row before as they come: the first group does; all are there
        # when the next group asks.
        follows = Signal()
        m.d.sync += follows.eq(first_group & self._field(row, lambda r: r.follows) & ~self.flush)
        m.d.comb += self.pass_mask.eq(self._field(row, lambda r: r.passes) & self.passes)

        # A clock in which the lanes' sums are taken and cleared, behind a group's last token.
        pauses = Signal()
        m.d.sync += pauses.eq(ends)
        waiting = self._turnaround(m, next_row, ends_row)
        in_last = self._field(row, lambda r: r.last_active)
        active = Mux(last_group, in_last, self.config.lanes)
        free = self._ring(m, ends, active)
        running = self.busy & ~pauses
        available = self._available(m, second, follows & ~is_bias & running & ~waiting)
        may_issue = Signal()
        # A flush begins when the lanes are free, and nothing of its own keeps it waiting.
        with m.If(is_bias):
            m.d.comb += may_issue.eq(free)
        with m.Else():
            m.d.comb += may_issue.eq((~follows | available) & ~waiting)
        self._issue(m, reads_sample, is_bias, running, may_issue, free, waiting, ends)
        m.d.comb += [
            token.input.eq(j),
            token.first.eq(j == 0),
            token.bias.eq(is_bias),
            token.group.eq(group),
            token.word.eq(word),
            token.layer_0.eq(reads_sample),
            token.hidden.eq(self._field(row, lambda r: r.base)),
            token.second.eq(second),
            token.lead.eq(self._field(row, lambda r: r.lead)),
        ]
        if self.config.variant.by_node:
            m.d.comb += token.recall.eq(self._field(row, lambda r: r.sweep is Sweep.RECALL))

        # The loops: inputs, groups, rows.
        word_stride = self._field(row, lambda r: r.word_stride)
        to_next_group = self._field(row, lambda r: r.group_stride - r.inputs * r.word_stride)
        with m.If(self.valid):
            m.d.sync += [
                j.eq(j + 1),
                at_bias.eq(j == self._field(row, lambda r: r.inputs - 1)),
                word.eq(word + Mux(is_bias, to_next_group, word_stride)),
            ]
        self._inner_loop(m, row, reads_sample, is_bias, j, at_bias, word)
        with m.If(ends):
            m.d.sync += [j.eq(0), group.eq(group + 1), group_in_row.eq(group_in_row + 1)]
        with m.If(ends_row):
            m.d.sync += [
                group_in_row.eq(0),
                word.eq(self._field(next_row, lambda r: r.first_word)),
                group.eq(self._field(next_row, lambda r: r.first_group)),
            ]
        return m

    # -- the inner loop, which rtl.folded.program.visit_engine replaces ---------------------------

    def _ports(self) -> dict[str, wiring.Member]:
        """More ports."""
        return {}

    def _is_bias(self, reads_sample, at_bias):
        """Whether the token is its group's last one."""
        return at_bias

    def _issue(self, m, reads_sample, is_bias, running, may_issue, free, waiting, ends) -> None:
        # `ends` is `valid` where the token is a last one: `free` alone decides that, which is
        # there sooner than the rest of `may_issue`.
        m.d.comb += [self.valid.eq(running & may_issue), ends.eq(is_bias & free & running)]

    def _inner_loop(self, m, row, reads_sample, is_bias, j, at_bias, word) -> None:
        """What else counts inputs."""

    # -- parts --------------------------------------------------------------------------------

    def _field(self, row, of: Callable[[Row], int]):
        """A number of the row with this number: a constant where all rows have the same."""
        values = [int(of(one)) for one in self.program.rows]
        shape = Shape.cast(range(min(values), max(max(values) + 1, 2)))
        constants = [Const(value, shape) for value in values]
        return constants[0] if len(set(values)) == 1 else Array(constants)[row]

    def _rows(self, m: Module, ends_row):
        """The number of the row under way, and of the one behind it, 0 behind the last one: right
        from the second token of a row on.  A step leaves row 0 here, for the next one."""
        rows = self.program.rows
        state, row, next_row = (Signal(range(len(rows)), name=n) for n in ("state", "row", "next"))
        is_mode = {
            Mode.TWO_PASSES: self.passes.all() & ~self.flush,
            Mode.ONE_PASS: ~self.passes[1] & ~self.flush,
            Mode.SECOND_ONLY: ~self.passes[0] & ~self.flush,
            Mode.FLUSH: self.flush,
        }
        if self.config.variant.by_node:
            recalls = self.recall & ~self.flush
            is_mode |= {
                Mode.TWO_PASSES: self.passes.all() & ~self.flush & ~self.recall,
                Mode.RECALLED_TWO: self.passes[0] & recalls,
                Mode.RECALLED_SECOND: ~self.passes[0] & recalls,
            }

        def by_mode(numbers: Mapping[Mode, int | None]):
            """The number for the mode that runs; modes that have the most common one are not asked
            for."""
            found = [number or 0 for number in numbers.values()]
            common = max(found, key=found.count)
            chosen = Const(common, len(row))
            for mode, number in numbers.items():
                if (number or 0) != common:
                    chosen = Mux(is_mode[mode], number or 0, chosen)
            return chosen

        # The mode is there with the first token, and not before.
        entry = by_mode(self.program.entry)
        m.d.comb += row.eq(state if isinstance(entry, Const) else Mux(state == 0, entry, state))
        m.d.sync += next_row.eq(Array([by_mode(one.after) for one in rows])[row])
        # In the clock without a token there is time to end.
        ended = Signal()
        m.d.sync += ended.eq(ends_row & (next_row == 0))
        with m.If(ended):
            m.d.sync += self.busy.eq(0)
        with m.If(ends_row):
            m.d.sync += state.eq(next_row)
        with m.If(self.start):
            m.d.sync += self.busy.eq(1)
        return row, next_row

    def _turnaround(self, m: Module, next_row, ends_row):
        """Whether the row's first token would read a weight before it is written: where a row
        visits its weights again, for what its own length does not cover."""
        waits = [row.wait for row in self.program.rows]
        if not any(waits):
            return Const(0)
        # Counted up to 0: the sign tells without a comparison whether there are any left.
        wait = Signal(range(-max(waits), 1))
        with m.If(wait[-1]):
            m.d.sync += wait.eq(wait + 1)
        with m.If(ends_row):
            m.d.sync += wait.eq(self._field(next_row, lambda row: -row.wait))
        return wait[-1]

    def _ring(self, m: Module, ends, active):
        """Whether the lanes' output registers will be free for a group that ends now; `active` of
        them are read for the group that `ends` is high for, once for each of its passes."""
        lanes = self.config.lanes
        leaving = Signal(range(2 * lanes))
        # In the clock after a bias token this is not right yet, but no other bias token comes as
        # soon as that.
        free = Signal()
        m.d.sync += free.eq(leaving <= 1)
        with m.If(leaving != 0):
            m.d.sync += leaving.eq(leaving - 1)
        # Values of two passes: a full turn of the ring, then those of the second.
        turn = Mux(self.pass_mask.all(), lanes, 0)
        with m.If(ends & ~self.flush):
            m.d.sync += leaving.eq(active + turn - 1)
        return free

    def _available(self, m: Module, second, may_read):
        """Whether an activation of the token's pass is there that was not read yet; one is read
        where `may_read` is high: that is known sooner than `valid`."""
        counts = Signal(2)
        """Per pass: its count is not 0."""
        most = max(self.config.network.layers[1:-1], default=0)
        for k in range(2):
            count = Signal(range(most + 1), name=f"available_{k}")
            may_use, used, changes = Signal(), Signal(), Signal()
            m.d.comb += [
                may_use.eq(may_read & (second == k)),
                used.eq(may_use & counts[k]),
                changes.eq(self.activation_written[k] ^ used),
            ]
            # All that came are read before a sweep ends, so the next one starts at 0.
            with m.If(changes):
                m.d.sync += [
                    count.eq(Mux(used, count - 1, count + 1)),
                    counts[k].eq(~used | (count != 1)),
                ]
        return counts.bit_select(second, 1)
