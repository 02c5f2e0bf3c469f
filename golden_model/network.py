"""The shape of a network and the widths of every number that follow from it.

A :class:`Network` is what is fixed when a core is built.  What may change while a core
exists (step size, time constants, method) is in :mod:`golden_model.settings`.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property

from mgd.golden_model.costs import COSTS, KINDS, Cost
from mgd.golden_model.errors import UserError
from mgd.golden_model.formats import ACT_BITS, ACT_FRAC, ACT_MAX, ACT_MIN, ONE

TAU_MAX = (1 << 16) - 1
"""Largest time constant, in steps."""
DELTA_EXP_MAX = 12
"""Largest exponent d of the perturbation size δ = 2^-d that every core accepts."""
SHIFT_MIN = -4
"""Smallest update shift S (see Settings.shift); negative means a left shift."""
ROUND_BITS = 8
"""Random bits per stochastic rounding."""

ACTIVATIONS = ("tanh", "relu", "identity", "sigmoid", "leaky_relu", "hard_tanh")
UNIT_ACTIVATIONS = ("tanh", "sigmoid", "hard_tanh")
"""Those that stay within −1 … 1."""


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
    hidden: str = "tanh"
    """Activation of the hidden layers."""
    output: str = "tanh"
    """Activation of the output layer.  Cross-entropy reads the pre-activations instead."""
    cost: str = "mse"
    weight_bits: int = 16
    """Weight width; 3 integer bits and a sign, so 16 bits are Q3.12."""
    pre_frac: int = 12
    """Fraction bits of a pre-activation."""
    cost_frac: int = 12
    """Fraction bits of the cost."""
    sample_bits: int = 8
    """Width of one input code in the sample memory."""
    sample_signed: bool = False
    """Whether input codes are two's complement."""
    target_low: int = -ONE
    """MSE target of a node whose class is not the label (activation format)."""
    target_high: int = ONE
    """MSE target of the node whose class is the label (activation format)."""
    accumulators: bool = False
    """Whether each synapse has a gradient accumulator G (needed unless tau_theta = 1)."""
    tau_theta_max: int = 1
    """Largest tau_theta that the accumulators are wide enough for."""
    shift_max: int = 24
    """Largest update shift S (see Settings.shift) that the accumulators are wide enough for."""
    smoothing_exp: int = 0
    """Label smoothing ε = 2^-smoothing_exp of cross-entropy; 0: none."""

    def __post_init__(self) -> None:
        if len(self.layers) < 2:
            raise UserError(
                f"layers = {list(self.layers)}: a network needs at least an input and an output "
                "layer; give two numbers or more, for example [2, 2, 1]"
            )
        for size in self.layers:
            if not 1 <= size <= 4096:
                raise UserError(
                    f"layers: a layer of {size} nodes; each needs 1 to 4096, the widths of sums "
                    "are checked up to there"
                )
        for name, kind in (("hidden", self.hidden), ("output", self.output)):
            if kind not in ACTIVATIONS:
                raise UserError(f"{name} = {kind!r}: must be one of {', '.join(ACTIVATIONS)}")
        if self.cost not in COSTS:
            raise UserError(f"cost = {self.cost!r}: must be one of {', '.join(COSTS)}")
        if refusal := self.cost_kind.refusal(self):
            raise UserError(refusal)
        for name, value, low, high in (
            ("weight_bits", self.weight_bits, 8, 18),
            ("pre_frac", self.pre_frac, 8, 14),
            ("cost_frac", self.cost_frac, 8, 16),
            ("sample_bits", self.sample_bits, 1, 16),
            ("tau_theta_max", self.tau_theta_max, 1, TAU_MAX),
            ("shift_max", self.shift_max, 0, 32),
            ("smoothing_exp", self.smoothing_exp, 0, 16),
        ):
            if not low <= value <= high:
                raise UserError(f"{name} = {value}: must be between {low} and {high}")
        if self.cost_frac < self.pre_frac and self.reads_sums:
            name = self.cost.replace("_", "-")
            raise UserError(
                f"cost_frac = {self.cost_frac} is below pre_frac = {self.pre_frac}: the "
                f"{name} would lose pre-activation bits; raise cost_frac"
            )
        if self.smoothing_exp and not self.cost_kind.smooths:
            raise UserError(
                f"smoothing_exp = {self.smoothing_exp} with cost = {self.cost!r}: only "
                "cross-entropy has labels to smooth; use cost = 'cross_entropy' or leave it out"
            )
        for name, value in (("target_low", self.target_low), ("target_high", self.target_high)):
            if not ACT_MIN <= value <= ACT_MAX:
                raise UserError(f"{name} = {value}: must fit Q1.14, {ACT_MIN} to {ACT_MAX}")
        if self.target_low >= self.target_high:
            raise UserError(
                f"target_low = {self.target_low / ONE:g} must be below target_high = "
                f"{self.target_high / ONE:g}: the label's node is the one to be high"
            )
        if self.tau_theta_max > 1 and not self.accumulators:
            raise UserError(
                f"tau_theta_max = {self.tau_theta_max} without accumulators: only tau_theta = 1 "
                "works without a gradient memory; set accumulators = true"
            )

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
    def label_bits(self) -> int:
        return (self.classes - 1).bit_length()

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
        """Width of v = D·x rounded to D's unit, what a step adds to an accumulator."""
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
        """16-bit words per sample record: the label, then the packed codes."""
        return 1 + -(-self.layers[0] // self.codes_per_word)

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
        if not self.smoothing_exp:
            # A field that came later leaves the digests of all others as they were.
            del fields["smoothing_exp"]
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
