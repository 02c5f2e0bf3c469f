"""The common part of all cost units: their ports, and the class of a pass's outputs.

A folded core sends the outputs of a pass one after the other (Cost), a spatial one all at once
(ParallelCost).
"""

from __future__ import annotations

from amaranth import Const, Module, Mux, Shape, Signal, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from mgd.golden_model.costs.cross_entropy import exp_sum_bits
from mgd.golden_model.formats import round_half_up
from mgd.golden_model.network import ACT_BITS, Network, signed_bits
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.unit import Unit

RESULT_IN = 3
"""Clocks from `result_in_3` to the result."""


def label_shape(network: Network) -> Shape | range:
    """A sample's label; the targets of all outputs side by side, the first in the lowest bits,
    where it has these instead."""
    return unsigned(network.label_bits) if network.regression else range(network.classes)


def is_correct(network: Network, category, label):
    """Whether a class is the label.  Of samples with target values none is correct."""
    return Const(0, 1) if network.regression else category == label


def result_layout(network: Network, cost: Shape | None = None) -> data.StructLayout:
    """cost: 2^-cost_frac units, of the given shape or of an exact cost's; category: the class;
    second: it is the second pass's."""
    return data.StructLayout(
        {
            "cost": unsigned(network.cost_bits) if cost is None else cost,
            "category": range(network.classes),
            "second": 1,
        }
    )


class Cost(Unit):
    """Common ports of the cost units.  latency: clocks from a pass's last output to its result.

    i: the outputs of one pass in the order of their numbers, {value, node, second, last};
    o: {cost, category, second} once per pass.  `result_in_3` is high for one clock,
    RESULT_IN clocks before the result of a second pass is offered.  `label` is stable from the
    first value to `result_in_3`, or to the result of a first pass.  `dsp`: the multiplier may be a
    DSP block; `registered`: that is followed by a register more.
    `shared_tables`, of the cross-entropy alone: there is no multiplier, but a
    rtl.lib.piecewise.SharedTables is asked at `table_position`, from the clock after the last
    output to the clock before the result.
    """

    def __init__(
        self,
        network: Network,
        *,
        dsp: bool = True,
        registered: bool = False,
        shared_tables: bool = False,
    ) -> None:
        self.network, self.dsp, self.shared_tables = network, dsp, shared_tables
        self.registered = registered
        self.latency = self.latency_of(network, dsp, registered)
        self.position_bits = exp_sum_bits(network) - 1
        tables = {
            "table_position": Out(self.position_bits),
            "table_logarithm": Out(1),
            "table_value": In(signed(ACT_BITS)),
        }
        self.value_bits = value_bits(network)
        bits = network.pre_bits if network.reads_sums else ACT_BITS
        super().__init__(
            {
                "label": In(label_shape(network)),
                "i": In(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "value": signed(bits),
                                "node": range(max(network.outputs, 2)),
                                "second": 1,
                                "last": 1,
                            }
                        )
                    )
                ),
                "o": Out(stream.Signature(result_layout(network))),
                "result_in_3": Out(1),
                **(tables if shared_tables else {}),
            }
        )

    @staticmethod
    def spacing(network: Network, dsp: bool = True, registered: bool = False) -> int:
        """Clocks from a pass's last output to that of the next, for the latency to hold again."""
        raise NotImplementedError

    @staticmethod
    def product(network: Network) -> tuple[int, int] | None:
        """Widths of the factors of its multiplier; None where it has none."""
        return None

    def _largest(self, m: Module, transfer, value):
        """Registers with the largest value so far and its number (lowest of equal ones).

        They follow the values that arrive while `transfer` is high, a clock later.  The third
        result: whether a value that is arriving is the largest.
        """
        highest = Signal(signed(self.value_bits))
        category = Signal(range(self.network.classes))
        node, larger, first = self.i.payload.node, Signal(), Signal(init=1)
        # In this order the comparison is the carry of a subtraction, without a LUT behind it.
        m.d.comb += larger.eq(first | (highest < value))
        with m.If(transfer):
            m.d.sync += first.eq(self.i.payload.last)
        with m.If(transfer & larger):
            m.d.sync += [highest.eq(value), category.eq(node)]
        return highest, category, larger


class StreamedCost(Cost):
    """A cost that follows its outputs `latency` clocks behind the last one.  Passes may follow each
    other without a gap; a result that waits stops the whole pipeline."""

    @classmethod
    def spacing(cls, network: Network, dsp: bool = True, registered: bool = False) -> int:
        return network.outputs

    def cost_of(self, m: Module, enable, stages):
        """The cost, in a register, in the clock in which stages[latency] `ends` a pass.

        stages[k] marks the output of k clocks ago, not counting those with `enable` low:
        `valid`, `first` and `ends` of a pass.
        """
        raise NotImplementedError

    def elaborate(self, platform):
        m = Module()
        net, p = self.network, self.i.payload
        enable, transfer = Signal(), Signal()
        m.d.comb += [
            enable.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(enable),
            transfer.eq(self.i.valid & enable),
        ]
        value = p.value[: self.value_bits].as_signed()
        if net.outputs == 1:
            category = single_category(net, value)
        else:
            _, category_so_far, larger = self._largest(m, transfer, value)
            category = Mux(larger, p.node, category_so_far)
        current = Signal(
            data.StructLayout(
                {"valid": 1, "first": 1, "ends": 1, "category": range(net.classes), "second": 1}
            )
        )
        m.d.comb += [
            current.valid.eq(transfer),
            current.first.eq(p.node == 0),
            # Only with a transfer: an output that waits must not end its pass twice.
            current.ends.eq(transfer & p.last),
            current.category.eq(category),
            current.second.eq(p.second),
        ]
        stages = [current]
        with m.If(enable):
            for number in range(1, self.latency + 1):
                stage = Signal(current.shape(), name=f"stage_{number}")
                m.d.sync += stage.eq(stages[-1])
                stages.append(stage)
        announced = stages[self.latency - RESULT_IN]
        m.d.comb += [
            self.result_in_3.eq(announced.ends & announced.second),
            self.o.valid.eq(stages[-1].ends),
            self.o.payload.cost.eq(self.cost_of(m, enable, stages)),
            self.o.payload.category.eq(stages[-1].category),
            self.o.payload.second.eq(stages[-1].second),
        ]
        return m


class ParallelCost(Unit):
    """Common ports: the outputs' `values` and the sample's `label` enter, `cost` (units of
    2^-cost_frac) and `category`, the class, leave `latency` clocks later."""

    def __init__(self, network: Network, *, dsp: bool) -> None:
        self.network, self.dsp = network, dsp
        self.latency = self.latency_of(network)
        super().__init__(
            {
                "values": In(data.ArrayLayout(signed(value_bits(network)), network.outputs)),
                "label": In(label_shape(network)),
                "cost": Out(unsigned(network.cost_bits)),
                "category": Out(range(network.classes)),
            }
        )

    @staticmethod
    def products(network: Network) -> int:
        """Multipliers."""
        return 0

    def _category(self, m: Module, values) -> None:
        """`category`, from the values, in the clock of the cost."""
        if len(values) == 1:
            category, clocks = single_category(self.network, values[0]), 0
        else:
            _, category, clocks = largest(m, values)
        m.d.comb += self.category.eq(delayed(m, category, self.latency - clocks))


def value_bits(network: Network) -> int:
    """Width of the value of an output that a cost reads: its pre-activation or its activation."""
    bound = network.output_bound
    return signed_bits(-bound, bound) if network.reads_sums else ACT_BITS


def single_category(network: Network, value):
    """The class that a single output says, as golden_model.costs.classify."""
    if network.reads_sums:
        return ~value[-1]
    return value >= round_half_up(network.target_low + network.target_high, 1)


def largest(m: Module, values):
    """(the largest, its number, clocks), the lowest number of equal ones, a clock per level."""
    found = [(value, Const(k, range(len(values)))) for k, value in enumerate(values)]
    clocks = 0
    while len(found) > 1:
        next_level = []
        for pair in (found[k : k + 2] for k in range(0, len(found), 2)):
            value = Signal(pair[0][0].shape(), name="highest")
            number = Signal(range(len(values)), name="category")
            (first, number_first), (second, number_second) = pair[0], pair[-1]
            # An odd one out has a register too, so that all of a level are of the same clock.  A
            # later one must be larger, not equal: the lowest number stays.
            later = first < second if len(pair) == 2 else Const(0)
            m.d.sync += [
                value.eq(Mux(later, second, first)),
                number.eq(Mux(later, number_second, number_first)),
            ]
            next_level.append((value, number))
        found = next_level
        clocks += 1
    return *found[0], clocks
