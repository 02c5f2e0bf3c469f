"""Sums over the outputs of a function of y − T: the common part of mean squared error and L1."""

from __future__ import annotations

from amaranth import Const, Module, Mux, Signal, signed, unsigned

from mgd.golden_model.network import ACT_BITS, Network
from mgd.rtl.lib.adder_tree import add_tree, tree_latency
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.piecewise import rescaled
from mgd.rtl.units.costs.base import ParallelCost, StreamedCost

ERROR_BITS = ACT_BITS + 1
"""Width of y − T, signed."""


class Term:
    """The function of an error, for the units of both kinds of core."""

    TERM_BITS: int
    """Its width, unsigned."""
    TERM_FRAC: int
    """Its fraction bits."""

    @staticmethod
    def term(m: Module, error, difference, *, dsp: bool, enable=1):
        """The term of a `difference`, in a register 2 clocks later; `error` is the register that
        holds the difference in the clock between.  Clocks with `enable` low do not count."""
        raise NotImplementedError

    @classmethod
    def total_bits(cls, network: Network) -> int:
        """Width of the sum of all terms, unsigned."""
        return (network.outputs << cls.TERM_BITS).bit_length()


def target(network: Network, label, node):
    """T of output number `node`, a signal or a number.

    Target values stand side by side in `label`; they are stable as long as a label is.
    """
    if network.regression:
        if network.outputs == 1:
            return label.as_signed()
        return label.word_select(node, ACT_BITS).as_signed()
    return Mux(
        label == (1 if network.outputs == 1 else node),
        Const(network.target_high, signed(ACT_BITS)),
        Const(network.target_low, signed(ACT_BITS)),
    )


class ErrorSum(Term, StreamedCost):
    """Σ term(y − T), exact, rounded once: error (1), term (1), sum (1), rounding (1)."""

    latency = 4

    def cost_of(self, m: Module, enable, stages):
        net, p = self.network, self.i.payload
        expected = target(net, self.label, p.node)
        error, difference = Signal(signed(ERROR_BITS)), Signal(signed(ERROR_BITS))
        m.d.comb += difference.eq(p.value - expected)
        term = self.term(m, error, difference, dsp=self.dsp, enable=enable)
        total, cost = Signal(self.total_bits(net)), Signal(unsigned(net.cost_bits))
        with m.If(enable):
            m.d.sync += [
                error.eq(difference),
                cost.eq(rescaled(total, self.TERM_FRAC, net.cost_frac)),
            ]
            # A term is 2 clocks behind its output.  The first one begins a new sum, so that passes
            # need no clock between them.
            with m.If(stages[2].valid):
                m.d.sync += total.eq(Mux(stages[2].first, 0, total) + term)
        return cost


class ParallelErrorSum(Term, ParallelCost):
    """The same sum over all outputs at once."""

    @classmethod
    def latency_of(cls, network: Network) -> int:
        # Errors, terms, their sum, rounding; the class is found meanwhile.
        return max(2 + tree_latency(network.outputs) + 1, (network.outputs - 1).bit_length())

    def elaborate(self, platform):
        m = Module()
        net = self.network
        values = [self.values[k] for k in range(net.outputs)]
        terms = []
        for k, value in enumerate(values):
            expected = target(net, self.label, k)
            difference = Signal(signed(ERROR_BITS), name=f"difference_{k}")
            error = Signal.like(difference, name=f"error_{k}", reset_less=True)
            m.d.comb += difference.eq(value - expected)
            m.d.sync += error.eq(difference)
            terms.append(self.term(m, error, difference, dsp=self.dsp))
        total = add_tree(m, terms, self.total_bits(net) + 1)
        cost = Signal.like(self.cost)
        m.d.sync += cost.eq(rescaled(total, self.TERM_FRAC, net.cost_frac))
        # With many outputs the class is found later than the cost, which then waits for it.
        m.d.comb += self.cost.eq(delayed(m, cost, self.latency - 3 - tree_latency(net.outputs)))
        self._category(m, values)
        return m
