"""The shape of a network and the widths of every number that follow from it.

A :class:`Network` is fixed when a core is built.  Step size, time constants and method, which may
change while a core exists, are in :mod:`golden_model.settings`.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property

from mgd.golden_model import rules
from mgd.golden_model.activations import ACTIVATIONS, UNIT_ACTIVATIONS
from mgd.golden_model.costs import COSTS, KINDS, Cost
from mgd.golden_model.declaration import Choice, Flag, Whole, declarations, declare
from mgd.golden_model.formats import ACT_BITS, ACT_FRAC, ACT_MAX, ACT_MIN, ONE
from mgd.golden_model.limits import DELTA_EXP_MAX, SHIFT_MIN, TAU_MAX

__all__ = [
    "ACTIVATIONS",
    "ACT_BITS",
    "ACT_FRAC",
    "ACT_MAX",
    "ACT_MIN",
    "DELTA_EXP_MAX",
    "ONE",
    "ROUND_BITS",
    "SHIFT_MIN",
    "TAU_MAX",
    "UNIT_ACTIVATIONS",
    "Network",
    "signed_bits",
]

ROUND_BITS = 8
"""Random bits per stochastic rounding."""


def signed_bits(low: int, high: int) -> int:
    """Width of the two's complement number that holds every integer of [low, high].

    low <= 0 <= high.
    """
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1


@dataclass(frozen=True)
class Network:
    """A dense network and its number formats.

    Raises UserError where a field is out of range or two fields contradict each other.
    """

    layers: tuple[int, ...]
    """Nodes per layer, inputs first: (64, 32, 10)."""
    hidden: str = declare("tanh", Choice(ACTIVATIONS))
    """Activation of the hidden layers."""
    output: str = declare("tanh", Choice(ACTIVATIONS))
    """Activation of the output layer.  Cross-entropy reads the pre-activations instead."""
    cost: str = declare("mse", Choice(COSTS))
    weight_bits: int = declare(16, Whole(8, 18))
    """Weight width; 3 integer bits and a sign, so 16 bits are Q3.12."""
    pre_frac: int = declare(12, Whole(8, 14))
    """Fraction bits of a pre-activation."""
    cost_frac: int = declare(12, Whole(8, 16))
    """Fraction bits of the cost."""
    sample_bits: int = declare(8, Whole(1, 16))
    """Width of one input code in the sample memory."""
    sample_signed: bool = declare(False, Flag())
    """Whether input codes are two's complement."""
    target_low: int = -ONE
    """MSE target of a node whose class is not the label (activation format)."""
    target_high: int = ONE
    """MSE target of the node whose class is the label (activation format)."""
    accumulators: bool = declare(False, Flag())
    """Whether each synapse has a gradient accumulator G (needed unless tau_theta = 1)."""
    tau_theta_max: int = declare(1, Whole(1, TAU_MAX))
    """Largest tau_theta that the accumulators are wide enough for."""
    shift_max: int = declare(24, Whole(0, 32))
    """Largest update shift S (golden_model.update.shift) that the accumulators are wide enough
    for."""
    smoothing_exp: int = declare(0, Whole(0, 16), later=True)
    """Label smoothing ε = 2^-smoothing_exp of cross-entropy; 0: none."""
    targets: str = declare("class", Choice(("class", "value")), later=True)
    """class: a sample has a label, from which the targets of all outputs follow.  value: it has a
    target for each output, in activation format (regression)."""

    def __post_init__(self) -> None:
        rules.check_declared(self)
        rules.check((*rules.NETWORK, *self.cost_kind.rules), n=self)

    # -- counting ---------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Number of layers of weights."""
        return len(self.layers) - 1

    @property
    def neurons(self) -> int:
        """K: all nodes but the inputs, numbered through the whole network."""
        return sum(self.layers[1:])

    @property
    def parameters(self) -> int:
        """All weights and biases."""
        return sum((f + 1) * n for f, n in zip(self.layers, self.layers[1:], strict=False))

    @property
    def outputs(self) -> int:
        return self.layers[-1]

    @property
    def reads_sums(self) -> bool:
        """Whether the cost reads the output layer's pre-activations, not its activations."""
        return self.cost_kind.reads_sums

    @property
    def cost_kind(self) -> Cost:
        return KINDS[self.cost]

    @property
    def classes(self) -> int:
        """Number of labels: one per output node, two for a single one."""
        return max(2, self.outputs)

    @property
    def regression(self) -> bool:
        """Whether samples have target values instead of a label."""
        return self.targets == "value"

    @property
    def label_bits(self) -> int:
        """Bits of a label, or of all target values of a sample."""
        return ACT_BITS * self.outputs if self.regression else (self.classes - 1).bit_length()

    @property
    def label_words(self) -> int:
        """16-bit words of a sample record before the codes: the label, or a word per target."""
        return self.outputs if self.regression else 1

    # -- formats ----------------------------------------------------------------------------

    @property
    def weight_frac(self) -> int:
        return self.weight_bits - 4

    @property
    def weight_max(self) -> int:
        return (1 << (self.weight_bits - 1)) - 1

    @property
    def weight_min(self) -> int:
        return -(1 << (self.weight_bits - 1))

    @property
    def grid_frac(self) -> int:
        """Fraction bits a weight has inside the accumulator: δ must lie on this grid too."""
        return max(self.weight_frac, DELTA_EXP_MAX)

    @property
    def acc_frac(self) -> int:
        """Fraction bits of the multiply-accumulate sum."""
        return ACT_FRAC + self.grid_frac

    def input_bound(self, layer: int) -> int:
        """Largest |x| that can enter weight layer `layer` (0 is the first)."""
        if layer == 0 or self.hidden not in UNIT_ACTIVATIONS:
            return -ACT_MIN
        return ONE

    @cached_property
    def sum_bound(self) -> int:
        """Largest |W·x + δ·Σs·x| of any neuron, in accumulator units."""
        return max(self.layer_bound(k) for k in range(self.depth))

    def layer_bound(self, layer: int, inputs: int | None = None) -> int:
        """The same of the neurons of one layer; inputs: the largest |x|, where less is known."""
        weight = -self.weight_min << (self.grid_frac - self.weight_frac)
        delta = 1 << (self.grid_frac - 1)
        inputs = self.input_bound(layer) if inputs is None else inputs
        return (weight + delta) * (self.layers[layer] * inputs + ONE)

    @property
    def acc_bits(self) -> int:
        """Width of the sum of products in weight units (no perturbation)."""
        return signed_bits(*self._symmetric(self.sum_bound >> (self.grid_frac - self.weight_frac)))

    @property
    def sign_sum_bits(self) -> int:
        """Width of Σ s·x over the inputs and the bias of one neuron."""
        bound = max(self.layers[k] * self.input_bound(k) + ONE for k in range(self.depth))
        return signed_bits(-bound, bound)

    @property
    def sum_bits(self) -> int:
        """Width of the perturbed sum in accumulator units."""
        return signed_bits(*self._symmetric(self.sum_bound))

    @property
    def pre_shift(self) -> int:
        """Bits dropped when a sum is rounded to a pre-activation."""
        return self.acc_frac - self.pre_frac

    @property
    def pre_bits(self) -> int:
        """Width of a pre-activation."""
        return signed_bits(*self._symmetric((self.sum_bound >> self.pre_shift) + 1))

    @property
    def output_bound(self) -> int:
        """Largest |pre-activation| of an output node; those of other layers may be larger."""
        return (self.layer_bound(self.depth - 1) >> self.pre_shift) + 1

    @cached_property
    def cost_bound(self) -> int:
        """Largest cost, in units of 2^-cost_frac."""
        return self.cost_kind.bound(self)

    @property
    def cost_bits(self) -> int:
        """Width of a cost (unsigned)."""
        return self.cost_bound.bit_length()

    @property
    def delta_cost_bits(self) -> int:
        """Width of D, the cost change in units of 2^-(cost_frac+1)."""
        return signed_bits(*self._symmetric(2 * self.cost_bound))

    @property
    def product_bits(self) -> int:
        """Width of D·x."""
        return self.delta_cost_bits + ACT_BITS

    @property
    def contribution_bits(self) -> int:
        """Width of v = D·x rounded to D's unit, the term that a step adds to an accumulator."""
        return signed_bits(*self._symmetric(4 * self.cost_bound + 1))

    @cached_property
    def gradient_bound(self) -> int:
        """Largest |G|: a residual below 2^S and tau_theta contributions."""
        return (1 << self.shift_max) + self.tau_theta_max * (4 * self.cost_bound + 1)

    @property
    def gradient_bits(self) -> int:
        """Width of a gradient accumulator; 0 where the core has none."""
        if not self.accumulators:
            return 0
        return signed_bits(*self._symmetric(self.gradient_bound))

    # -- samples ----------------------------------------------------------------------------

    @property
    def codes_per_word(self) -> int:
        """Input codes in one 16-bit word of the sample memory; none lies across two words."""
        return 16 // self.sample_bits

    @property
    def sample_words(self) -> int:
        """16-bit words per sample record: the label or the targets, then the packed codes."""
        return self.label_words + -(-self.layers[0] // self.codes_per_word)

    @property
    def code_min(self) -> int:
        return -(1 << (self.sample_bits - 1)) if self.sample_signed else 0

    @property
    def code_max(self) -> int:
        return (1 << (self.sample_bits - (1 if self.sample_signed else 0))) - 1

    # -- identity ---------------------------------------------------------------------------

    def digest(self) -> str:
        """Hexadecimal SHA-256 of all fields that matter: equal digests, interchangeable cores."""
        fields = asdict(self)
        if self.reads_sums:
            # It reads the output nodes' pre-activations; there is no output activation.
            del fields["output"], fields["target_low"], fields["target_high"]
        for name, known in declarations(self).items():
            if known.later and fields[name] == known.default:
                del fields[name]
        if self.depth == 1:
            del fields["hidden"]
        text = repr(sorted(fields.items()))
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self) -> str:
        """64-32-10, as people write it."""
        return "-".join(str(n) for n in self.layers)

    @staticmethod
    def _symmetric(bound: int) -> tuple[int, int]:
        return -bound, bound
