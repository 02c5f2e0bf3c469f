"""What a core is told at run time: method, step sizes and time constants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from mgd.golden_model.errors import UserError
from mgd.golden_model.learning import LEARNING, LearningRule
from mgd.golden_model.network import (
    ACT_FRAC,
    ACT_MAX,
    ACT_MIN,
    DELTA_EXP_MAX,
    SHIFT_MIN,
    TAU_MAX,
    Network,
)
from mgd.golden_model.perturbations import FAMILIES, Numbering, number_quantities
from mgd.golden_model.samples.order import ORDERS
from mgd.golden_model.samples.window import SampleWindow, check_window

METHODS = tuple(LEARNING)
DIFFERENCES = ("antithetic", "forward", "highpass")
ROUNDINGS = ("stochastic", "residual")
PERTURBATIONS = tuple(FAMILIES)
SCOPES = ("network", "layer")
OPTIMIZERS = ("sgd", "adam")
ACCUMULATE = ("weights", "nodes")
SEQUENTIAL, PIPELINED = "sequential", "pipelined"
"""Schedules: a step waits for the update before it, or never for any (Settings.update_delay)."""
FIRST_VARIANT = 9
"""Fields of Settings from this one on came later; their defaults change no run."""
DELAY_MAX = 1023
"""Most steps that an update may be late."""
STEPS_MAX = (1 << 32) - 1
"""Most steps of a run: the core counts them in 32 bits."""


@dataclass(frozen=True)
class Settings:
    """The run-time registers of a core.  δ = 2^-delta_exp and η/tau_theta = 2^-eta_exp."""

    method: str = "np"
    """wp: perturb weights and biases.  np: perturb pre-activations."""
    difference: str = "antithetic"
    """antithetic: ΔC = (C⁺ − C⁻)/2.  forward: ΔC = C⁺ − C0.  highpass: ΔC is what a high-pass
    filter leaves of the sequence of C⁺, which is all that is measured."""
    rounding: str = "stochastic"
    """stochastic: round the broadcast scalar, no accumulator (tau_theta = 1).
    residual: sum in G and keep what the shift drops."""
    delta_exp: int = 5
    eta_exp: int = 9
    tau_x: int = 1
    tau_p: int = 1
    tau_theta: int = 1
    input_shift: int = 0
    """An input code is shifted left by this to become an activation."""
    perturbation: str = "random"
    """Family of golden_model.perturbations: random, sequential, walsh, square or sine."""
    scope: str = "network"
    """network: perturb all layers at once.  layer: one after another, each with its own ΔC."""
    trainable: tuple[bool, ...] = ()
    """A flag per layer of weights; the others are neither perturbed nor changed.  (): all."""
    gate_zeros: bool = False
    """Weight perturbation: a synapse whose input is 0 takes no share."""
    skip_zeros: bool = False
    """Of the first layer's weights only those are visited whose input is not 0 in the sample."""
    optimizer: str = "sgd"
    """sgd: plain descent, with momentum if you like.  adam: steps of about 2^-eta_exp."""
    momentum_exp: int = 0
    """Momentum 1 − 2^-momentum_exp; 0: none.  The sum of a gradient's steps stays the same."""
    decay_exp: int = 0
    """At every change a weight loses its 2^-decay_exp part; 0: none."""
    halve_every: int = 0
    """Steps after which the learning rate halves, again and again; 0: never."""
    warmup_exp: int = 0
    """The learning rate begins at 2^-warmup_exp of its value ..."""
    warmup_every: int = 1
    """... and doubles every so many steps until it has it."""
    highpass_exp: int = 2
    """The filter of difference = "highpass" forgets its 2^-highpass_exp part every step."""
    sample_order: str = "cycle"
    """cycle: in the order given, again and again.  epoch: shuffled anew for every epoch.
    random: each drawn by itself."""
    adam_mean_exp: int = 3
    """Adam's average of the gradient moves by 2^-this; β1 = 1 − 2^-3 = 0.875."""
    adam_square_exp: int = 10
    """The same for its square; β2 = 0.999."""
    resident: int = 0
    """Training samples in the core's memory at a time, a window that slides through the set; 0:
    all of them."""
    passes: int = 1
    """Passes over a resident sample until another one takes its place."""
    update_delay: int = 0
    """Steps that begin before a step's update is made, as in a pipeline that is never emptied for
    one; 0: none.  With antithetic and stochastic only."""
    accumulate: str = "weights"
    """weights: over tau_theta steps, each weight sums up its update terms.  nodes: each node sums
    up ΔC·s_i while the sample stays, and a change is one outer product with the node's inputs; node
    perturbation only, tau_x a multiple of tau_theta."""

    def __post_init__(self) -> None:
        for name, choice, allowed in (
            ("method", self.method, METHODS),
            ("difference", self.difference, DIFFERENCES),
            ("rounding", self.rounding, ROUNDINGS),
            ("perturbation", self.perturbation, PERTURBATIONS),
            ("scope", self.scope, SCOPES),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("sample_order", self.sample_order, ORDERS),
            ("accumulate", self.accumulate, ACCUMULATE),
        ):
            if choice not in allowed:
                raise UserError(f"{name} = {choice!r}: must be one of {', '.join(allowed)}")
        for name, value, low, high in (
            ("delta_exp", self.delta_exp, 1, DELTA_EXP_MAX),
            ("eta_exp", self.eta_exp, 0, 31),
            ("tau_x", self.tau_x, 1, TAU_MAX),
            ("tau_p", self.tau_p, 1, TAU_MAX),
            ("tau_theta", self.tau_theta, 1, TAU_MAX),
            ("input_shift", self.input_shift, 0, ACT_FRAC),
            ("momentum_exp", self.momentum_exp, 0, 16),
            ("decay_exp", self.decay_exp, 0, 31),
            ("halve_every", self.halve_every, 0, STEPS_MAX),
            ("warmup_exp", self.warmup_exp, 0, 31),
            ("warmup_every", self.warmup_every, 1, STEPS_MAX),
            ("highpass_exp", self.highpass_exp, 1, 16),
            ("adam_mean_exp", self.adam_mean_exp, 0, 16),
            ("adam_square_exp", self.adam_square_exp, 0, 16),
            ("update_delay", self.update_delay, 0, DELAY_MAX),
        ):
            if not low <= value <= high:
                raise UserError(f"{name} = {value}: must be between {low} and {high}")
        if self.by_node:
            self._check_by_node()
        elif self.rounding == "stochastic" and self.tau_theta != 1:
            raise UserError(
                f"rounding = 'stochastic' with tau_theta = {self.tau_theta}: it works without an "
                "accumulator, so only at tau_theta = 1; use rounding = 'residual'"
            )
        if self.continuous and self.by_layer:
            raise UserError(
                "difference = 'highpass' with scope = 'layer': the filter knows one sequence of "
                "costs, not one per layer; use scope = 'network' or difference = 'antithetic'"
            )
        if self.value_frac and self.rounding == "stochastic" and not self.by_node:
            raise UserError(
                f"perturbation = {self.perturbation!r} with rounding = 'stochastic': its values "
                "lie between 0 and 1 too, and a share of whole weight units has no such parts; "
                "use rounding = 'residual'"
            )
        if self.skip_zeros and self.perturbation != "random":
            raise UserError(
                f"skip_zeros = true with perturbation = {self.perturbation!r}: it gives every "
                "weight values of its own in every draw, so that none can be left out; use "
                "perturbation = 'random', or leave skip_zeros out"
            )
        for name, value in (
            ("optimizer = 'adam'", self.adam),
            (f"momentum_exp = {self.momentum_exp}", self.momentum_exp),
            (f"decay_exp = {self.decay_exp}", self.decay_exp),
        ):
            if value and not self.accumulates:
                raise UserError(
                    f"{name} with rounding = 'stochastic': it needs an accumulator per weight; "
                    "use rounding = 'residual'"
                )
        if self.adam and (self.momentum_exp or self.decay_exp):
            name = "momentum_exp" if self.momentum_exp else "decay_exp"
            raise UserError(
                f"{name} = {getattr(self, name)} with optimizer = 'adam', which has averages of "
                f"its own; leave {name} out, or use optimizer = 'sgd'"
            )
        for name, chosen, needed, why in (
            ("rounding", self.rounding, "stochastic", "an update belongs to one step"),
            ("difference", self.difference, "antithetic", "C0 would be another one in every step"),
            ("resident", self.resident, 0, "waiting for samples would let updates come in time"),
        ):
            if self.update_delay and chosen != needed:
                raise UserError(
                    f"{name} = {chosen!r} with late updates (schedule = 'pipelined'): {why}; "
                    f"use {name} = {needed!r}"
                )
        check_window(self.resident, self.passes, self.sample_order)
        if self.trainable and not any(self.trainable):
            raise UserError(
                f"trainable = {_flags(self.trainable)}: no layer would ever change; "
                "let at least one be true"
            )

    def _check_by_node(self) -> None:
        """Raise UserError for what accumulate = "nodes" cannot be combined with."""
        for name, value, refused, why, cure in (
            (
                "method", self.method, not self.learning.reads_inputs,
                "a weight's perturbation is its own, so no sum per node has it",
                "use method = 'np'",
            ),
            (
                "rounding", self.rounding, self.accumulates,
                "no weight has an accumulator to keep what is rounded off",
                "use rounding = 'stochastic'",
            ),
            (
                "difference", self.difference, self.continuous,
                "the filter's output depends on the samples before",
                "use difference = 'antithetic' or 'forward'",
            ),
            (
                "update_delay", self.update_delay, self.update_delay > 0,
                "a core that never waits makes the update of every step by itself",
                "use schedule = 'sequential'",
            ),
            *(
                (
                    name, value, bool(value) and value != "sgd",
                    "it needs an accumulator per weight", "",
                )
                for name, value in (
                    ("optimizer", self.optimizer),
                    ("momentum_exp", self.momentum_exp),
                    ("decay_exp", self.decay_exp),
                )
            ),
            (
                "tau_x", self.tau_x, self.tau_x % self.tau_theta != 0,
                f"the sum of tau_theta = {self.tau_theta} steps is multiplied by the inputs of one "
                "sample, which must not change in between",
                f"use a multiple of {self.tau_theta}",
            ),
        ):  # fmt: skip
            if refused:
                cure = f"{cure}, or" if cure else f"leave {name} out, or use"
                raise UserError(
                    f"{name} = {value!r} with accumulate = 'nodes': {why}; {cure} "
                    "accumulate = 'weights'"
                )

    @property
    def schedule(self) -> str:
        return schedule_of(self.update_delay)

    def check_resumable(self) -> None:
        """Raise UserError where weights, accumulators and a step's number are not all that the
        steps behind it depend on."""
        for name, keeps in (
            ("optimizer = 'adam'", "the averages of the gradient" if self.adam else ""),
            ("difference = 'highpass'", "the filter's state" if self.continuous else ""),
            ("accumulate = 'nodes'", "the sums of the nodes" if self.by_node else ""),
        ):
            if keeps:
                raise UserError(
                    f"{name}: a run cannot go on from its middle, as {keeps} would be missing; "
                    "run it from its first step, without checkpoints"
                )

    @property
    def window(self) -> SampleWindow | None:
        """What of the training set is resident; None: all of it."""
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
        """S: an update is D·2^-S weight units, D being the cost change in 2^-(cost_frac+1).

        From W −= η·ΔC·s/δ: S = cost_frac + 1 + eta_exp − delta_exp − weight_frac.
        """
        return network.cost_frac + 1 + self.eta_exp - self.delta_exp - network.weight_frac

    @cached_property
    def value_frac(self) -> int:
        """Fraction bits of a perturbation's values: 0 where they are signs."""
        return FAMILIES[self.perturbation].frac

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
        """The exponent of the learning rate that makes S what it is in this step."""
        if self.adam:
            return self.shift_at(step, network)
        return self.eta_exp + self.shift_at(step, network) - self.shift(network)

    def next_rate(self, step: int, network: Network) -> int | None:
        """A step behind `step` up to which shift_at() stays what it is there; None: for ever."""
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
        shift = self.shift(network)
        if not self.adam and not SHIFT_MIN <= shift <= network.shift_max:
            raise UserError(
                f"eta_exp = {self.eta_exp} with delta_exp = {self.delta_exp} makes an update shift "
                f"of {shift}; it must be between {SHIFT_MIN} and {network.shift_max} "
                "(shift = cost_frac + 1 + eta_exp - delta_exp - weight_frac)"
            )
        if network.cost_frac < self.delta_exp + 4:
            raise UserError(
                f"delta_exp = {self.delta_exp} needs cost_frac >= {self.delta_exp + 4}, the "
                f"network has {network.cost_frac}: the cost change would vanish below its last bit"
            )
        if self.accumulates and not network.accumulators:
            raise UserError(
                "rounding = 'residual' on a core without accumulators; "
                "set accumulators = true in the task's [core] section"
            )
        if self.accumulates and self.tau_theta > network.tau_theta_max:
            raise UserError(
                f"tau_theta = {self.tau_theta} is above tau_theta_max = {network.tau_theta_max}, "
                "which fixes the accumulators' width; raise tau_theta_max and build again"
            )
        self._check_family(network)
        low, high = network.code_min << self.input_shift, network.code_max << self.input_shift
        if low < ACT_MIN or high > ACT_MAX:
            raise UserError(
                f"input_shift = {self.input_shift} turns codes {network.code_min}.."
                f"{network.code_max} into {low}..{high}; activations are Q1.14, {ACT_MIN}.."
                f"{ACT_MAX}: lower input_shift or sample_bits"
            )

    def _check_family(self, network: Network) -> None:
        if self.trainable and len(self.trainable) != network.depth:
            raise UserError(
                f"trainable = {_flags(self.trainable)}: {len(self.trainable)} flags, the network "
                f"has {network.depth} layers of weights; give one for each"
            )
        if network.grid_frac < self.delta_exp + self.value_frac:
            raise UserError(
                f"delta_exp = {self.delta_exp} with perturbation = {self.perturbation!r}: its "
                f"values have {self.value_frac} fraction bits, and sums only {network.grid_frac} "
                f"for both; delta_exp must be at most {network.grid_frac - self.value_frac}"
            )
        shift, most = self.shift(network) + self.gain_bits, network.shift_max
        if self.gain_bits and not self.adam and shift > most:
            raise UserError(
                f"eta_exp = {self.eta_exp}: accumulators {self.gain_bits} bits finer need a shift "
                f"of {shift}, above shift_max = {most}, which fixes their width; lower eta_exp or "
                "raise shift_max"
            )
        if self.momentum_exp and self.shift(network) < 0:
            raise UserError(
                f"eta_exp = {self.eta_exp} makes an update shift of {self.shift(network)}; with "
                "momentum it must be 0 or more, since what G gives up must be whole: raise eta_exp"
            )
        if not self.accumulates:
            return
        needed = self.tau_theta_needed(network)
        if needed > network.tau_theta_max:
            raise UserError(
                f"tau_theta = {self.tau_theta} with this perturbation, momentum and decay: the "
                f"accumulators need tau_theta_max = {needed} or more, not "
                f"{network.tau_theta_max}; raise tau_theta_max or lower tau_theta"
            )


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
    delta = FAMILIES[perturbation].amplitude(norm, total)
    exp = math.floor(0.5 - math.log2(delta))
    if not 1 <= exp <= DELTA_EXP_MAX:
        raise UserError(
            f"norm = {norm:g} over {total} quantities makes delta = {delta:.3g}; it must be "
            f"between 2^-{DELTA_EXP_MAX} and 2^-1: change norm, or give delta_exp"
        )
    return exp


def _flags(values: tuple[bool, ...]) -> str:
    return "[" + ", ".join("true" if value else "false" for value in values) + "]"
