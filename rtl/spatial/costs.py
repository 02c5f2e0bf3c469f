"""Cost and class of all outputs at once, one result a clock."""

from __future__ import annotations

from amaranth import Array, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.costs import exp_sum_bits
from golden_model.formats import round_half_up
from golden_model.network import ACT_BITS, ACT_FRAC, Network, signed_bits
from golden_model.tables import EXP2, LOG2, TABLE_FRAC
from rtl.delay import delayed
from rtl.piecewise import LATENCY as TABLE_LATENCY
from rtl.piecewise import interpolate, rescaled
from rtl.product import product
from rtl.spatial.tree import add_tree, tree_latency


class ParallelCost(wiring.Component):
    """Common ports: the outputs' `values` and the sample's `label` enter, `cost` (units of
    2^-cost_frac) and `category`, the class, leave latency_of() clocks later."""

    def __init__(self, network: Network, *, dsp: bool) -> None:
        self.network, self.dsp = network, dsp
        bits = value_bits(network)
        super().__init__(
            {
                "values": In(data.ArrayLayout(signed(bits), network.outputs)),
                "label": In(range(network.classes)),
                "cost": Out(unsigned(network.cost_bits)),
                "category": Out(range(network.classes)),
            }
        )


class ParallelSquaredError(ParallelCost):
    """Equals golden_model.costs.mse."""

    @staticmethod
    def latency_of(network: Network) -> int:
        # Errors, squares, their sum, rounding; the class is found meanwhile.
        return max(2 + tree_latency(network.outputs) + 1, (network.outputs - 1).bit_length())

    def elaborate(self, platform):
        m = Module()
        net = self.network
        values = [self.values[k] for k in range(net.outputs)]
        squares = []
        for k, value in enumerate(values):
            target = Mux(
                self.label == (k + (net.outputs == 1)),
                Const(net.target_high, signed(ACT_BITS)),
                Const(net.target_low, signed(ACT_BITS)),
            )
            difference = Signal(signed(ACT_BITS + 1), name=f"difference_{k}")
            error = Signal.like(difference, name=f"error_{k}", reset_less=True)
            m.d.comb += difference.eq(value - target)
            m.d.sync += error.eq(difference)
            squares.append(product(m, error, difference, dsp=self.dsp))
        total = add_tree(m, squares, (net.outputs << (2 * ACT_BITS + 2)).bit_length() + 1)
        cost, latency = Signal.like(self.cost), self.latency_of(net)
        m.d.sync += cost.eq(rescaled(total, 2 * ACT_FRAC, net.cost_frac))
        m.d.comb += self.cost.eq(delayed(m, cost, latency - 3 - tree_latency(net.outputs)))
        if net.outputs == 1:
            middle = round_half_up(net.target_low + net.target_high, 1)
            category = values[0] >= middle
            m.d.comb += self.category.eq(delayed(m, category, latency))
        else:
            _, category, clocks = largest(m, values)
            m.d.comb += self.category.eq(delayed(m, category, latency - clocks))
        return m


class ParallelCrossEntropy(ParallelCost):
    """Equals golden_model.costs.cross_entropy."""

    @staticmethod
    def latency_of(network: Network) -> int:
        # The largest, distances, table, shift, sum, logarithm.
        outputs = network.outputs
        found = (outputs - 1).bit_length()
        return found + 1 + TABLE_LATENCY + 1 + 1 + tree_latency(outputs) + TABLE_LATENCY + 1

    def elaborate(self, platform):
        m = Module()
        net = self.network
        values = [self.values[k] for k in range(net.outputs)]
        top, category, clocks = largest(m, values)
        bits = value_bits(net)
        distances, terms = [], []
        for k, value in enumerate(values):
            distance = Signal(unsigned(bits), name=f"distance_{k}")
            m.d.sync += distance.eq(top - delayed(m, value, clocks))
            distances.append(distance)
            power, term = Signal(unsigned(TABLE_FRAC + 1)), Signal(unsigned(TABLE_FRAC + 1))
            m.d.sync += power.eq(interpolate(m, [EXP2], distance[: net.pre_frac], dsp=self.dsp))
            # Shifts of TABLE_FRAC + 1 and more leave nothing.
            whole = Signal(4, name=f"whole_{k}")
            assert (1 << len(whole)) - 1 == TABLE_FRAC + 1
            far = distance[net.pre_frac + len(whole) :].any()
            m.d.comb += whole.eq(distance[net.pre_frac :] | far.replicate(len(whole)))
            m.d.sync += term.eq(power >> delayed(m, whole, TABLE_LATENCY + 1))
            terms.append(term)
        label = delayed(m, self.label, clocks + 1)
        margin = Signal(unsigned(bits))
        m.d.sync += margin.eq(Array(distances)[label])

        width = exp_sum_bits(net)
        total = add_tree(m, terms, width + 1)[:width]
        position, exponent = Signal(width - 1), Signal(range(width - TABLE_FRAC))
        for k in range(TABLE_FRAC, width):
            with m.If(total[k:] == 1):
                m.d.comb += [position.eq(total[:k] << (width - 1 - k)), exponent.eq(k - TABLE_FRAC)]
        found = interpolate(m, [LOG2], position, dsp=self.dsp)
        # All that is known before the table's value, and a half to round with.  The margin is a
        # whole number of the cost's units: rounding the sum rounds the logarithm alone.
        cut = max(TABLE_FRAC - net.cost_frac, 0)
        late = TABLE_LATENCY + 2 + tree_latency(net.outputs) + TABLE_LATENCY - 2
        known = Signal(unsigned(net.cost_bits + cut))
        m.d.sync += known.eq(
            (delayed(m, margin, late) << (TABLE_FRAC - net.pre_frac))
            + ((delayed(m, exponent, TABLE_LATENCY - 1) << TABLE_FRAC) | (1 << cut >> 1))
        )
        m.d.sync += self.cost.eq((known + found) >> cut << max(net.cost_frac - TABLE_FRAC, 0))
        m.d.comb += self.category.eq(delayed(m, category, self.latency_of(net) - clocks))
        return m


def largest(m: Module, values):
    """(the largest, its number, clocks), the lowest number of equal ones, a clock per level."""
    found = [(value, Const(k, range(len(values)))) for k, value in enumerate(values)]
    clocks = 0
    while len(found) > 1:
        following = []
        for pair in (found[k : k + 2] for k in range(0, len(found), 2)):
            value = Signal(pair[0][0].shape(), name="highest")
            number = Signal(range(len(values)), name="category")
            (first, number_first), (second, number_second) = pair[0], pair[-1]
            later = second > first if len(pair) == 2 else Const(0)
            m.d.sync += [
                value.eq(Mux(later, second, first)),
                number.eq(Mux(later, number_second, number_first)),
            ]
            following.append((value, number))
        found = following
        clocks += 1
    return *found[0], clocks


def parallel_cost(network: Network, *, dsp: bool) -> ParallelCost:
    """The cost unit of a network; `dsp`: its multipliers may be DSP blocks."""
    return _kind(network)(network, dsp=dsp)


def cost_latency(network: Network) -> int:
    """Clocks from the outputs to their cost."""
    return _kind(network).latency_of(network)


def value_bits(network: Network) -> int:
    """Width of what a cost reads of an output: its pre-activation or its activation."""
    if network.cost == "cross_entropy":
        return signed_bits(-network.output_bound, network.output_bound)
    return ACT_BITS


def _kind(network: Network):
    return ParallelCrossEntropy if network.cost == "cross_entropy" else ParallelSquaredError
