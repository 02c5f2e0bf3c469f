"""Momentum and weight decay in a lane, beside the plain descent step.

golden_model.update.error_feedback.ErrorFeedback in gates, with k = momentum_exp and λ = decay_exp
as build constants.  A core for neither has no gate of this, and one for decay takes decay_clocks()
more to a new weight.
"""

from __future__ import annotations

from amaranth import Const, Module, Signal, signed

from mgd.golden_model.network import SHIFT_MIN
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.lib.arithmetic import add_or_subtract, add_with_carry


def decay_clocks(config: CoreConfig) -> int:
    """Clocks from decayed()'s `gradient` to its result."""
    return 1 if config.variant.decay_exp else 0


def decayed(m: Module, config: CoreConfig, gradient, weight, applies, shift_right):
    """G + ⌊W·2^(S−λ) + ½⌋ where `applies` is high, else G.

    `weight` and `applies` come a clock before `gradient`; shift_right is S − SHIFT_MIN.
    """
    net, by = config.network, config.variant.decay_exp
    if not by:
        return gradient
    shift = shift_right[: (net.shift_max - SHIFT_MIN).bit_length()]
    # ⌊W·2^(S−λ+1)⌋, whose lowest bit rounds.
    twice = Signal(signed(net.gradient_bits + 1))
    with m.If(applies):
        m.d.sync += twice.eq((weight << shift) >> (by - SHIFT_MIN - 1))
    with m.Else():
        m.d.sync += twice.eq(0)
    total = Signal(signed(net.gradient_bits))
    m.d.sync += total.eq(add_with_carry(gradient, twice[1:].as_signed(), twice[0]))
    return total


def applied_change(config: CoreConfig, whole):
    """q = ⌊G·2^-(S+k)⌋ of `whole` = ⌊G·2^-S⌋."""
    k = config.variant.momentum_exp
    return whole[k:].as_signed() if k else whole


def remaining_gradient(m: Module, config: CoreConfig, gradient, residual_mask):
    """G − q·2^S.  residual_mask: 1 for each bit of G below 2^S.

    For k > 0, where S >= 0, q·2^S is ⌊G·2^-k⌋ without the bits below 2^S.
    """
    k = config.variant.momentum_exp
    if not k:
        return gradient & residual_mask
    applied = Signal(signed(config.network.gradient_bits))
    m.d.comb += applied.eq((gradient >> k) & ~residual_mask)
    return add_or_subtract(gradient, applied, Const(1))
