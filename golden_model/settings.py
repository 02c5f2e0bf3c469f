"""The run-time settings of a core: method, step sizes and time constants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from mgd.golden_model import rules
from mgd.golden_model.declaration import Choice, Flag, Flags, Place, Whole, declare
from mgd.golden_model.formats import ACT_FRAC
from mgd.golden_model.learning import LEARNING, LearningRule
from mgd.golden_model.limits import DELAY_MAX, DELTA_EXP_MAX, RESIDENT_MAX, STEPS_MAX, TAU_MAX
from mgd.golden_model.network import Network
from mgd.golden_model.perturbations import PERTURBATIONS, Numbering, number_quantities
from mgd.golden_model.samples.order import ORDERS
from mgd.golden_model.samples.window import SampleWindow
from mgd.golden_model.update.shift import update_shift

METHODS = tuple(LEARNING)
DIFFERENCES = ("antithetic", "forward", "highpass")
ROUNDINGS = ("stochastic", "residual")
SCOPES = ("network", "layer")
OPTIMIZERS = ("sgd", "adam")
ACCUMULATE = ("weights", "nodes")
SEQUENTIAL, PIPELINED = "sequential", "pipelined"
"""Schedules: a step waits for the update before it, or never for any (Settings.update_delay)."""

REGISTER, BUILD, HOST, CORE, MODEL = Place


@dataclass(frozen=True)
class Settings:
    """How a core trains.  δ = 2^-delta_exp and η/tau_theta = 2^-eta_exp.

    Each line is the one declaration of a setting (golden_model.declaration): the task file's keys
    and limits, digests, and which settings need a core of their own follow from it.  The keys of
    [training], [training.wp] and [training.np] are those with per_method.
    Raises UserError where a value is out of range or two contradict each other.
    """

    method: str = declare("np", Choice(METHODS), REGISTER, per_method=False)
    """wp: perturb weights and biases.  np: perturb pre-activations."""
    difference: str = declare("antithetic", Choice(DIFFERENCES), REGISTER)
    """antithetic: ΔC = (C⁺ − C⁻)/2.  forward: ΔC = C⁺ − C0.  highpass: ΔC is the output of a
    high-pass filter over the sequence of C⁺, the one cost that is measured."""
    rounding: str = declare("stochastic", Choice(ROUNDINGS), REGISTER, auto=True)
    """stochastic: round the broadcast scalar, no accumulator (tau_theta = 1).
    residual: sum in G and keep the bits that the shift drops."""
    delta_exp: int = declare(5, Whole(1, DELTA_EXP_MAX), REGISTER)
    eta_exp: int = declare(9, Whole(0, 31), REGISTER, by_method={"wp": 13})
    tau_x: int = declare(1, Whole(1, TAU_MAX), REGISTER)
    """Steps for which a sample is used."""
    tau_p: int = declare(1, Whole(1, TAU_MAX), REGISTER)
    """Steps for which a perturbation is used."""
    tau_theta: int = declare(1, Whole(1, TAU_MAX), REGISTER)
    """Steps between two updates of the weights."""
    input_shift: int = declare(0, Whole(0, ACT_FRAC), REGISTER, per_method=False)
    """An input code is shifted left by this to become an activation."""
    perturbation: str = declare("random", Choice(tuple(PERTURBATIONS)), BUILD, later=True)
    """A name in golden_model.perturbations."""
    scope: str = declare("network", Choice(SCOPES), BUILD, later=True)
    """network: perturb all layers at once.  layer: one after another, each with its own ΔC."""
    trainable: tuple[bool, ...] = declare((), Flags(), BUILD, later=True)
    """A flag per layer of weights; the others are neither perturbed nor changed.  (): all."""
    gate_zeros: bool = declare(False, Flag(), BUILD, later=True)
    """Weight perturbation: a synapse whose input is 0 is not updated."""
    skip_zeros: bool = declare(False, Flag(), BUILD, later=True)
    """Of the first layer's weights only those are visited whose input is not 0 in the sample."""
    optimizer: str = declare("sgd", Choice(OPTIMIZERS), MODEL, later=True)
    """sgd: plain descent, optionally with momentum.  adam: steps of about 2^-eta_exp."""
    momentum_exp: int = declare(0, Whole(0, 16), BUILD, later=True)
    """Momentum 1 − 2^-momentum_exp; 0: none.  The sum of a gradient's steps stays the same."""
    decay_exp: int = declare(0, Whole(0, 31), BUILD, later=True)
    """At every change a weight loses its 2^-decay_exp part; 0: none."""
    halve_every: int = declare(0, Whole(0, STEPS_MAX), HOST, later=True)
    """Steps after which the learning rate halves, again and again; 0: never."""
    warmup_exp: int = declare(0, Whole(0, 31), HOST, later=True)
    """The learning rate begins at 2^-warmup_exp of its value ..."""
    warmup_every: int = declare(1, Whole(1, STEPS_MAX), HOST, later=True)
    """... and doubles every so many steps until it has it."""
    highpass_exp: int = declare(2, Whole(1, 16), BUILD, later=True)
    """The filter of difference = "highpass" forgets its 2^-highpass_exp part every step."""
    sample_order: str = declare("cycle", Choice(ORDERS), BUILD, later=True)
    """cycle: in the order given, again and again.  epoch: shuffled anew for every epoch.
    random: each drawn independently."""
    adam_mean_exp: int = declare(3, Whole(0, 16), MODEL, later=True)
    """Adam's average of the gradient moves by 2^-this; β1 = 1 − 2^-3 = 0.875."""
    adam_square_exp: int = declare(10, Whole(0, 16), MODEL, later=True)
    """The same for its square; β2 = 0.999."""
    resident: int = declare(0, Whole(0, RESIDENT_MAX), HOST, later=True)
    """Training samples in the core's memory at a time, a window that slides through the set; 0:
    all of them."""
    passes: int = declare(1, Whole(1, RESIDENT_MAX), HOST, later=True)
    """Passes over a resident sample until another one takes its place."""
    update_delay: int = declare(0, Whole(0, DELAY_MAX), CORE, later=True, per_method=False)
    """Steps that begin before a step's update is made, as in a pipeline that is never emptied for
    one; 0: none.  With antithetic and stochastic only."""
    accumulate: str = declare("weights", Choice(ACCUMULATE), BUILD, later=True)
    """weights: over tau_theta steps, each weight sums up its update terms.  nodes: each node sums
    up ΔC·s_i while the sample stays, and a change is one outer product with the node's inputs; node
    perturbation only, tau_x a multiple of tau_theta."""

    def __post_init__(self) -> None:
        rules.check_declared(self)
        rules.check(rules.SETTINGS, s=self)

    @property
    def schedule(self) -> str:
        return schedule_of(self.update_delay)

    def check_resumable(self) -> None:
        """Raise UserError where weights, accumulators and a step's number are not all that the
        steps behind it depend on."""
        rules.check(rules.RESUME, s=self)

    @property
    def window(self) -> SampleWindow | None:
        """The resident part of the training set; None: all of it."""
        return SampleWindow(self.resident, self.passes) if self.resident else None

    @property
    def learning(self) -> LearningRule:
        return LEARNING[self.method]

    @property
    def perturbs_nodes(self) -> bool:
        """The register of a core that knows these two rules."""
        return self.method == "np"

    @property
    def gates_inputs(self) -> bool:
        """Whether an update asks which inputs are 0.  One that multiplies by them need not."""
        return self.gate_zeros and not self.learning.reads_inputs

    @property
    def skips_inputs(self) -> bool:
        """Whether a draw's values go to the inputs of the sample that are not 0."""
        return self.skip_zeros and not self.learning.reads_inputs

    @property
    def antithetic(self) -> bool:
        return self.difference == "antithetic"

    @property
    def continuous(self) -> bool:
        return self.difference == "highpass"

    @property
    def accumulates(self) -> bool:
        return self.rounding == "residual"

    @property
    def by_node(self) -> bool:
        return self.accumulate == "nodes"

    def shift(self, network: Network) -> int:
        """S, golden_model.update.shift.update_shift."""
        return update_shift(network, self.eta_exp, self.delta_exp)

    @cached_property
    def value_frac(self) -> int:
        """Fraction bits of a perturbation's values: 0 where they are signs."""
        return PERTURBATIONS[self.perturbation].frac

    @property
    def by_layer(self) -> bool:
        return self.scope == "layer"

    def numbering(self, network: Network) -> list[Numbering | None]:
        """The numbers of the perturbed quantities per layer; None for one that is not trained."""
        return number_quantities(self.perturbed(network), self.by_layer, self.trainable)

    def perturbed(self, network: Network) -> list[tuple[int, int]]:
        """(nodes, values per node) that a draw perturbs, per layer of weights."""
        return self.learning.perturbed_of(network.layers)

    @property
    def gain_bits(self) -> int:
        """Bits by which an accumulator's unit is finer than D's: contributions are so much
        larger, and the shift that takes weight units out of it is S + gain_bits.  Momentum lets
        2^momentum_exp changes' worth of contributions gather."""
        return self.value_frac + self.momentum_exp

    @property
    def adam(self) -> bool:
        return self.optimizer == "adam"

    def slowed(self, step: int) -> int:
        """By how many powers of two the learning rate of this step is smaller."""
        halvings = step // self.halve_every if self.halve_every else 0
        return halvings + max(0, self.warmup_exp - step // self.warmup_every)

    def shift_at(self, step: int, network: Network) -> int:
        """S of this step; for Adam eta_exp of this step.  It stops where the shift ends."""
        if self.adam:
            return min(self.eta_exp + self.slowed(step), 63)
        return min(self.shift(network) + self.slowed(step), network.shift_max - self.gain_bits)

    def eta_exp_at(self, step: int, network: Network) -> int:
        """The exponent of the learning rate in this step, as S has it."""
        if self.adam:
            return self.shift_at(step, network)
        return self.eta_exp + self.shift_at(step, network) - self.shift(network)

    def next_rate(self, step: int, network: Network) -> int | None:
        """The step after `step` up to which shift_at() does not change; None: it never does."""
        ends = []
        warming = self.warmup_exp > step // self.warmup_every
        if warming:
            ends.append((step // self.warmup_every + 1) * self.warmup_every)
        falls = warming or self.adam
        if self.halve_every and (
            falls or self.shift_at(step, network) < network.shift_max - self.gain_bits
        ):
            ends.append((step // self.halve_every + 1) * self.halve_every)
        return min(ends, default=None)

    def gradient_bound(self, network: Network) -> int:
        """Largest |G| that these settings can make."""
        contributions = self.tau_theta * (4 * network.cost_bound + 1) << self.value_frac
        if self.adam:
            return contributions
        decay = 0
        if self.decay_exp:
            changing = self.halve_every or self.warmup_exp
            shift = network.shift_max if changing else self.shift(network) + self.gain_bits
            unit = max(0, shift - self.momentum_exp - self.decay_exp)
            decay = -network.weight_min << unit
        return (1 << network.shift_max) + (contributions + decay << self.momentum_exp)

    def tau_theta_needed(self, network: Network) -> int:
        """The tau_theta_max that makes a network's accumulators wide enough."""
        over = self.gradient_bound(network) - (1 << network.shift_max)
        return max(self.tau_theta, -(-over // (4 * network.cost_bound + 1)))

    def check(self, network: Network) -> None:
        """Raise UserError where these settings ask for more than `network` was built for."""
        rules.check(rules.RUN, n=network, s=self)


def schedule_of(update_delay: int) -> str:
    """The schedule whose updates are so many steps late."""
    return PIPELINED if update_delay else SEQUENTIAL


def delta_exp_for(norm: float, perturbation: str, numbering: list[Numbering | None]) -> int:
    """The exponent of the δ nearest to the one for a perturbation of total length `norm`.

    δ is norm·1, norm/√N or norm·√2/√N (one at a time, signs, sinusoids), N the quantities that
    are numbered together, of the largest layer where each counts by itself.
    Raises UserError where that is outside 2^-1 … 2^-DELTA_EXP_MAX.
    """
    total = max(n.total for n in numbering if n is not None)
    delta = PERTURBATIONS[perturbation].amplitude(norm, total)
    exp = math.floor(0.5 - math.log2(delta))
    rules.check(rules.NORM, norm=norm, total=total, delta=delta, exp=exp)
    return exp
